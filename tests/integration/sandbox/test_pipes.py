# SPDX-License-Identifier: GPL-3.0-or-later
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
    machine,
    put,
    queue,
    received,
    role,
    table,
    unique,
)

PIPES = "pipes.amazonaws.com"
READ = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams")


def reader(sandbox: Sandbox, stream: str, allowed: dict[str, Any]) -> str:
    pipes = f"arn:aws:pipes:{REGION}:{sandbox.account_id}:pipe/pipe*"
    condition = {"ArnLike": {"aws:SourceArn": pipes}, "StringEquals": {"aws:SourceAccount": sandbox.account_id}}
    return role(sandbox, PIPES, {**dict.fromkeys(READ, stream), **allowed}, condition)


def pipe(
    sandbox: Sandbox,
    stream: str,
    target: str,
    role_arn: str,
    *,
    filters: list[dict[str, Any]] | None = None,
    parameters: dict[str, Any] | None = None,
    start: str = "TRIM_HORIZON",
    **settings: Any,
) -> str:
    """A pipe that has settled; its name."""
    name = unique("pipe")
    source: dict[str, Any] = {"DynamoDBStreamParameters": {"StartingPosition": start, **settings}}
    if filters:
        source["FilterCriteria"] = {"Filters": [{"Pattern": json.dumps(pattern)} for pattern in filters]}
    pipes = sandbox.client("pipes", REGION)
    created = pipes.create_pipe(
        Name=name,
        Source=stream,
        Target=target,
        RoleArn=role_arn,
        SourceParameters=source,
        TargetParameters=parameters or {},
    )
    assert created["CurrentState"] == "CREATING"
    eventually(lambda: pipes.describe_pipe(Name=name)["CurrentState"] != "CREATING")
    return name


def to_queue(sandbox: Sandbox, **more: Any) -> tuple[str, dict[str, Any]]:
    """A table whose stream goes to a queue; the URL and the table."""
    rows = table(sandbox)
    url, arn = queue(sandbox)
    stream = rows["LatestStreamArn"]
    pipe(sandbox, stream, arn, reader(sandbox, stream, {"sqs:SendMessage": arn}), **more)
    return url, rows


def test_records_reach_a_bus_as_events(sandbox: Sandbox) -> None:
    events, bus = sandbox.client("events", REGION), unique("bus")
    bus_arn = events.create_event_bus(Name=bus)["EventBusArn"]
    url, arn = queue(sandbox, sender="events.amazonaws.com")
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["fleet.devices"]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    rows = table(sandbox)
    stream = rows["LatestStreamArn"]
    parameters = {
        "EventBridgeEventBusParameters": {"Source": "fleet.devices", "DetailType": "$.eventName"},
    }
    pipe(sandbox, stream, bus_arn, reader(sandbox, stream, {"events:PutEvents": bus_arn}), parameters=parameters)
    put(sandbox, rows["TableName"], "a", Colour="red")
    (event,) = received(sandbox, url)
    assert (event["source"], event["detail-type"]) == ("fleet.devices", "INSERT")
    assert event["detail"]["dynamodb"]["NewImage"] == {"Name": {"S": "a"}, "Colour": {"S": "red"}}
    assert event["detail"]["eventSourceARN"] == stream


def test_delivery_is_quick(sandbox: Sandbox) -> None:
    url, rows = to_queue(sandbox)
    started = time.monotonic()
    put(sandbox, rows["TableName"], "a")
    assert received(sandbox, url)
    assert time.monotonic() - started < 1


def test_filter_lets_foreign_writers_through(sandbox: Sandbox) -> None:
    foreign = {"S": [{"anything-but": [REGION]}]}
    url, rows = to_queue(
        sandbox,
        filters=[
            {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": {"By": foreign}}},
            {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": {"By": {"S": [{"exists": False}]}}}},
        ],
    )
    name = rows["TableName"]
    put(sandbox, name, "mine", By=REGION)
    put(sandbox, name, "theirs", By="us-west-2")
    put(sandbox, name, "nobodys")
    put(sandbox, name, "controllers", By="controller")
    sandbox.client("dynamodb", REGION).delete_item(TableName=name, Key={"Name": {"S": "theirs"}})
    keys = [record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url, 3)]
    assert keys == ["theirs", "nobodys", "controllers"]
    assert received(sandbox, url, seconds=0.4) == []


def test_one_pattern_with_alternatives_and_prefix(sandbox: Sandbox) -> None:
    pattern = {"dynamodb": {"NewImage": {"By": {"S": [{"anything-but": [REGION]}, {"exists": False}]},
                                         "Name": {"S": [{"prefix": "dev-"}]}}}}  # fmt: skip
    url, rows = to_queue(sandbox, filters=[pattern])
    for name, more in (("dev-1", {}), ("dev-2", {"By": REGION}), ("other", {}), ("dev-3", {"By": "x"})):
        put(sandbox, rows["TableName"], name, **more)
    names = [record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url, 2)]
    assert names == ["dev-1", "dev-3"]


def test_template_shapes_what_the_target_gets(sandbox: Sandbox) -> None:
    template = '{"name": <$.dynamodb.Keys.Name.S>, "text": "was <$.eventName> of <$.dynamodb.NewImage.Q.S>"}'
    url, rows = to_queue(sandbox, parameters={"InputTemplate": template})
    put(sandbox, rows["TableName"], "a", Q='say "hi"')
    assert received(sandbox, url) == [{"name": "a", "text": 'was INSERT of say "hi"'}]


def test_machine_gets_the_batch_as_a_list(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    stream = rows["LatestStreamArn"]
    for name in ("a", "b", "c"):
        put(sandbox, rows["TableName"], name)
    arn = machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, "states.amazonaws.com", {}))
    parameters = {"StepFunctionStateMachineParameters": {"InvocationType": "FIRE_AND_FORGET"}}
    pipe(
        sandbox,
        stream,
        arn,
        reader(sandbox, stream, {"states:StartExecution": arn}),
        parameters=parameters,
        BatchSize=2,
    )
    states = sandbox.client("stepfunctions", REGION)
    executions = eventually(lambda: len(states.list_executions(stateMachineArn=arn)["executions"]) == 2)
    assert executions
    inputs = [
        json.loads(states.describe_execution(executionArn=entry["executionArn"])["input"])
        for entry in states.list_executions(stateMachineArn=arn)["executions"]
    ]
    assert sorted(len(batch) for batch in inputs) == [1, 2]


def test_latest_ignores_what_was_there(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    put(sandbox, rows["TableName"], "before")
    url, arn = queue(sandbox)
    stream = rows["LatestStreamArn"]
    pipe(sandbox, stream, arn, reader(sandbox, stream, {"sqs:SendMessage": arn}), start="LATEST")
    put(sandbox, rows["TableName"], "after")
    assert [record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url)] == ["after"]


def test_refused_record_ends_in_the_dead_letters_and_the_rest_arrives(sandbox: Sandbox) -> None:
    events = sandbox.client("events", REGION)
    bus_arn = events.create_event_bus(Name=unique("bus"))["EventBusArn"]
    rows = table(sandbox)
    stream = rows["LatestStreamArn"]
    dead, dead_arn = queue(sandbox)
    arn = reader(sandbox, stream, {"sqs:SendMessage": dead_arn})  # not allowed to put events
    name = pipe(
        sandbox, stream, bus_arn, arn, MaximumRetryAttempts=1, DeadLetterConfig={"Arn": dead_arn}
    )  # fmt: skip
    put(sandbox, rows["TableName"], "a")
    (note,) = received(sandbox, dead)
    assert note["context"]["condition"] == "RetryAttemptsExhausted"
    assert note["DDBStreamBatchInfo"]["streamArn"] == stream
    assert note["DDBStreamBatchInfo"]["batchSize"] == 1
    described = sandbox.client("pipes", REGION).describe_pipe(Name=name)
    assert "events:PutEvents" in described["StateReason"]


def test_bisect_isolates_what_the_target_refuses(sandbox: Sandbox) -> None:
    dead, dead_arn = queue(sandbox)
    url, rows = queue(sandbox)[0], table(sandbox)
    target = sandbox.client("sqs", REGION).get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    target_arn, stream = target["Attributes"]["QueueArn"], rows["LatestStreamArn"]
    arn = reader(sandbox, stream, {"sqs:SendMessage": [target_arn, dead_arn]})
    for name in ("a", "b", "poison", "c"):
        put(sandbox, rows["TableName"], name, Text="" if name != "poison" else "x" * 300_000)
    sandbox.client("sqs", REGION).set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": "8192"})
    pipe(
        sandbox, stream, target_arn, arn,
        MaximumRetryAttempts=1, OnPartialBatchItemFailure="AUTOMATIC_BISECT", DeadLetterConfig={"Arn": dead_arn},
    )  # fmt: skip
    (note,) = received(sandbox, dead)
    assert note["DDBStreamBatchInfo"]["batchSize"] == 1
    names = {record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url, 3)}
    eventually(lambda: False, 0.3)
    names |= {record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url, 9, 0.5)}
    assert names == {"a", "b", "c"}


def test_transient_failure_is_tried_until_it_works(sandbox: Sandbox) -> None:
    fault = sandbox.fault(service="sqs", operation="SendMessage", effect="error", times=2)
    try:
        url, rows = to_queue(sandbox)
        put(sandbox, rows["TableName"], "a")
        assert len(received(sandbox, url)) == 1
    finally:
        sandbox.clear_faults(fault)


def test_old_record_is_given_up(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    stream, (dead, dead_arn) = rows["LatestStreamArn"], queue(sandbox)
    bus_arn = sandbox.client("events", REGION).create_event_bus(Name=unique("bus"))["EventBusArn"]
    arn = reader(sandbox, stream, {"sqs:SendMessage": dead_arn})
    pipe(
        sandbox,
        stream,
        bus_arn,
        arn,
        MaximumRecordAgeInSeconds=60,
        DeadLetterConfig={"Arn": dead_arn},
        MaximumRetryAttempts=0,
    )
    put(sandbox, rows["TableName"], "a")
    assert received(sandbox, dead)[0]["context"]["condition"] == "RetryAttemptsExhausted"


def test_role_that_may_not_read_fails_the_creation(sandbox: Sandbox) -> None:
    rows, (_url, arn) = table(sandbox), queue(sandbox)
    name = pipe(sandbox, rows["LatestStreamArn"], arn, role(sandbox, PIPES, {"sqs:SendMessage": arn}))
    described = sandbox.client("pipes", REGION).describe_pipe(Name=name)
    assert described["CurrentState"] == "CREATE_FAILED"
    assert "dynamodb:DescribeStream" in described["StateReason"]


def test_stopped_pipe_goes_on_where_it_was(sandbox: Sandbox) -> None:
    rows, (url, arn) = table(sandbox), queue(sandbox)
    stream, pipes = rows["LatestStreamArn"], sandbox.client("pipes", REGION)
    name = pipe(sandbox, stream, arn, reader(sandbox, stream, {"sqs:SendMessage": arn}))
    put(sandbox, rows["TableName"], "a")
    assert len(received(sandbox, url)) == 1
    assert pipes.stop_pipe(Name=name)["CurrentState"] == "STOPPING"
    assert eventually(lambda: pipes.describe_pipe(Name=name)["CurrentState"] == "STOPPED")
    put(sandbox, rows["TableName"], "b")
    assert received(sandbox, url, seconds=0.5) == []
    assert pipes.start_pipe(Name=name)["CurrentState"] == "STARTING"
    assert [record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url)] == ["b"]


def test_update_changes_what_is_described_and_done(sandbox: Sandbox) -> None:
    rows, (url, arn) = table(sandbox), queue(sandbox)
    stream, pipes = rows["LatestStreamArn"], sandbox.client("pipes", REGION)
    role_arn = reader(sandbox, stream, {"sqs:SendMessage": arn})
    name = pipe(sandbox, stream, arn, role_arn)
    parameters = {"InputTemplate": '{"v": 2}'}
    updated = pipes.update_pipe(Name=name, RoleArn=role_arn, TargetParameters=parameters)
    assert updated["CurrentState"] == "UPDATING"
    assert eventually(lambda: pipes.describe_pipe(Name=name)["CurrentState"] == "RUNNING")
    described = pipes.describe_pipe(Name=name)
    assert described["TargetParameters"] == parameters
    assert described["SourceParameters"]["DynamoDBStreamParameters"]["StartingPosition"] == "TRIM_HORIZON"
    put(sandbox, rows["TableName"], "a")
    assert received(sandbox, url) == [{"v": 2}]


def test_permission_given_later_lets_the_pipe_go_on(sandbox: Sandbox) -> None:
    rows, (url, arn) = table(sandbox), queue(sandbox)
    stream = rows["LatestStreamArn"]
    role_arn = reader(sandbox, stream, {})
    pipe(sandbox, stream, arn, role_arn)
    put(sandbox, rows["TableName"], "a")
    assert received(sandbox, url, seconds=0.5) == []
    allow(sandbox, role_arn, {**dict.fromkeys(READ, stream), "sqs:SendMessage": arn})
    assert len(received(sandbox, url)) == 1


@pytest.mark.parametrize(
    "target", ["arn:aws:kinesis:eu-west-1:000000000000:stream/s", "arn:aws:ecs:eu-west-1:0:cluster/c"]
)
def test_unknown_target_is_refused(sandbox: Sandbox, target: str) -> None:
    rows = table(sandbox)
    with pytest.raises(ClientError, match="have no target"):
        pipe(sandbox, rows["LatestStreamArn"], target, role(sandbox, PIPES, {}))


def test_position_survives_a_kill(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path).start()
    try:
        url, rows = to_queue(sandbox)
        put(sandbox, rows["TableName"], "a")
        assert len(received(sandbox, url)) == 1
        sandbox.snapshot()
        sandbox.kill()
        sandbox.start()
        put(sandbox, rows["TableName"], "b")
        assert [record["dynamodb"]["Keys"]["Name"]["S"] for record in received(sandbox, url)] == ["b"]
    finally:
        sandbox.stop()


def test_pipe_of_a_stack(sandbox: Sandbox) -> None:
    rows, (url, arn) = table(sandbox), queue(sandbox)
    stream, stacks, name = rows["LatestStreamArn"], sandbox.client("cloudformation", REGION), unique("pipes")
    put(sandbox, rows["TableName"], "a")

    def template(role_arn: str, source: dict[str, Any]) -> str:
        properties = {
            "Name": name,
            "Source": stream,
            "Target": arn,
            "RoleArn": role_arn,
            "SourceParameters": {
                "DynamoDBStreamParameters": {"StartingPosition": "TRIM_HORIZON", "BatchSize": 5},
                **source,
            },
            "TargetParameters": {"InputTemplate": '{"n": <$.dynamodb.Keys.Name.S>}'},
        }
        return json.dumps({"Resources": {"Pipe": {"Type": "AWS::Pipes::Pipe", "Properties": properties}}})

    good = reader(sandbox, stream, {"sqs:SendMessage": arn})
    stacks.create_stack(StackName=name, TemplateBody=template(good, {}))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert received(sandbox, url) == [{"n": "a"}]
    filters = {"FilterCriteria": {"Filters": [{"Pattern": json.dumps({"eventName": ["REMOVE"]})}]}}
    stacks.update_stack(StackName=name, TemplateBody=template(good, filters))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    put(sandbox, rows["TableName"], "b")
    sandbox.client("dynamodb", REGION).delete_item(TableName=rows["TableName"], Key={"Name": {"S": "a"}})
    assert received(sandbox, url) == [{"n": "a"}]
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    with pytest.raises(ClientError, match="NotFoundException"):
        sandbox.client("pipes", REGION).describe_pipe(Name=name)
    stacks.create_stack(StackName=name, TemplateBody=template(role(sandbox, PIPES, {}), {}))
    described = eventually(
        lambda: [
            e
            for e in stacks.describe_stack_events(StackName=name)["StackEvents"]
            if e["ResourceStatus"] == "CREATE_FAILED"
        ]
    )
    assert "dynamodb:DescribeStream" in described[0]["ResourceStatusReason"]
