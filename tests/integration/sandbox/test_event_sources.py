# SPDX-License-Identifier: GPL-3.0-or-later
"""Queue -> event source mapping -> Lambda function."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import (
    REGION,
    allow,
    eventually,
    function,
    get,
    queue,
    received,
    role,
    table,
    unique,
)

LAMBDA = "lambda.amazonaws.com"
# Writes each message into the table; fails what says so, as often as it says.
CODE = """
import boto3, json, os, time

dynamodb = boto3.client("dynamodb")

def handler(event, context):
    failures = []
    for record in event["Records"]:
        body = json.loads(record["body"])
        count = int(record["attributes"]["ApproximateReceiveCount"])
        if body.get("raise", 0) >= count:
            raise ValueError(body["name"])
        if body.get("fail", 0) >= count:
            failures.append({"itemIdentifier": record["messageId"]})
            continue
        item = {"Name": {"S": body["name"]}, "Count": {"S": str(count)}, "At": {"S": repr(time.time())}}
        dynamodb.put_item(TableName=os.environ["TABLE"], Item=item)
    return {"batchItemFailures": failures}
"""


def warm(sandbox: Sandbox, name: str) -> None:
    """Start a process, which may take longer than messages of these tests stay invisible."""
    sandbox.client("lambda", REGION).invoke(FunctionName=name, Payload=json.dumps({"Records": []}))


class Chain:
    """A queue with dead letters, a function that reads it, and the table into which the function writes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.sqs = sandbox, sandbox.client("sqs", REGION)
        self.dead_url, self.dead_arn = queue(sandbox)
        self.url, self.arn = queue(sandbox)
        redrive = json.dumps({"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": 2})
        self.set(VisibilityTimeout="2", RedrivePolicy=redrive)
        self.rows = table(sandbox)
        self.may = {
            "sqs:ReceiveMessage": self.arn,
            "sqs:DeleteMessage": self.arn,
            "sqs:GetQueueAttributes": self.arn,
            "dynamodb:PutItem": self.rows["TableArn"],
        }
        self.role = role(sandbox, LAMBDA, self.may)
        environment = {"Variables": {"TABLE": self.rows["TableName"]}}
        self.function = function(sandbox, CODE, self.role, Timeout=1, Environment=environment)
        warm(sandbox, self.function)

    def map(self, **more: Any) -> str:
        made: str = self.sandbox.client("lambda", REGION).create_event_source_mapping(
            FunctionName=self.function,
            EventSourceArn=self.arn,
            **{"FunctionResponseTypes": ["ReportBatchItemFailures"], **more},
        )["UUID"]
        return made

    def set(self, **attributes: str) -> None:
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes=attributes)

    def send(self, name: str, delay: int = 0, **more: int) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"name": name, **more}), DelaySeconds=delay)

    def row(self, name: str) -> dict[str, str] | None:
        found: dict[str, str] | None = eventually(lambda: get(self.sandbox, self.rows["TableName"], name))
        return found

    def left(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))


@pytest.fixture(scope="module")
def chain(sandbox: Sandbox) -> Chain:
    made = Chain(sandbox)
    made.map()
    return made


def test_a_message_is_handled_at_once_and_deleted(chain: Chain) -> None:
    took = []
    for attempt in range(4):  # the first one makes the clients, another one may meet a busy machine
        sent = time.time()
        chain.send(f"quick-{attempt}")
        row = chain.row(f"quick-{attempt}")
        assert row
        took.append(float(row["At"]) - sent)
    assert min(took) < 0.3
    assert eventually(lambda: chain.left() == 0)


def test_a_delayed_message_comes_when_its_delay_is_over(chain: Chain) -> None:
    sent = time.time()
    chain.send("later", delay=1)
    row = chain.row("later")
    assert row and 1 <= float(row["At"]) - sent < 1.5


def test_only_what_failed_comes_again(chain: Chain) -> None:
    entries = [
        {"Id": name, "MessageBody": json.dumps({"name": name, "fail": int(name == "partly-bad")})}
        for name in ("partly-good", "partly-bad")
    ]
    chain.sqs.send_message_batch(QueueUrl=chain.url, Entries=entries)
    rows = [chain.row(name) for name in ("partly-good", "partly-bad")]
    assert [row and row["Count"] for row in rows] == ["1", "2"]


@pytest.mark.parametrize("how", ["fail", "raise"])
def test_what_fails_too_often_is_a_dead_letter_that_says_where_it_comes_from(chain: Chain, how: str) -> None:
    chain.send(f"never-{how}", **{how: 9})

    def dead() -> Any:
        return chain.sqs.receive_message(QueueUrl=chain.dead_url, AttributeNames=["All"]).get("Messages")

    (letter,) = eventually(dead)
    chain.sqs.delete_message(QueueUrl=chain.dead_url, ReceiptHandle=letter["ReceiptHandle"])
    assert json.loads(letter["Body"])["name"] == f"never-{how}"
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == chain.arn
    assert int(letter["Attributes"]["ApproximateReceiveCount"]) > 2


def test_the_role_must_be_allowed_to_read_the_queue(sandbox: Sandbox) -> None:
    chain = Chain(sandbox)
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
        allow(sandbox, chain.role, {key: value for key, value in chain.may.items() if key != action})
        with pytest.raises(ClientError, match=f"permissions to call {action[4:]} on SQS"):
            chain.map()
    allow(sandbox, chain.role, chain.may)
    mapping = chain.map()
    allow(sandbox, chain.role, {key: value for key, value in chain.may.items() if key != "sqs:ReceiveMessage"})
    chain.send("refused")
    functions = sandbox.client("lambda", REGION)
    problem = eventually(
        lambda: "AccessDenied" in functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"]
    )
    assert problem
    allow(sandbox, chain.role, chain.may)
    assert chain.row("refused")
    calls = sandbox.journal(service="sqs", operation="ReceiveMessage")
    name = chain.role.rsplit("/", 1)[-1]
    assert {call["error"] for call in calls if f"assumed-role/{name}/" in call["caller"]} == {
        "AccessDeniedException",
        None,
    }


def test_what_cannot_work_is_refused(sandbox: Sandbox) -> None:
    chain = Chain(sandbox)
    chain.set(VisibilityTimeout="0")
    with pytest.raises(ClientError, match="visibility timeout: 0 seconds is less than Function timeout: 1 seconds"):
        chain.map()
    chain.set(VisibilityTimeout="1")
    with pytest.raises(ClientError, match="batch window"):
        chain.map(BatchSize=11)
    chain.map()
    with pytest.raises(ClientError, match="already exists") as error:
        chain.map()
    assert error.value.response["Error"]["Code"] == "ResourceConflictException"


def test_a_filter_drops_what_nobody_wants_and_a_disabled_mapping_reads_nothing(sandbox: Sandbox) -> None:
    chain = Chain(sandbox)
    mapping = chain.map(
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"body": {"name": ["wanted"]}})}]}, Enabled=False
    )
    chain.send("unwanted")
    chain.send("wanted")
    time.sleep(0.5)
    assert chain.left() == 2
    sandbox.client("lambda", REGION).update_event_source_mapping(UUID=mapping, Enabled=True)
    assert chain.row("wanted")
    assert eventually(lambda: chain.left() == 0)
    assert get(sandbox, chain.rows["TableName"], "unwanted") is None


def test_a_topic_rule_wakes_a_function_through_a_queue_of_a_stack(sandbox: Sandbox) -> None:
    """The whole hop, as a template has it."""
    rows, name = table(sandbox), unique("hop")
    topic = f"things/{name}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}

    def a_role(service: str, *statements: dict[str, Any]) -> dict[str, Any]:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", **statement} for statement in statements],
        }
        return {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{**trust, "Principal": {"Service": service}}],
                },
                "Policies": [{"PolicyName": "do", "PolicyDocument": document}],
            },
        }

    arn = lambda resource: {"Fn::GetAtt": [resource, "Arn"]}  # noqa: E731
    template = {
        "Resources": {
            "Dead": {"Type": "AWS::SQS::Queue"},
            "Queue": {
                "Type": "AWS::SQS::Queue",
                "Properties": {
                    "VisibilityTimeout": 1,
                    "RedrivePolicy": {"deadLetterTargetArn": arn("Dead"), "maxReceiveCount": 2},
                },
            },
            "RuleRole": a_role("iot.amazonaws.com", {"Action": "sqs:SendMessage", "Resource": arn("Queue")}),
            "Role": a_role(
                LAMBDA,
                {
                    "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                    "Resource": arn("Queue"),
                },
                {"Action": "dynamodb:PutItem", "Resource": rows["TableArn"]},
            ),
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Handler": "index.handler",
                    "Timeout": 1,
                    "Role": arn("Role"),
                    "Code": {"ZipFile": CODE},
                    "Environment": {"Variables": {"TABLE": rows["TableName"]}},
                },
            },
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "FunctionName": arn("Function"),
                    "EventSourceArn": arn("Queue"),
                    "BatchSize": "10",
                    "Enabled": "true",
                    "FunctionResponseTypes": ["ReportBatchItemFailures"],
                },
            },
            "Rule": {
                "Type": "AWS::IoT::TopicRule",
                "Properties": {
                    "TopicRulePayload": {
                        "Sql": f"SELECT * FROM '{topic}'",  # noqa: S608
                        "Actions": [{"Sqs": {"RoleArn": arn("RuleRole"), "QueueUrl": {"Ref": "Queue"}}}],
                    }
                },
            },
        },
        "Outputs": {name: {"Value": {"Ref": name}} for name in ("Dead", "Function")},
    }
    stacks = sandbox.client("cloudformation", REGION)
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    outputs = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    made = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    warm(sandbox, made["Function"])
    data = sandbox.client("iot-data", REGION)
    data.publish(topic=topic, payload=json.dumps({"name": "good"}))
    assert eventually(lambda: get(sandbox, rows["TableName"], "good"))
    data.publish(topic=topic, payload=json.dumps({"name": "bad", "fail": 9}))
    assert received(sandbox, made["Dead"]) == [{"name": "bad", "fail": 9}]
