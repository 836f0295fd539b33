"""Items of the fleet's tables in plain values, as functions read and write them; packed with ``aws`` and ``rows``."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import rows
from aws import aws, code, plain, typed
from botocore.exceptions import ClientError

APPLICATION = os.environ["APPLICATION"]
REGION = os.environ["AWS_REGION"]

Item = dict[str, Any]


def read(table: str, region: str = REGION, **key: str) -> Item:
    """The item of ``<application>-<table>`` in a region's replica, read consistently; ``{}`` when there is none."""
    answer = aws("dynamodb", region).get_item(TableName=f"{APPLICATION}-{table}", Key=typed(key), ConsistentRead=True)
    return plain(answer.get("Item", {}))


def put(table: str, item: Item) -> None:
    """Write an item, whatever was there."""
    aws("dynamodb").put_item(TableName=f"{APPLICATION}-{table}", Item=typed(item))


def change(table: str, decide: Callable[[Item], Item | None], region: str = REGION, **key: str) -> Item:
    """Read the row in a region, let ``decide`` say what is to change, write that; again while another was faster.

    ``decide`` gets the row (``{}``: there is none) and answers the attributes that change (a value of None removes
    one), or None when the row is right. The row as it is now.

    Raises:
        RowKeepsChangingError: five writes lost against other writers.

    """

    def wanted(row: Item) -> Item | None:
        changes = decide(row)
        if not changes:
            return None
        return rows.following(row, {**key, **changes}, writer=region, now=datetime.now(UTC))

    return rows.until_written(
        lambda: read(table, region, **key), lambda new, old: _write(table, region, new, old), wanted
    )


def _write(table: str, region: str, new: Item, old: Item) -> bool:
    """Whether nobody wrote since ``old`` was read."""
    condition: Item = {"ConditionExpression": "attribute_not_exists(WriteId)"}
    if old:
        condition = {
            "ConditionExpression": "WriteId = :read",
            "ExpressionAttributeValues": {":read": {"S": old["WriteId"]}},
        }
    try:
        aws("dynamodb", region).put_item(TableName=f"{APPLICATION}-{table}", Item=typed(new), **condition)
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True
