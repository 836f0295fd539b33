# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import (
    LOG_DELIVERY,
    REGION,
    allow,
    eventually,
    finished,
    get,
    machine,
    output,
    put,
    queue,
    received,
    role,
    run,
    table,
    task,
    unique,
)

STATES = "states.amazonaws.com"


def test_iot_task_takes_and_returns_the_names_of_the_sdk_for_java(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:CreateThing": "*", "iot:DescribeThing": "*"})
    name = unique("thing")
    created = output(
        run(
            sandbox,
            machine(
                sandbox,
                task(
                    "aws-sdk:iot:createThing",
                    {"ThingName": "{% $states.input.name %}", "AttributePayload": {"Attributes": {"site": "a"}}},
                ),
                arn,
            ),
            {"name": name},
        )
    )
    assert created["ThingName"] == name and created["ThingArn"].endswith(f":thing/{name}")
    described = output(run(sandbox, machine(sandbox, task("aws-sdk:iot:describeThing", {"ThingName": name}), arn)))
    assert described["Attributes"] == {"site": "a"}
    assert not any(key[0].islower() for key in described)


def test_timestamps_are_iso_strings(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:DescribeThingType": "*"})
    name = unique("type")
    sandbox.client("iot", REGION).create_thing_type(thingTypeName=name)
    answer = output(run(sandbox, machine(sandbox, task("aws-sdk:iot:describeThingType", {"ThingTypeName": name}), arn)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer["ThingTypeMetadata"]["CreationDate"])


def test_executions_at_once_share_an_expression_and_not_its_values(sandbox: Sandbox) -> None:
    text = "{% ($own := $states.input.number; $sum([1..$own].($ + $own)) & '/' & $own) %}"
    double = {"Type": "Pass", "Output": text, "End": True}
    every = {
        "Type": "Map",
        "Items": "{% $states.input.numbers %}",
        "ItemSelector": {"number": "{% $states.context.Map.Item.Value %}"},
        "MaxConcurrency": 20,
        "ItemProcessor": {"StartAt": "One", "States": {"One": double}},
        "End": True,
    }
    arn = machine(sandbox, {"All": every}, role(sandbox, STATES, {}))
    answer = output(run(sandbox, arn, {"numbers": [*range(1, 41)]}))
    assert answer == [f"{n * (n + 1) // 2 + n * n}/{n}" for n in range(1, 41)]


@pytest.mark.parametrize(
    ("action", "arguments", "error"),
    [
        ("iot:describeThing", {"ThingName": "nobody"}, "Iot.ResourceNotFoundException"),
        ("iotdataplane:getThingShadow", {"ThingName": "nobody"}, "IotDataPlane.ResourceNotFoundException"),
        ("sqs:getQueueUrl", {"QueueName": "nobody"}, "Sqs.QueueDoesNotExistException"),
        ("s3:getObject", {"Bucket": "no-such-bucket-here", "Key": "k"}, "S3.NoSuchBucketException"),
        ("sfn:startExecution", {"StateMachineArn": "arn:aws:states:eu-west-1:000000000000:stateMachine:x"},
         "Sfn.StateMachineDoesNotExistException"),
        ("dynamodb:getItem", {"TableName": "nobody", "Key": {"Name": {"S": "x"}}},
         "DynamoDb.ResourceNotFoundException"),
    ],
)  # fmt: skip
def test_errors_have_the_names_of_the_sdk_for_java(
    sandbox: Sandbox, action: str, arguments: dict[str, object], error: str
) -> None:
    arn = role(sandbox, STATES, {"*": "*"})
    execution = run(sandbox, machine(sandbox, task(f"aws-sdk:{action}", arguments), arn))
    assert (execution["status"], execution["error"]) == ("FAILED", error)


def test_sdk_and_optimised_tasks_have_their_own_prefix(sandbox: Sandbox) -> None:
    rows = table(sandbox)["TableName"]
    arn = role(sandbox, STATES, {"dynamodb:PutItem": "*"})
    put(sandbox, rows, "there")
    arguments = {
        "TableName": rows,
        "Item": {"Name": {"S": "there"}},
        "ConditionExpression": "attribute_not_exists(#n)",
        "ExpressionAttributeNames": {"#n": "Name"},
    }
    for resource, error in (("aws-sdk:dynamodb:putItem", "DynamoDb"), ("dynamodb:putItem", "DynamoDB")):
        execution = run(sandbox, machine(sandbox, task(resource, arguments), arn))
        assert execution["error"] == f"{error}.ConditionalCheckFailedException"


def test_denied_calls_fail_with_the_services_own_exception(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {})
    for resource, arguments, error in (
        ("aws-sdk:iot:createThing", {"ThingName": "x"}, "Iot.IotException"),
        ("dynamodb:getItem", {"TableName": "t", "Key": {"Name": {"S": "x"}}}, "DynamoDB.AmazonDynamoDBException"),
    ):
        execution = run(sandbox, machine(sandbox, task(resource, arguments), arn))
        assert execution["error"] == error
        assert "is not authorized to perform" in execution["cause"]


def test_role_must_trust_the_service(sandbox: Sandbox) -> None:
    with pytest.raises(ClientError, match="not authorized to assume role"):
        machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, "lambda.amazonaws.com", {"*": "*"}))


def test_member_in_the_api_spelling_is_refused(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"*": "*"})
    with pytest.raises(ClientError, match="thingName") as refused:
        machine(sandbox, task("aws-sdk:iot:createThing", {"thingName": "x"}), arn)
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


def test_caught_error_leads_on(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:DescribeThing": "*"})
    states = task(
        "aws-sdk:iot:describeThing",
        {"ThingName": "nobody"},
        Catch=[{"ErrorEquals": ["Iot.ResourceNotFoundException"], "Next": "Absent"}],
    ) | {"Absent": {"Type": "Pass", "Output": "absent", "End": True}}
    assert output(run(sandbox, machine(sandbox, states, arn))) == "absent"


def test_throttled_task_is_retried(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"})
    name = unique("thing")
    retry = [{"ErrorEquals": ["Iot.ThrottlingException"], "IntervalSeconds": 1, "MaxAttempts": 3}]
    states = task("aws-sdk:iot:createThing", {"ThingName": name}, Retry=retry)
    rule = sandbox.fault(service="iot", operation="CreateThing", effect="throttle", times=1)
    try:
        assert output(run(sandbox, machine(sandbox, states, arn)))["ThingName"] == name
    finally:
        sandbox.clear_faults(rule)


def test_calls_are_in_the_journal_as_the_role(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"})
    since = sandbox.now()
    run(sandbox, machine(sandbox, task("aws-sdk:iot:createThing", {"ThingName": unique("thing")}), arn))
    (call,) = sandbox.journal(since, service="iot", operation="CreateThing")
    assert f":assumed-role/{arn.rsplit('/', 1)[-1]}/states" in call["caller"]


def test_role_may_be_bound_to_the_machine(sandbox: Sandbox) -> None:
    condition = {"ArnLike": {"aws:SourceArn": f"arn:aws:states:{REGION}:{sandbox.account_id}:stateMachine:machine-*"}}
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"}, condition)
    output(run(sandbox, machine(sandbox, task("aws-sdk:iot:createThing", {"ThingName": unique("thing")}), arn)))


def test_logging_needs_the_group_and_the_permission(sandbox: Sandbox) -> None:
    group = unique("/aws/vendedlogs/states/test")
    group_arn = f"arn:aws:logs:{REGION}:{sandbox.account_id}:log-group:{group}:*"
    logging = {"level": "ERROR", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group_arn}}]}
    states = {"End": {"Type": "Succeed"}}
    with pytest.raises(ClientError, match="does not exist"):
        machine(sandbox, states, role(sandbox, STATES, LOG_DELIVERY), loggingConfiguration=logging)
    sandbox.client("logs", REGION).create_log_group(logGroupName=group)
    with pytest.raises(ClientError, match="logs:CreateLogDelivery"):
        machine(sandbox, states, role(sandbox, STATES, {}), loggingConfiguration=logging)


def test_queue_is_found_by_the_url_it_has_on_aws(sandbox: Sandbox) -> None:
    url, target = queue(sandbox)
    name = target.rsplit(":", 1)[-1]
    arn = role(sandbox, STATES, {"sqs:SendMessage": target})
    there = f"https://sqs.{REGION}.amazonaws.com/{sandbox.account_id}/{name}"
    output(
        run(sandbox, machine(sandbox, task("aws-sdk:sqs:sendMessage", {"QueueUrl": there, "MessageBody": "1"}), arn))
    )
    assert received(sandbox, url) == [1]


def test_jsonpath_machine(sandbox: Sandbox) -> None:
    arn, name = role(sandbox, STATES, {"iot:CreateThing": "*"}), unique("thing")
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:iot:createThing",
        "Parameters": {"ThingName.$": "$.name"},
        "ResultSelector": {"Id.$": "$.ThingId"},
        "ResultPath": "$.made",
        "End": True,
    }
    made = output(
        run(sandbox, machine(sandbox, {"Task": state}, arn, top={"QueryLanguage": "JSONPath"}), {"name": name})
    )
    assert made["name"] == name and made["made"]["Id"]


def test_optimised_integrations_send_objects_as_json(sandbox: Sandbox) -> None:
    url, target = queue(sandbox)
    arn = role(sandbox, STATES, {"sqs:SendMessage": target})
    output(run(sandbox, machine(sandbox, task("sqs:sendMessage", {"QueueUrl": url, "MessageBody": {"a": 1}}), arn)))
    assert received(sandbox, url) == [{"a": 1}]


def test_sdk_task_wants_text_where_the_api_has_text(sandbox: Sandbox) -> None:
    url, target = queue(sandbox)
    arn = role(sandbox, STATES, {"sqs:SendMessage": target})
    arguments = {"QueueUrl": url, "MessageBody": "{% {'a': 1} %}"}
    execution = run(sandbox, machine(sandbox, task("aws-sdk:sqs:sendMessage", arguments), arn))
    assert execution["error"] == "States.Runtime"


def test_one_machine_starts_another(sandbox: Sandbox) -> None:
    child = machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, STATES, {}))
    arn = role(sandbox, STATES, {"states:StartExecution": child})
    arguments = {"StateMachineArn": child, "Input": {"given": "{% $states.context.Execution.Id %}"}}
    started = run(sandbox, machine(sandbox, task("states:startExecution", arguments), arn))
    inner = finished(sandbox, output(started)["ExecutionArn"])
    assert json.loads(inner["input"]) == {"given": started["executionArn"]}


def test_lambda_task_runs_the_function_and_reports_its_errors(sandbox: Sandbox) -> None:
    functions = sandbox.client("lambda", REGION)
    name, package = unique("function"), io.BytesIO()
    source = "class Refused(Exception): pass\ndef handler(event, context):\n"
    source += "    if event.get('bad'): raise Refused('no')\n    return {'got': event}\n"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("index.py", source)
    function = functions.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="index.handler",
        Role=role(sandbox, "lambda.amazonaws.com", {}),
        Code={"ZipFile": package.getvalue()},
    )["FunctionArn"]
    arn = role(sandbox, STATES, {"lambda:InvokeFunction": function})
    call = machine(sandbox, task("lambda:invoke", {"FunctionName": function, "Payload": "{% $states.input %}"}), arn)
    assert output(run(sandbox, call, {"a": 1}))["Payload"] == {"got": {"a": 1}}
    failed = run(sandbox, call, {"bad": True})
    assert failed["error"] == "Refused" and json.loads(failed["cause"])["errorMessage"] == "no"
    allow(sandbox, arn, {"lambda:GetFunction": "*"})
    assert run(sandbox, call, {})["error"] == "Lambda.AWSLambdaException"


def test_no_wildcard_catches_a_mistake_of_the_definition(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"*": "*"})
    states = task(
        "aws-sdk:iot:createThing",
        {"ThingName": "{% 7 %}"},
        Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
        Retry=[{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 60}],
    ) | {"Caught": {"Type": "Succeed"}}
    assert run(sandbox, machine(sandbox, states, arn))["error"] == "States.Runtime"


def test_retries_wait_no_longer_than_they_may(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:DescribeThing": "*"})
    retry = {
        "ErrorEquals": ["Iot.ResourceNotFoundException"],
        "IntervalSeconds": 1,
        "BackoffRate": 30,
        "MaxDelaySeconds": 2,
        "MaxAttempts": 2,
        "JitterStrategy": "FULL",
    }
    states = task("aws-sdk:iot:describeThing", {"ThingName": "nobody"}, Retry=[retry])
    started = time.monotonic()
    assert run(sandbox, machine(sandbox, states, arn))["status"] == "FAILED"
    assert time.monotonic() - started < 4


def test_express_execution_survives_a_kill(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path).start()
    try:
        arn, name = role(sandbox, STATES, {"iot:CreateThing": "*"}), unique("thing")
        states = {"Wait": {"Type": "Wait", "Seconds": 2, "Next": "Task"}}
        states |= task("aws-sdk:iot:createThing", {"ThingName": name})
        waiting = machine(sandbox, states, arn, kind="EXPRESS")
        sandbox.client("stepfunctions", REGION).start_execution(stateMachineArn=waiting)
        sandbox.snapshot()
        sandbox.kill()
        sandbox.start()
        iot = sandbox.client("iot", REGION)
        assert eventually(lambda: [t["thingName"] for t in iot.list_things()["things"]] == [name])
    finally:
        sandbox.stop()


def test_waits_may_be_shortened_to_parts_of_a_second(sandbox: Sandbox) -> None:
    states = {
        "Wait": {"Type": "Wait", "Seconds": 0.2, "Next": "More"},
        "More": {"Type": "Wait", "Seconds": "{% 0.1 %}"},
    }
    states["More"]["End"] = True
    execution = run(sandbox, machine(sandbox, states, role(sandbox, STATES, {})))
    assert execution["status"] == "SUCCEEDED"
    assert (execution["stopDate"] - execution["startDate"]).total_seconds() >= 0.3


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$hash('abc', 'SHA-256')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("$sort([{'a': 2}, {'a': 1}], function($l, $r) { $l.a > $r.a })", [{"a": 1}, {"a": 2}]),
        ("$millis() - $toMillis($now()) < 1000", True),
        ("$length($uuid())", 36),
    ],
)
def test_functions_that_definitions_rely_on(sandbox: Sandbox, expression: str, expected: object) -> None:
    states = {"Pass": {"Type": "Pass", "Output": {"found": f"{{% {expression} %}}"}, "End": True}}
    assert output(run(sandbox, machine(sandbox, states, role(sandbox, STATES, {})))) == {"found": expected}


def test_execution_that_lasts_too_long_times_out(sandbox: Sandbox) -> None:
    wait = {"Wait": {"Type": "Wait", "Seconds": 3, "Next": "Done"}, "Done": {"Type": "Succeed"}}
    arn = machine(sandbox, wait, role(sandbox, STATES, {}), top={"TimeoutSeconds": 1})
    started = time.monotonic()
    assert run(sandbox, arn)["status"] == "TIMED_OUT"
    assert time.monotonic() - started < 2.5


def test_same_name_and_input_start_a_standard_machine_once(sandbox: Sandbox) -> None:
    wait = {"Wait": {"Type": "Wait", "Seconds": 2, "End": True}}
    arn, states = machine(sandbox, wait, role(sandbox, STATES, {})), sandbox.client("stepfunctions", REGION)
    first = states.start_execution(stateMachineArn=arn, name="once", input='{"a":1}')
    again = states.start_execution(stateMachineArn=arn, name="once", input='{"a":1}')
    assert again["executionArn"] == first["executionArn"]
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(stateMachineArn=arn, name="once", input='{"a":2}')


def test_express_execution_is_seen_in_the_log_group_only(sandbox: Sandbox) -> None:
    logs, group = sandbox.client("logs", REGION), unique("/aws/vendedlogs/states/test")
    logs.create_log_group(logGroupName=group)
    group_arn = f"arn:aws:logs:{REGION}:{sandbox.account_id}:log-group:{group}:*"
    configuration = {
        "level": "ALL",
        "includeExecutionData": True,
        "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group_arn}}],
    }
    arn = machine(
        sandbox,
        {"End": {"Type": "Succeed"}},
        role(sandbox, STATES, LOG_DELIVERY),
        kind="EXPRESS",
        loggingConfiguration=configuration,
    )
    states = sandbox.client("stepfunctions", REGION)
    assert states.describe_state_machine(stateMachineArn=arn)["loggingConfiguration"] == configuration
    executions = {states.start_execution(stateMachineArn=arn, name="same")["executionArn"] for _ in range(2)}
    assert len(executions) == 2
    assert all(f":express:{arn.rsplit(':', 1)[-1]}:same:" in execution for execution in executions)
    with pytest.raises(ClientError, match="InvalidArn"):
        states.describe_execution(executionArn=executions.pop())
    with pytest.raises(ClientError, match="StateMachineTypeNotSupported"):
        states.list_executions(stateMachineArn=arn)

    def ended() -> list[str]:
        events = logs.filter_log_events(logGroupName=group)["events"]
        return [e["message"] for e in events if json.loads(e["message"])["type"] == "ExecutionSucceeded"]

    assert eventually(lambda: len(ended()) == 2)


@pytest.mark.parametrize(
    ("states", "named"),
    [
        ({"A": {"Type": "Pass", "Next": "Nowhere"}}, "Nowhere"),
        ({"A": {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:iot:makeThing", "End": True}}, "makeThing"),
        ({"A": {"Type": "Pass"}}, "Next"),
    ],
)
def test_definition_that_aws_refuses_is_refused(sandbox: Sandbox, states: dict[str, object], named: str) -> None:
    with pytest.raises(ClientError, match=named) as refused:
        machine(sandbox, states, role(sandbox, STATES, {}))
    assert refused.value.response["Error"]["Code"] == "InvalidDefinition"


def test_row_is_written_by_the_optimised_integration(sandbox: Sandbox) -> None:
    rows = table(sandbox)
    arn = role(sandbox, STATES, {"dynamodb:PutItem": rows["TableArn"]})
    arguments = {"TableName": rows["TableName"], "Item": {"Name": {"S": "a"}, "Colour": {"S": "red"}}}
    output(run(sandbox, machine(sandbox, task("dynamodb:putItem", arguments), arn)))
    assert get(sandbox, rows["TableName"], "a") == {"Name": "a", "Colour": "red"}


def test_the_history_shows_the_states_of_each_iteration(sandbox: Sandbox) -> None:
    inner = {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Next": "Done"}, "Done": {"Type": "Succeed"}}}
    states = {"Each": {"Type": "Map", "Items": "{% [1, 2] %}", "ItemProcessor": inner, "End": True}}
    execution = run(sandbox, machine(sandbox, states, role(sandbox, STATES, {"iot:DescribeThing": "*"})))
    history = sandbox.client("stepfunctions", REGION).get_execution_history(executionArn=execution["executionArn"])
    entered = [each["stateEnteredEventDetails"]["name"] for each in history["events"] if "Entered" in each["type"]]
    assert sorted(entered) == ["Done", "Done", "Each", "Inner", "Inner"]
