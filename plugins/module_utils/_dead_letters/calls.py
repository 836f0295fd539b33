# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per API call that trying again needs. Private to the collection."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import queue_url
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code, none_if_missing

Record = dict[str, Any]
# What a stream no longer has, or does not have any more: a replica that was made anew has another stream.
FORGOTTEN = frozenset({"TrimmedDataAccessException", "ResourceNotFoundException"})


@api_call("start an execution")
def start_execution(stepfunctions: Any, machine_arn: str, event: str) -> None:
    """Start an execution."""
    stepfunctions.start_execution(stateMachineArn=machine_arn, input=event)


@api_call("store a message")
def put_item(dynamodb: Any, table: str, item: dict[str, Any]) -> None:
    """Put an item, given in plain values."""
    dynamodb.put_item(TableName=table, Item=typed_item(item))


@api_call("send a message")
def send(sqs: Any, queue: str, body: str) -> bool:
    """Send a message; False when the region has no such queue."""
    url = queue_url(sqs, queue)
    if url is None:
        return False
    sqs.send_message(QueueUrl=url, MessageBody=body)
    return True


@api_call("invoke a function")
def invoke(functions: Any, name: str, records: list[Record]) -> str:
    """Hand stream records to a function as a pipe does and wait for it; its error, "" when it did well."""
    payload = json.dumps(records, default=_seconds).encode()
    answer = functions.invoke(FunctionName=name, InvocationType="RequestResponse", Payload=payload)
    if "FunctionError" not in answer:
        return ""
    return str(json.loads(answer["Payload"].read()).get("errorMessage", answer["FunctionError"]))


def invoke_later(functions: Any, name: str, event: dict[str, Any]) -> bool:
    """Wake a function; False when the region has no such function."""
    return _invoke_later(functions, name, event) is not None


@none_if_missing
@api_call("wake a function")
def _invoke_later(functions: Any, name: str, event: dict[str, Any]) -> int | None:
    answer = functions.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    return int(answer["StatusCode"])


def stream_records(streams: Any, batch: dict[str, Any]) -> list[Record] | None:
    """The records from ``startSequenceNumber`` to ``endSequenceNumber``; None when the stream has forgotten them."""
    first, last = int(batch["startSequenceNumber"]), int(batch["endSequenceNumber"])
    try:
        iterator: str | None = _iterator(streams, batch)
        found: list[Record] = []
        while iterator:
            page = _records(streams, iterator)
            found += page["Records"]
            numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in page["Records"]]
            if not numbers or max(numbers) >= last:
                break
            iterator = page.get("NextShardIterator")
    except AnsibleAWSError as error:
        if error_code(error) in FORGOTTEN:
            return None
        raise
    wanted = [record for record in found if first <= int(record["dynamodb"]["SequenceNumber"]) <= last]
    return wanted or None


@api_call("find a place in a stream")
def _iterator(streams: Any, batch: dict[str, Any]) -> str:
    return str(
        streams.get_shard_iterator(
            StreamArn=batch["streamArn"],
            ShardId=batch["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=batch["startSequenceNumber"],
        )["ShardIterator"]
    )


@api_call("read a stream")
def _records(streams: Any, iterator: str) -> dict[str, Any]:
    return dict(streams.get_records(ShardIterator=iterator))


def _seconds(value: Any) -> Any:
    """Times of boto3 as a stream record has them."""
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} is no JSON")


__all__ = ["invoke", "invoke_later", "put_item", "send", "start_execution", "stream_records"]
