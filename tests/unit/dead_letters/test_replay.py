# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets which dead letter, where that takes a function or a stream."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from datetime import UTC, datetime
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import Letter
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.replay import KeptError, Replay

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def letter(**body) -> Letter:
    return Letter(message_id="m1", text=json.dumps(body), body=body, notes={}, sent_at=NOW)


def pipe(table: str, first: int = 2, last: int = 3) -> Letter:
    stream = f"arn:aws:dynamodb:eu-west-1:1:table/app-{table}/stream/2026-01-31T12:00:00.000"
    numbers = {"startSequenceNumber": str(first), "endSequenceNumber": str(last)}
    return letter(DDBStreamBatchInfo={"streamArn": stream, "shardId": "s", **numbers})


def record(number: int, **change):
    return {"dynamodb": {"SequenceNumber": str(number), "Keys": {"Name": {"S": f"n{number}"}}, **change}}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "gone"}}, "GetRecords")


@pytest.fixture
def clients():
    made = defaultdict(MagicMock)
    made["dynamodbstreams"].get_records.side_effect = [
        {"Records": [record(1, NewImage={}), record(2, NewImage={})], "NextShardIterator": "next"},
        {"Records": [record(3), record(4, NewImage={})], "NextShardIterator": "never read"},
    ]
    made["lambda"].invoke.return_value = {"StatusCode": 200}
    return made


@pytest.fixture
def replay(clients) -> Replay:
    return Replay(clients.__getitem__, "app", "eu-west-1", "aws", "1", confirm_deletions=False)


@pytest.mark.parametrize(("table", "function"), [("definitions", "converge-definition"), ("shadows", "apply-shadow")])
def test_a_function_gets_the_records_of_its_pipe_that_hold_an_item(clients, replay: Replay, table: str, function: str):
    assert replay.attempt(pipe(table)) == function
    call = clients["lambda"].invoke.call_args.kwargs
    assert (call["FunctionName"], call["InvocationType"]) == (f"app-{function}", "RequestResponse")
    assert [each["dynamodb"]["SequenceNumber"] for each in json.loads(call["Payload"])] == ["2"]


def test_a_function_that_fails_again_leaves_the_letter(clients, replay: Replay) -> None:
    payload = io.BytesIO(b'{"errorMessage": "policy too long"}')
    clients["lambda"].invoke.return_value = {"FunctionError": "Unhandled", "Payload": payload}
    with pytest.raises(KeptError, match="converge-definition failed: policy too long"):
        replay.attempt(pipe("definitions"))


@pytest.mark.parametrize(
    ("table", "function"), [("device-inventory", "sweep-devices"), ("definitions", "converge-definition")]
)
@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_what_a_stream_has_forgotten_is_found_by_comparing(
    clients, replay: Replay, table: str, function: str, code: str
):
    clients["dynamodbstreams"].get_shard_iterator.side_effect = refusal(code)
    assert replay.attempt(pipe(table)) == f"{function}, as the stream has forgotten it"
    call = clients["lambda"].invoke.call_args.kwargs
    assert (call["FunctionName"], call["InvocationType"], call["Payload"]) == (f"app-{function}", "Event", b"{}")


def test_a_shadow_that_a_stream_has_forgotten_is_kept(clients, replay: Replay) -> None:
    clients["dynamodbstreams"].get_shard_iterator.side_effect = refusal("TrimmedDataAccessException")
    with pytest.raises(KeptError, match="update the shadow again"):
        replay.attempt(pipe("shadows"))


@pytest.mark.parametrize(
    ("resources", "function"),
    [
        ([], "sweep-devices"),
        (["arn:aws:events:r:1:rule/app-sweep-devices"], "sweep-devices"),
        (["arn:aws:events:r:1:rule/app-check-certificates"], "check-certificates"),
    ],
)
def test_what_a_schedule_woke_and_failed_is_woken_again(
    clients, replay: Replay, resources: list[str], function: str
) -> None:
    assert replay.attempt(letter(**{"detail-type": "Scheduled Event", "resources": resources})) == function
    call = clients["lambda"].invoke.call_args.kwargs
    assert (call["FunctionName"], call["InvocationType"]) == (f"app-{function}", "Event")


@pytest.mark.parametrize(
    ("body", "queue"),
    [
        ({"look": 4, "thingName": "dev"}, "ingest-thing"),
        ({"shadow": "apply", "thing": "dev"}, "record-shadow"),
        ({"thingName": "dev", "request": "commit", "principal": "c1", "jobId": "app-rotate-1"}, "rotate-certificate"),
    ],
)
def test_what_a_function_failed_on_comes_into_its_queue_again(clients, replay: Replay, body: dict, queue: str) -> None:
    clients["sqs"].get_queue_url.return_value = {"QueueUrl": "https://sqs/queue"}
    assert replay.attempt(letter(**body)) == f"queue {queue}"
    assert clients["sqs"].get_queue_url.call_args.kwargs == {"QueueName": f"app-{queue}"}
    assert json.loads(clients["sqs"].send_message.call_args.kwargs["MessageBody"]) == body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"Machine": "app-unknown", "Input": {}}, "no state machine app-unknown"),
        ({"ruleName": "app_register_device"}, "is no JSON"),
        ({"ruleName": "app_register_device", "base64OriginalPayload": "!"}, "is no JSON"),
        ({"ruleName": "other", "topic": "x", "base64OriginalPayload": "e30="}, "no topic rule other"),
        ({"detail-type": "another"}, "names no device"),
        (
            {"detail-type": "Step Functions Execution Status Change", "detail": {"stateMachineArn": "a:b"}},
            "lacks something",
        ),
        ({"ruleName": "app_rotate_certificate", "topic": "x", "base64OriginalPayload": "e30="}, "asks again by itself"),
        ({"DDBStreamBatchInfo": {"streamArn": "a/b-data"}}, "no pipe of the fleet"),
        ({"DDBStreamBatchInfo": {}}, "lacks something"),
        ({"look": 0, "held": "too many"}, "before you confirm it"),
        ({}, "nobody knows its form"),
    ],
)
def test_what_cannot_be_tried_is_kept_with_a_reason(replay: Replay, body: dict, reason: str) -> None:
    with pytest.raises(KeptError, match=reason):
        replay.attempt(letter(**body))


def test_a_message_that_could_not_be_queued_goes_to_its_queue_whatever_that_is_called(clients, replay: Replay):
    clients["sqs"].get_queue_url.side_effect = lambda QueueName: {"QueueUrl": QueueName}
    payload = base64.b64encode(b'{"t": 1}').decode()
    given = letter(ruleName="app_queue_shadow_7", topic="loadtest", base64OriginalPayload=payload)
    assert replay.attempt(given) == "queue queue-shadow-7"
    sent = clients["sqs"].send_message.call_args.kwargs
    assert sent["QueueUrl"] == "app-queue-shadow-7"
    assert json.loads(sent["MessageBody"])["message"] == {"t": 1}
