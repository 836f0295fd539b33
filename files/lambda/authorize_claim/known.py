"""What a region's replicas know of a name and a certificate."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aws import aws, plain, typed

REGION, HOME = os.environ["AWS_REGION"], os.environ["HOME_REGION"]
TABLES = {
    name: f"{os.environ['APPLICATION']}-{name}"
    for name in ("allow-list", "device-inventory", "device-status", "revocations")
}


class LateError(Exception):
    """DynamoDB did not answer in full."""


@dataclass(frozen=True)
class Known:
    """Items in plain values, ``{}`` where there is none; ``revoked`` are the keys of ``revocations`` that there are.

    ``allowed`` is known in the home region alone, ``status`` (what was made of the row) in the function's own.
    """

    allowed: dict[str, Any]
    row: dict[str, Any]
    status: dict[str, Any]
    revoked: list[str]


def everywhere(thing: str, certificate_id: str) -> list[Known]:
    """What the function's own region and, at the end, the home region know; once where these are the same.

    Both are asked at the same time, since AWS IoT does not wait for one after the other.

    Raises:
        LateError: some of it was not answered.

    """
    regions = list(dict.fromkeys((REGION, HOME)))
    for region in regions:
        aws("dynamodb", region)  # clients can be used in threads, and not be made there
    with ThreadPoolExecutor(len(regions)) as pool:
        return list(pool.map(lambda region: _look(region, thing, certificate_id), regions))


def _look(region: str, thing: str, certificate_id: str) -> Known:
    wanted = {
        TABLES["device-inventory"]: [{"ThingName": thing}],
        TABLES["revocations"]: [{"Key": f"thing:{thing}"}, {"Key": f"id:{certificate_id}"}],
        **({TABLES["device-status"]: [{"ThingName": thing}]} if region == REGION else {}),
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
        item("allow-list"),
        item("device-inventory"),
        item("device-status"),
        [each["Key"] for each in found.get(TABLES["revocations"], [])],
    )
