# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One function per read of the fleet's tables; each takes the boto3 DynamoDB client of a region.

All but :func:`certificate_ids` read consistently: what a region's own replica has, it answers.
Private to the collection.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing


@none_if_missing
@api_call("read a device's row")
def read_row(client: Any, table: str, thing_name: str) -> Item | None:
    """Return the row of ``device-inventory``; None when there is no such row or no table."""
    return _item(client, table, thing_name)


@none_if_missing
@api_call("read a device's status")
def read_status(client: Any, table: str, thing_name: str) -> Item | None:
    """Return the item of the region's ``device-status``; None when there is no such item or no table."""
    return _item(client, table, thing_name)


@api_call("read a device's messages")
def newest_messages(client: Any, table: str, thing_name: str, count: int = 50) -> list[Item]:
    """Return at most ``count`` items of the table ``data``, newest first."""
    answer = client.query(
        TableName=table,
        KeyConditionExpression="PK = :thing",
        ExpressionAttributeValues={":thing": {"S": thing_name}},
        ConsistentRead=True,
        ScanIndexForward=False,
        Limit=count,
    )
    return [plain_item(item) for item in answer["Items"]]


@none_if_missing
@api_call("list the certificates of the registry")
def certificate_ids(client: Any, table: str) -> set[str] | None:
    """Return the ids of all certificates that any row names; None when there is no table. Scans the whole table."""
    pages = client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="Certificates")
    return {
        certificate_id
        for page in pages
        for item in page["Items"]
        for certificate_id in plain_item(item).get("Certificates", {})
    }


def _item(client: Any, table: str, thing_name: str) -> Item | None:
    answer = client.get_item(TableName=table, Key={"ThingName": {"S": thing_name}}, ConsistentRead=True)
    return plain_item(answer["Item"]) if "Item" in answer else None


__all__ = ["certificate_ids", "newest_messages", "read_row", "read_status"]
