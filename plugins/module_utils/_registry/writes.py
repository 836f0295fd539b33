# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per write of the fleet's tables; each takes the boto3 DynamoDB client of a region.

Private to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item, typed_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code, poll

T = TypeVar("T")

LOST = "ConditionalCheckFailedException"
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html and API_BatchWriteItem.html
READ_AT_ONCE = 100
WRITTEN_AT_ONCE = 25
BATCH_TIMEOUT = 120  # seconds in which DynamoDB has to take all of a batch


@api_call("write a device's row")
def put_row(client: Any, table: str, new: Row, old: Row) -> bool:
    """Write ``new`` if the row is still ``old`` ({}: there is none); False when another writer was faster."""
    unchanged: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(WriteId)"}
    if "WriteId" in old:
        unchanged = {
            "ConditionExpression": "WriteId = :seen",
            "ExpressionAttributeValues": {":seen": {"S": old["WriteId"]}},
        }
    return _put_if(client, table, new, unchanged)


@api_call("write a revocation")
def put_revocation(client: Any, table: str, key: str, *, reason: str, now: datetime) -> None:
    """Add a key to ``revocations``; one that is there stays as it is."""
    item = {"Key": key, "Reason": reason, "RevokedAt": timestamp(now)}
    unknown = {"ConditionExpression": "attribute_not_exists(#key)", "ExpressionAttributeNames": {"#key": "Key"}}
    _put_if(client, table, item, unknown)


def _put_if(client: Any, table: str, item: Item, condition: dict[str, Any]) -> bool:
    try:
        client.put_item(TableName=table, Item=typed_item(item), **condition)
    except client.exceptions.ClientError as error:
        if error_code(error) != LOST:
            raise
        return False
    return True


def existing(client: Any, table: str, key_name: str, keys: Sequence[str]) -> list[Item]:
    """Return those of the items that exist, in no order, read consistently."""
    return [item for part in parts(keys, READ_AT_ONCE) for item in _existing(client, table, key_name, part)]


def _existing(client: Any, table: str, key_name: str, keys: Sequence[str]) -> list[Item]:
    pending: dict[str, Any] = {table: {"Keys": [{key_name: {"S": key}} for key in keys], "ConsistentRead": True}}
    found: list[Item] = []

    @api_call("read items")
    def read() -> dict[str, Any]:
        nonlocal pending
        answer = client.batch_get_item(RequestItems=pending)
        found.extend(plain_item(item) for item in answer["Responses"].get(table, []))
        pending = answer.get("UnprocessedKeys") or {}
        return pending

    poll(read, lambda left: not left, timeout=BATCH_TIMEOUT, describe=f"reads of table {table}, which is throttled")
    return found


def put_items(client: Any, table: str, items: Sequence[Item]) -> None:
    """Put up to 25 items, whatever is there."""
    _write(client, table, [{"PutRequest": {"Item": typed_item(item)}} for item in items])


def delete_items(client: Any, table: str, key_name: str, keys: Sequence[str]) -> None:
    """Delete up to 25 items, those that exist."""
    _write(client, table, [{"DeleteRequest": {"Key": {key_name: {"S": key}}}} for key in keys])


def _write(client: Any, table: str, requests: list[dict[str, Any]]) -> None:
    pending = {table: requests}

    @api_call("write items")
    def write() -> dict[str, Any]:
        nonlocal pending
        pending = client.batch_write_item(RequestItems=pending).get("UnprocessedItems") or {}
        return pending

    poll(write, lambda left: not left, timeout=BATCH_TIMEOUT, describe=f"writes to table {table}, which is throttled")


def parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """``items`` in pieces of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


__all__ = [
    "READ_AT_ONCE",
    "WRITTEN_AT_ONCE",
    "delete_items",
    "existing",
    "parts",
    "put_items",
    "put_revocation",
    "put_row",
]
