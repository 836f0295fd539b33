# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and schedules that call functions; what becomes of an invocation that fails."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, function, get, queue, received, role, table, unique

LAMBDA, SCHEDULER = "lambda.amazonaws.com", "scheduler.amazonaws.com"
# Counts its invocations by name in the table; fails when it is told to.
CODE = """
import boto3, os

dynamodb = boto3.client("dynamodb")

def handler(event, context):
    dynamodb.update_item(
        TableName=os.environ["TABLE"],
        Key={"Name": {"S": event.get("name") or event.get("source", "?")}},
        UpdateExpression="ADD #c :one",
        ExpressionAttributeNames={"#c": "Count"},
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    if event.get("fail"):
        raise ValueError(event["name"])
"""


class Function:
    """A function that leaves a trace in a table."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.rows = sandbox, table(sandbox)
        self.dead_url, self.dead_arn = queue(sandbox, sender="events.amazonaws.com")
        self.role = role(
            sandbox, LAMBDA, {"dynamodb:UpdateItem": self.rows["TableArn"], "sqs:SendMessage": self.dead_arn}
        )
        environment = {"Variables": {"TABLE": self.rows["TableName"]}}
        self.arn = function(sandbox, CODE, self.role, Environment=environment)
        self.invoke("warm")

    def invoke(self, name: str, **more: Any) -> None:
        payload = json.dumps({"name": name, **more})
        self.sandbox.client("lambda", REGION).invoke(FunctionName=self.arn, InvocationType="Event", Payload=payload)

    def permit(self, rule_arn: str) -> None:
        self.sandbox.client("lambda", REGION).add_permission(
            FunctionName=self.arn,
            StatementId=unique("rule"),
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule_arn,
        )

    def count(self, name: str) -> int:
        row = get(self.sandbox, self.rows["TableName"], name)
        return int(row["Count"]) if row else 0


@pytest.fixture(scope="module")
def called(sandbox: Sandbox) -> Function:
    return Function(sandbox)


def test_an_invocation_that_fails_is_tried_again_and_then_handed_over(sandbox: Sandbox, called: Function) -> None:
    sandbox.client("lambda", REGION).put_function_event_invoke_config(
        FunctionName=called.arn,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": called.dead_arn}},
    )
    called.invoke("destined", fail=True)
    (letter,) = received(sandbox, called.dead_url)
    assert called.count("destined") == 2
    assert letter["requestPayload"] == {"name": "destined", "fail": True}
    assert letter["requestContext"]["condition"] == "RetriesExhausted"
    assert letter["requestContext"]["approximateInvokeCount"] == 2
    assert (letter["responsePayload"]["errorType"], letter["responsePayload"]["errorMessage"]) == (
        "ValueError",
        "destined",
    )


def test_a_rule_calls_a_function_that_lets_it(sandbox: Sandbox, called: Function) -> None:
    """What the function throws is between Lambda and its own retries; what the rule may not is in its dead letters."""
    events, source = sandbox.client("events", REGION), unique("source")
    rule = events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))["RuleArn"]
    dead_url, dead_arn = queue(sandbox, sender="events.amazonaws.com")
    target = {
        "Id": "f",
        "Arn": called.arn,
        "InputTransformer": {"InputPathsMap": {"name": "$.detail.name"}, "InputTemplate": '{"name": "<name>"}'},
        "DeadLetterConfig": {"Arn": dead_arn},
    }
    events.put_targets(Rule=source, Targets=[target])

    def say(name: str) -> None:
        entry = {"Source": source, "DetailType": "t", "Detail": json.dumps({"name": name})}
        events.put_events(Entries=[entry])

    say("refused")
    assert received(sandbox, dead_url) == [{"name": "refused"}]
    called.permit(rule)
    say("permitted")
    assert eventually(lambda: called.count("permitted") == 1)
    assert called.count("refused") == 0


@pytest.mark.long
def test_a_rule_fires_at_its_rate(sandbox: Sandbox, called: Function) -> None:
    events, name = sandbox.client("events", REGION), unique("rate")
    body = {
        "Resources": {
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "ScheduleExpression": "rate(1 minute)",
                    "Targets": [{"Id": "f", "Arn": called.arn, "Input": json.dumps({"name": name})}],
                },
            },
            "Permission": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "FunctionName": called.arn,
                    "Action": "lambda:InvokeFunction",
                    "Principal": "events.amazonaws.com",
                    "SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]},
                },
            },
        }
    }
    stacks = sandbox.client("cloudformation", REGION)
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(body))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    made = time.monotonic()
    assert events.list_rules()["Rules"]
    assert eventually(lambda: called.count(name) == 1, 75)
    assert time.monotonic() - made > 55
    assert eventually(lambda: called.count(name) == 2, 75)
    assert time.monotonic() - made > 115


def soon() -> str:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    return f"at({at:%Y-%m-%dT%H:%M:%S})"


def schedule(sandbox: Sandbox, role_arn: str, arn: str, given: Any, **target: Any) -> None:
    sandbox.client("scheduler", REGION).create_schedule(
        Name=unique("schedule"),
        ScheduleExpression=soon(),
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": arn, "RoleArn": role_arn, "Input": json.dumps(given), **target},
    )


def test_a_schedule_calls_its_target_as_its_role(sandbox: Sandbox, called: Function) -> None:
    group = f"arn:aws:scheduler:{REGION}:{sandbox.account_id}:schedule-group/default"
    condition = {"StringEquals": {"aws:SourceArn": group, "aws:SourceAccount": sandbox.account_id}}
    dead_url, dead_arn = queue(sandbox)
    may = role(sandbox, SCHEDULER, {"lambda:InvokeFunction": called.arn}, condition)
    may_not = role(sandbox, SCHEDULER, {"sqs:SendMessage": dead_arn}, condition)
    schedule(sandbox, may, called.arn, {"name": "scheduled"})
    schedule(sandbox, may_not, called.arn, {"name": "denied"}, DeadLetterConfig={"Arn": dead_arn})
    assert eventually(lambda: called.count("scheduled") == 1)
    assert received(sandbox, dead_url) == [{"name": "denied"}]
    assert called.count("denied") == 0


def test_a_schedules_role_must_trust_the_scheduler(sandbox: Sandbox, called: Function) -> None:
    with pytest.raises(ClientError, match="must allow AWS EventBridge Scheduler to assume the role"):
        schedule(sandbox, role(sandbox, LAMBDA, {"*": "*"}), called.arn, {})
