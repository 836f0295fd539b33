# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: reading tables of DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing, tags_to_dict

__all__ = ["describe_table", "read_tables"]


@none_if_missing
@api_call("describe the table")
def describe_table(client: Any, name: str) -> dict[str, Any]:
    """DescribeTable's answer, or None when the region has no such table."""
    table: dict[str, Any] = client.describe_table(TableName=name)["Table"]
    return table


def read_tables(client: Any, names: Sequence[str], *, region: str, with_tags: bool = False) -> list[dict[str, Any]]:
    """What the region says of each table, in the form that dynamodb_table_info documents."""

    def read(name: str) -> dict[str, Any]:
        summary = _summary(name, region, describe_table(client, name))
        return {**summary, "tags": _tags(client, summary["arn"]) if with_tags and summary["exists"] else {}}

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(read, names))


@api_call("list the tags of the table")
def _tags(client: Any, arn: str) -> dict[str, str]:
    pages = client.get_paginator("list_tags_of_resource").paginate(ResourceArn=arn)
    return tags_to_dict([tag for page in pages for tag in page.get("Tags", [])])


def _summary(name: str, region: str, found: dict[str, Any] | None) -> dict[str, Any]:
    table = found or {}
    indexes = table.get("GlobalSecondaryIndexes", [])
    status = table.get("TableStatus", "ABSENT")
    return {
        "name": name,
        "region": region,
        "exists": found is not None,
        "status": status,
        "active": status == "ACTIVE" and all(index["IndexStatus"] == "ACTIVE" for index in indexes),
        "arn": table.get("TableArn"),
        "stream_arn": table.get("LatestStreamArn"),
        "stream_view_type": table.get("StreamSpecification", {}).get("StreamViewType"),
        "key_schema": _keys(table),
        "global_secondary_indexes": {index["IndexName"]: _keys(index) for index in indexes},
        "replicas": _replicas(table, region),
        "write_capacity_units": table.get("ProvisionedThroughput", {}).get("WriteCapacityUnits") or None,
        "item_count": table.get("ItemCount", 0),
    }


def _replicas(table: dict[str, Any], region: str) -> list[dict[str, str]]:
    """AWS lists the other regions; ours is added, so that every region gives the same list."""
    others = {item["RegionName"]: item["ReplicaStatus"] for item in table.get("Replicas", [])}
    found = {**others, region: table["TableStatus"]} if others else {}
    return [{"region": name, "status": status} for name, status in sorted(found.items())]


def _keys(holder: dict[str, Any]) -> dict[str, str]:
    return {key["KeyType"]: key["AttributeName"] for key in holder.get("KeySchema", [])}
