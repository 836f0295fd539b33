"""Stores the messages of a queue in the table ``data``, each once, however often it is delivered.

Messages of the queue, as its topic rule writes them (files/cloudformation/message_queue.yaml):
``{SK, region, topic, message}``, which is the item but for ``PK``, the thing. A topic without a level that names one is
itself the key.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from aws import aws, code, typed
from botocore.exceptions import ClientError

Item = dict[str, Any]
TEXTS = ("SK", "region", "topic")
BATCH = 25  # items, the most of one write
# The table will not have an item, and does not say which one of the batch.
REFUSED = "ValidationException"
# No JSON; numbers that DynamoDB does not know, or of more than its 38 digits; levels without end.
UNFIT = (ValueError, TypeError, ArithmeticError, RecursionError)

_log = logging.getLogger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point: a batch of the queue to the messages that have to come again."""
    items, failed = {}, set()
    for record in event["Records"]:
        try:
            items[record["messageId"]] = item_of(record["body"])
        except UNFIT as error:
            _log.error("message %s is not a topic rule's: %s", record["messageId"], error)
            failed.add(record["messageId"])
    keys = {message: key_of(item) for message, item in items.items()}
    stored = set(store({keys[message]: item for message, item in items.items()}))
    failed |= {message for message, key in keys.items() if key not in stored}
    return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}


def item_of(body: str) -> Item:
    """The item of a message, in DynamoDB's values.

    Raises:
        ValueError: the body is not what the topic rule writes.
        TypeError, ArithmeticError, RecursionError: no item can say what it says.

    """
    item = json.loads(body, parse_float=Decimal)
    if not isinstance(item, dict) or "message" not in item:
        raise ValueError("it has no message")
    for name in TEXTS:
        if not isinstance(item.get(name), str) or not item[name]:
            raise ValueError(f"it has no {name}")
    return typed({**item, "PK": partition(item["topic"])})


def partition(topic: str) -> str:
    """The thing of a topic, or the topic."""
    level = int(os.environ["THING_LEVEL"])
    return "".join(topic.split("/")[level - 1 : level]) or topic


def key_of(item: Item) -> tuple[str, str]:
    """What tells a message from all others."""
    return item["PK"]["S"], item["SK"]["S"]


def store(items: dict[tuple[str, str], Item]) -> Iterator[tuple[str, str]]:
    """Write the items; the keys of those that were written."""
    keys = list(items)
    for start in range(0, len(keys), BATCH):
        part = {key: items[key] for key in keys[start : start + BATCH]}
        try:
            yield from _together(part)
        except ClientError as error:
            if code(error) != REFUSED:
                _log.exception("%d messages have to come again", len(part))
            elif len(part) > 1:
                yield from _singly(part.values())
            else:
                _log.error("message %s is refused: %s", next(iter(part))[1], error)


def _together(part: dict[tuple[str, str], Item]) -> Iterator[tuple[str, str]]:
    table = f"{os.environ['APPLICATION']}-data"
    requests = [{"PutRequest": {"Item": item}} for item in part.values()]
    answer = aws("dynamodb").batch_write_item(RequestItems={table: requests})
    left = answer.get("UnprocessedItems", {}).get(table, [])
    return iter(part.keys() - {key_of(request["PutRequest"]["Item"]) for request in left})


def _singly(items: Iterable[Item]) -> Iterator[tuple[str, str]]:
    for item in items:
        try:
            aws("dynamodb").put_item(TableName=f"{os.environ['APPLICATION']}-data", Item=item)
            yield key_of(item)
        except ClientError as error:
            _log.error("message %s has to come again: %s", key_of(item)[1], error)
