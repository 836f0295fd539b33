# SPDX-License-Identifier: GPL-3.0-or-later
"""Map states in distributed mode, and executions that somebody waits for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import (
    REGION,
    allow,
    eventually,
    finished,
    machine,
    output,
    role,
    run,
    task,
    unique,
)

STATES = "states.amazonaws.com"
ECHO = {"Echo": {"Type": "Pass", "End": True}}
EVEN = {
    "Look": {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input.number % 2 = 1 %}", "Next": "Odd"}],
        "Default": "Even",
    },
    "Odd": {"Type": "Fail", "Error": "Odd", "Cause": "{% $string($states.input.number) & ' is odd' %}"},
    "Even": {"Type": "Pass", "Output": "{% $states.input.number * 10 %}", "End": True},
}


@pytest.fixture(scope="module")
def bucket(sandbox: Sandbox) -> str:
    name = unique("bucket")
    sandbox.client("s3", REGION).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@pytest.fixture(scope="module")
def role_arn(sandbox: Sandbox) -> str:
    return role(sandbox, STATES, {"states:*": "*", "s3:*": "*"})


def mapping(states: dict[str, Any] = ECHO, kind: str = "STANDARD", **more: Any) -> dict[str, Any]:
    """One Map state in distributed mode that ends the machine."""
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
        "StartAt": next(iter(states)),
        "States": states,
    }
    return {"Map": {"Type": "Map", "ItemProcessor": processor, "End": True, "Label": "Each", **more}}


def reader(bucket: str, key: str, **config: Any) -> dict[str, Any]:
    resource = "arn:aws:states:::s3:getObject"
    return {"Resource": resource, "Arguments": {"Bucket": bucket, "Key": key}, "ReaderConfig": config}


def writer(bucket: str, prefix: str) -> dict[str, Any]:
    return {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": bucket, "Prefix": prefix}}


def put(sandbox: Sandbox, bucket: str, key: str, body: str) -> str:
    sandbox.client("s3", REGION).put_object(Bucket=bucket, Key=key, Body=body.encode())
    return key


def read(sandbox: Sandbox, bucket: str, key: str) -> Any:
    return json.loads(sandbox.client("s3", REGION).get_object(Bucket=bucket, Key=key)["Body"].read())


def map_run(sandbox: Sandbox, execution_arn: str) -> dict[str, Any]:
    states = sandbox.client("stepfunctions", REGION)
    (found,) = states.list_map_runs(executionArn=execution_arn)["mapRuns"]
    described: dict[str, Any] = states.describe_map_run(mapRunArn=found["mapRunArn"])
    return described


@pytest.mark.parametrize(
    ("key", "text", "config", "items"),
    [
        ("a.json", '[{"n": 1}, {"n": 2}]', {"InputType": "JSON"}, [{"n": 1}, {"n": 2}]),
        ("a.jsonl", '{"n": 1}\n{"n": 2}\n', {"InputType": "JSONL"}, [{"n": 1}, {"n": 2}]),
        (
            "a.csv",
            "name,n\na,1\nb,2\n",
            {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            [{"name": "a", "n": "1"}, {"name": "b", "n": "2"}],
        ),
        ("b.json", "[1, 2, 3]", {"InputType": "JSON", "MaxItems": 2}, [1, 2]),
    ],
)
def test_items_are_read_from_s3(
    sandbox: Sandbox, bucket: str, role_arn: str, key: str, text: str, config: dict[str, Any], items: list[Any]
) -> None:
    put(sandbox, bucket, key, text)
    states = mapping(ItemReader=reader(bucket, key, **config))
    assert output(run(sandbox, machine(sandbox, states, role_arn))) == items


def test_objects_of_a_bucket_are_items_too(sandbox: Sandbox, bucket: str, role_arn: str) -> None:
    for name in ("x", "y"):
        put(sandbox, bucket, f"listed/{name}", name)
    resource = "arn:aws:states:::s3:listObjectsV2"
    listing = {"Resource": resource, "Arguments": {"Bucket": bucket, "Prefix": "listed/"}}
    found = output(run(sandbox, machine(sandbox, mapping(ItemReader=listing), role_arn)))
    assert [(item["Key"], item["Size"]) for item in found] == [("listed/x", 1), ("listed/y", 1)]


def test_a_selector_shapes_each_item_and_a_batcher_puts_them_together(
    sandbox: Sandbox, bucket: str, role_arn: str
) -> None:
    states = mapping(
        Items="{% $states.input.names %}",
        ItemSelector={
            "name": "{% $states.context.Map.Item.Value %}",
            "place": "{% $states.context.Map.Item.Index %}",
            "site": "{% $states.input.site %}",
        },
        ItemBatcher={"MaxItemsPerBatch": "{% 1 + 1 %}", "BatchInput": {"site": "{% $states.input.site %}"}},
        MaxConcurrency="{% $states.input.most %}",
    )
    execution = run(sandbox, machine(sandbox, states, role_arn), {"names": ["a", "b", "c"], "site": "s", "most": 3})
    items = [{"name": name, "place": place, "site": "s"} for place, name in enumerate("abc")]
    assert output(execution) == [
        {"BatchInput": {"site": "s"}, "Items": items[:2]},
        {"BatchInput": {"site": "s"}, "Items": items[2:]},
    ]
    found = map_run(sandbox, execution["executionArn"])
    assert (found["maxConcurrency"], found["itemCounts"]["total"], found["executionCounts"]["total"]) == (3, 3, 2)


def test_results_and_failures_are_files_in_s3(sandbox: Sandbox, bucket: str, role_arn: str) -> None:
    key = put(sandbox, bucket, "numbers.json", json.dumps([{"number": number} for number in range(6)]))
    states = mapping(
        EVEN,
        ItemReader=reader(bucket, key),
        ResultWriter=writer(bucket, "results/of"),
        ToleratedFailurePercentage=100,
    )
    execution = run(sandbox, machine(sandbox, states, role_arn))
    result = output(execution)
    run_arn = result["MapRunArn"]
    folder = f"results/of/{run_arn.rpartition(':')[2]}"
    assert result["ResultWriterDetails"] == {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
    manifest = read(sandbox, bucket, f"{folder}/manifest.json")
    assert (manifest["DestinationBucket"], manifest["MapRunArn"]) == (bucket, run_arn)
    assert manifest["ResultFiles"]["PENDING"] == []
    (succeeded,), (failed,) = (manifest["ResultFiles"][kind] for kind in ("SUCCEEDED", "FAILED"))
    assert (succeeded["Key"], failed["Key"]) == (f"{folder}/SUCCEEDED_0.json", f"{folder}/FAILED_0.json")
    size = sandbox.client("s3", REGION).head_object(Bucket=bucket, Key=failed["Key"])["ContentLength"]
    assert failed["Size"] == size
    good, bad = (read(sandbox, bucket, each["Key"]) for each in (succeeded, failed))
    assert sorted(json.loads(each["Output"]) for each in good) == [0, 20, 40]
    assert {(each["Input"], each["Status"], each["Error"], each["Cause"]) for each in bad} == {
        (json.dumps({"number": number}), "FAILED", "Odd", f"{number} is odd") for number in (1, 3, 5)
    }
    assert {"ExecutionArn", "Name", "StartDate", "StopDate", "StateMachineArn", "InputDetails"} <= bad[0].keys()

    found = map_run(sandbox, execution["executionArn"])
    assert (found["status"], found["toleratedFailurePercentage"]) == ("SUCCEEDED", 100)
    for counts in (found["itemCounts"], found["executionCounts"]):
        wanted = {"total": 6, "succeeded": 3, "failed": 3, "pending": 0, "running": 0, "resultsWritten": 6}
        assert {name: counts[name] for name in wanted} == wanted
    client = sandbox.client("stepfunctions", REGION)
    children = client.list_executions(mapRunArn=run_arn, statusFilter="FAILED")["executions"]
    assert {child["executionArn"] for child in children} == {each["ExecutionArn"] for each in bad}
    described = client.describe_execution(executionArn=children[0]["executionArn"])
    assert (described["error"], described["mapRunArn"]) == ("Odd", run_arn)
    assert "/Each:" in children[0]["executionArn"]


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailureCount": 2}, "FAILED"),
        ({"ToleratedFailureCount": 3}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 49}, "FAILED"),
        ({"ToleratedFailurePercentage": "{% 50 %}"}, "SUCCEEDED"),
    ],
)
def test_more_failures_than_tolerated_end_the_run(
    sandbox: Sandbox, role_arn: str, tolerance: dict[str, Any], status: str
) -> None:
    states = mapping(EVEN, Items=[{"number": number} for number in range(6)], MaxConcurrency=1, **tolerance)
    execution = run(sandbox, machine(sandbox, states, role_arn))
    assert execution["status"] == status
    assert map_run(sandbox, execution["executionArn"])["status"] == status
    if status == "FAILED":
        assert execution["error"] == "States.ExceedToleratedFailureThreshold"
    else:
        assert output(execution) == [0, 20, 40]


def test_children_of_type_express_are_counted_and_not_listed(sandbox: Sandbox, role_arn: str) -> None:
    states = mapping(kind="EXPRESS", Items=[1, 2, 3])
    execution = run(sandbox, machine(sandbox, states, role_arn))
    assert output(execution) == [1, 2, 3]
    found = map_run(sandbox, execution["executionArn"])
    assert found["executionCounts"]["succeeded"] == 3
    listed = sandbox.client("stepfunctions", REGION).list_executions(mapRunArn=found["mapRunArn"])
    assert listed["executions"] == []


def test_a_child_knows_itself_and_nothing_of_its_parent(sandbox: Sandbox, role_arn: str) -> None:
    who = {"id": "{% $states.context.Execution.Id %}", "input": "{% $states.context.Execution.Input %}"}
    states = mapping({"Who": {"Type": "Pass", "Output": who, "End": True}}, Items=["a"])
    execution = run(sandbox, machine(sandbox, states, role_arn), {"of": "parent"})
    (child,) = output(execution)
    assert child["input"] == "a"
    assert child["id"] != execution["executionArn"] and "/Each:" in child["id"]


def test_a_stopped_execution_stops_its_map_run(sandbox: Sandbox, role_arn: str) -> None:
    slow = {
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Again"},
        "Again": {"Type": "Pass", "Next": "Wait2"},
        "Wait2": {"Type": "Wait", "Seconds": 1, "End": True},
    }
    client = sandbox.client("stepfunctions", REGION)
    states = mapping(slow, Items=list(range(20)), MaxConcurrency=2)
    arn = client.start_execution(stateMachineArn=machine(sandbox, states, role_arn))["executionArn"]
    assert eventually(lambda: client.list_map_runs(executionArn=arn)["mapRuns"])
    assert eventually(lambda: map_run(sandbox, arn)["executionCounts"]["running"] == 2)
    client.stop_execution(executionArn=arn, cause="enough")
    assert eventually(lambda: map_run(sandbox, arn)["status"] == "ABORTED")
    found = map_run(sandbox, arn)
    children = client.list_executions(mapRunArn=found["mapRunArn"])["executions"]
    assert [child["status"] for child in children] == ["ABORTED", "ABORTED"]
    time.sleep(2.5)
    counts = map_run(sandbox, arn)["executionCounts"]
    assert (counts["aborted"], counts["pending"], counts["running"]) == (2, 18, 0)


@pytest.mark.parametrize(
    ("allowed", "error"),
    [
        ({"s3:*": "*"}, "States.Permissions"),
        ({"states:StartExecution": "*", "s3:PutObject": "*"}, "States.ItemReaderFailed"),
        ({"states:StartExecution": "*", "s3:GetObject": "*"}, "States.ResultWriterFailed"),
    ],
)
def test_the_role_has_to_be_allowed_all_of_it(
    sandbox: Sandbox, bucket: str, allowed: dict[str, str], error: str
) -> None:
    key = put(sandbox, bucket, "one.json", "[1]")
    states = mapping(ItemReader=reader(bucket, key), ResultWriter=writer(bucket, "results"))
    execution = run(sandbox, machine(sandbox, states, role(sandbox, STATES, allowed)))
    assert (execution["status"], execution["error"]) == ("FAILED", error)
    complete = {"states:StartExecution": "*", "s3:GetObject": "*", "s3:PutObject": "*"}
    assert run(sandbox, machine(sandbox, states, role(sandbox, STATES, complete)))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("text", ['{"n": 1}', "not json", None])
def test_a_dataset_that_is_none_can_be_caught(sandbox: Sandbox, bucket: str, role_arn: str, text: str | None) -> None:
    key = unique("none") if text is None else put(sandbox, bucket, unique("dataset"), text)
    caught = [{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Told", "Output": "{% $states.errorOutput.Error %}"}]
    states = mapping(ItemReader=reader(bucket, key), Catch=caught)
    states["Told"] = {"Type": "Pass", "End": True}
    assert output(run(sandbox, machine(sandbox, states, role_arn))) == "States.ItemReaderFailed"


@pytest.mark.parametrize("items", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_items_need_few_threads(sandbox: Sandbox, bucket: str, role_arn: str, items: int) -> None:
    key = put(sandbox, bucket, "many.json", json.dumps([{"number": 2 * number} for number in range(items)]))
    states = mapping(
        EVEN, "EXPRESS", ItemReader=reader(bucket, key), ResultWriter=writer(bucket, "many"), MaxConcurrency=40
    )
    client = sandbox.client("stepfunctions", REGION)
    arn = client.start_execution(stateMachineArn=machine(sandbox, states, role_arn))["executionArn"]
    threads = []

    def is_over() -> bool:
        with open(f"/proc/{sandbox.pid}/status") as status:  # noqa: PTH123
            threads.append(next(int(line.split()[1]) for line in status if line.startswith("Threads:")))
        return bool(client.describe_execution(executionArn=arn)["status"] != "RUNNING")

    eventually(is_over, 180)
    result = output(finished(sandbox, arn))
    manifest = read(sandbox, bucket, result["ResultWriterDetails"]["Key"])
    assert len(read(sandbox, bucket, manifest["ResultFiles"]["SUCCEEDED"][0]["Key"])) == items
    # A worker and the timer of its EXPRESS child for each of forty, beside those of other tests' machines.
    assert max(threads) - min(threads) < 200


@pytest.mark.parametrize(
    ("states", "kind", "problem"),
    [
        (mapping(Label="x" * 41), "STANDARD", "Label"),
        (mapping(kind="SOON"), "STANDARD", "ExecutionType"),
        (mapping(), "EXPRESS", "does not support Map state in distributed mode"),
        (task("states:startExecution.sync:2", {}), "EXPRESS", "does not support '.sync:2'"),
    ],
)
def test_what_cannot_run_is_no_machine(
    sandbox: Sandbox, role_arn: str, states: dict[str, Any], kind: str, problem: str
) -> None:
    with pytest.raises(ClientError, match=problem) as refused:
        machine(sandbox, states, role_arn, kind)
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


# --- executions that somebody waits for ------------------------------------------------------------------------------


def outcome(sandbox: Sandbox, arn: str, resource: str, nested: str, given: Any) -> dict[str, Any]:
    arguments = {"StateMachineArn": nested, "Input": given}
    return run(sandbox, machine(sandbox, task(resource, arguments), arn))


def test_a_task_waits_for_an_express_machine_and_is_told_how_it_ended(sandbox: Sandbox, role_arn: str) -> None:
    nested = machine(sandbox, EVEN, role_arn, "EXPRESS")
    caller = role(sandbox, STATES, {"states:StartSyncExecution": nested})
    resource = "aws-sdk:sfn:startSyncExecution"
    good = output(outcome(sandbox, caller, resource, nested, '{"number": 2}'))
    assert (good["Status"], json.loads(good["Output"])) == ("SUCCEEDED", 20)
    bad = output(outcome(sandbox, caller, resource, nested, '{"number": 1}'))
    assert (bad["Status"], bad["Error"], bad["Cause"]) == ("FAILED", "Odd", "1 is odd")
    assert "Output" not in bad
    standard = machine(sandbox, EVEN, role_arn)
    allow(sandbox, caller, {"states:StartSyncExecution": "*"})
    refused = outcome(sandbox, caller, resource, standard, "{}")
    assert refused["error"] == "Sfn.StateMachineTypeNotSupportedException"


def test_a_task_waits_for_a_standard_machine_and_fails_with_it(sandbox: Sandbox, role_arn: str) -> None:
    nested = machine(sandbox, EVEN, role_arn)
    caller = role(sandbox, STATES, {"states:StartExecution": nested, "states:DescribeExecution": "*"})
    good = output(outcome(sandbox, caller, "states:startExecution.sync:2", nested, {"number": 2}))
    assert (good["Status"], good["Output"], json.loads(good["Input"])) == ("SUCCEEDED", 20, {"number": 2})
    text = output(outcome(sandbox, caller, "states:startExecution.sync", nested, {"number": 2}))["Output"]
    assert json.loads(text) == 20 and isinstance(text, str)
    bad = outcome(sandbox, caller, "states:startExecution.sync:2", nested, {"number": 1})
    assert (bad["status"], bad["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(bad["cause"])
    assert (cause["Status"], cause["Error"], cause["StateMachineArn"]) == ("FAILED", "Odd", nested)


def test_a_nested_execution_needs_the_role_s_permission(sandbox: Sandbox, role_arn: str) -> None:
    nested, caller = machine(sandbox, ECHO, role_arn), role(sandbox, STATES, {"iot:ListThings": "*"})
    refused = outcome(sandbox, caller, "states:startExecution.sync:2", nested, {})
    assert (refused["status"], refused["error"]) == ("FAILED", "StepFunctions.AWSStepFunctionsException")
    assert "states:StartExecution" in refused["cause"]


def test_a_nested_execution_is_stopped_with_its_parent(sandbox: Sandbox, role_arn: str) -> None:
    nested = machine(sandbox, {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}, role_arn)
    parent = machine(sandbox, task("states:startExecution.sync:2", {"StateMachineArn": nested}), role_arn)
    client = sandbox.client("stepfunctions", REGION)
    arn = client.start_execution(stateMachineArn=parent)["executionArn"]

    def statuses() -> list[str]:
        return [found["status"] for found in client.list_executions(stateMachineArn=nested)["executions"]]

    assert eventually(lambda: statuses() == ["RUNNING"])
    client.stop_execution(executionArn=arn)
    assert eventually(lambda: statuses() == ["ABORTED"])


# --- interruptions ---------------------------------------------------------------------------------------------------


def test_what_a_kill_cuts_off_is_another_map_run_of_the_same_execution(tmp_path: Path) -> None:
    own = Sandbox(tmp_path).start()
    try:
        slow = {"Wait": {"Type": "Wait", "Seconds": 2, "End": True}}
        arn = machine(own, mapping(slow, Items=[1, 2]), role(own, STATES, {"states:StartExecution": "*"}))
        client = own.client("stepfunctions", REGION)
        execution = client.start_execution(stateMachineArn=arn)["executionArn"]
        assert eventually(lambda: client.list_map_runs(executionArn=execution)["mapRuns"])
        assert eventually(lambda: map_run(own, execution)["executionCounts"]["running"] == 2)
        own.snapshot()
        own.kill()
        own.start()
        assert output(finished(own, execution)) == [1, 2]
        runs = own.client("stepfunctions", REGION).list_map_runs(executionArn=execution)["mapRuns"]
        found = [own.client("stepfunctions", REGION).describe_map_run(mapRunArn=run["mapRunArn"]) for run in runs]
        assert sorted(run["status"] for run in found) == ["ABORTED", "SUCCEEDED"]
    finally:
        own.stop()


def test_the_concurrency_of_a_map_run_can_be_changed(sandbox: Sandbox, role_arn: str) -> None:
    slow = {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}
    client = sandbox.client("stepfunctions", REGION)
    states = mapping(slow, Items=list(range(9)), MaxConcurrency=1)
    arn = client.start_execution(stateMachineArn=machine(sandbox, states, role_arn))["executionArn"]
    assert eventually(lambda: client.list_map_runs(executionArn=arn)["mapRuns"])
    found = map_run(sandbox, arn)
    assert found["executionCounts"]["running"] <= 1
    client.update_map_run(mapRunArn=found["mapRunArn"], maxConcurrency=8)
    assert eventually(lambda: map_run(sandbox, arn)["executionCounts"]["running"] >= 7)
    assert len(output(finished(sandbox, arn))) == 9
