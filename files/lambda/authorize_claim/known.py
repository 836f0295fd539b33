"""What a region's replicas know of a name and a certificate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from aws import aws, plain, typed

REGION, HOME = os.environ["AWS_REGION"], os.environ["HOME_REGION"]
TABLES = {name: f"{os.environ['APPLICATION']}-{name}" for name in ("allow-list", "device-inventory", "revocations")}


class LateError(Exception):
    """DynamoDB did not answer in full."""


@dataclass(frozen=True)
class Known:
    """Items in plain values, ``{}`` where there is none; ``revoked`` are the keys of ``revocations`` that there are."""

    allowed: dict[str, Any]
    row: dict[str, Any]
    revoked: list[str]


def look(region: str, thing: str, certificate_id: str) -> Known:
    """Read everything at once, consistently; the allow-list in the home region alone.

    Raises:
        LateError: some of it was not answered.

    """
    wanted = {
        TABLES["device-inventory"]: [{"ThingName": thing}],
        TABLES["revocations"]: [{"Key": f"thing:{thing}"}, {"Key": f"id:{certificate_id}"}],
        **({TABLES["allow-list"]: [{"ThingName": thing}]} if region == HOME else {}),
    }
    answer = aws("dynamodb", region).batch_get_item(
        RequestItems={table: {"Keys": list(map(typed, keys)), "ConsistentRead": True} for table, keys in wanted.items()}
    )
    if answer.get("UnprocessedKeys"):
        raise LateError(f"{region}: not answered: {', '.join(answer['UnprocessedKeys'])}")
    found = {table: list(map(plain, items)) for table, items in answer["Responses"].items()}

    def item(table: str) -> dict[str, Any]:
        return next(iter(found.get(TABLES[table], [])), {})

    return Known(
        item("allow-list"), item("device-inventory"), [each["Key"] for each in found.get(TABLES["revocations"], [])]
    )
