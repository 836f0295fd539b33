# SPDX-License-Identifier: GPL-3.0-or-later
"""What is between two services when the sandbox is killed is there, and goes on, when it is started again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, function, get, put, queue, role, table
from tests.integration.sandbox.test_pipes import pipe, reader

LAMBDA = "lambda.amazonaws.com"
# Writes each message of a queue, and each record of a stream, into the table.
CODE = """
import boto3, json, os

dynamodb = boto3.client("dynamodb")

def handler(event, context):
    for record in event["Records"] if isinstance(event, dict) else event:
        name = json.loads(record["body"]) if "body" in record else record["dynamodb"]["Keys"]["Name"]["S"]
        dynamodb.put_item(TableName=os.environ["TABLE"], Item={"Name": {"S": name}})
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of this test alone, for it is killed."""
    sandbox = Sandbox(tmp_path / "sandbox").start()
    yield sandbox
    sandbox.stop()


def test_messages_mappings_positions_and_groups_survive_a_kill(own: Sandbox) -> None:
    sqs, iot = own.client("sqs", REGION), own.client("iot", REGION)
    rows, seen, (url, arn) = table(own), table(own), queue(own)
    may = {
        "sqs:ReceiveMessage": arn,
        "sqs:DeleteMessage": arn,
        "sqs:GetQueueAttributes": arn,
        "dynamodb:PutItem": seen["TableArn"],
    }
    role_arn = role(own, LAMBDA, may)
    code = function(own, CODE, role_arn, Environment={"Variables": {"TABLE": seen["TableName"]}})
    mappings = own.client("lambda", REGION)
    mapping = mappings.create_event_source_mapping(FunctionName=code, EventSourceArn=arn)["UUID"]
    stream = rows["LatestStreamArn"]
    pipe(own, stream, code, reader(own, stream, {"lambda:InvokeFunction": code}))
    put(own, rows["TableName"], "before")
    assert eventually(lambda: get(own, seen["TableName"], "before"))
    # From here on nothing is fetched until the sandbox is started again, which forgets its faults.
    own.fault(service="sqs", caller=f"*{role_arn.rsplit('/', 1)[-1]}*", effect="refuse")
    own.fault(service="dynamodbstreams", effect="refuse")
    # One message is in flight, one is delayed, one waits.
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps("in-flight"))
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=5)
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps("waiting"))
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps("delayed"), DelaySeconds=5)
    hidden_until = time.time() + 5
    put(own, rows["TableName"], "after")
    own.client("dynamodb", REGION).delete_item(TableName=seen["TableName"], Key={"Name": {"S": "before"}})
    iot.create_thing(thingName="member")
    iot.create_thing_group(thingGroupName="root")
    iot.create_thing_group(thingGroupName="leaf", parentGroupName="root")
    iot.add_thing_to_thing_group(thingGroupName="leaf", thingName="member")
    own.snapshot()

    own.kill()
    own.start()

    assert eventually(lambda: get(own, seen["TableName"], "waiting"))
    assert eventually(lambda: get(own, seen["TableName"], "after"))
    assert eventually(lambda: get(own, seen["TableName"], "in-flight"), 15)
    assert eventually(lambda: get(own, seen["TableName"], "delayed"), 15)
    assert time.time() >= hidden_until
    assert eventually(lambda: not own.client("sqs", REGION).receive_message(QueueUrl=url).get("Messages"))
    assert get(own, seen["TableName"], "before") is None  # the pipe went on where it was
    groups = iot.list_thing_groups_for_thing(thingName="member")["thingGroups"]
    assert [group["groupName"] for group in groups] == ["leaf"]
    assert iot.describe_thing_group(thingGroupName="leaf")["thingGroupMetadata"]["parentGroupName"] == "root"
    found = mappings.get_event_source_mapping(UUID=mapping)
    assert (found["State"], found["EventSourceArn"]) == ("Enabled", arn)
