"""Puts on record what became of a shadow in this region, and sees to it that the shadow is what the record says.

Messages of the queue, as the topic rules and ``shadows.later`` write them:
``{shadow: "updated", thing, name, state, version, at, clientToken?}``,
``{shadow: "deleted", thing, name, version, at, clientToken?}``,
``{shadow: "thing-deleted", thing, at, looks?}`` and ``{shadow: "apply", thing, name, looks}``.

``at`` is the rule's ``timestamp()``, in milliseconds: the shadow's own are in seconds. It is part of the message, so a
message that comes twice, or hours late, means the same each time.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from typing import Any

import shadows
from aws import pages, plain, typed

Message = dict[str, Any]
TOMBSTONE_DAYS = 30
# The rules engine stamps messages when it gets to them, which may be in another order: among messages of one region
# that are not further apart than this (ms), the shadow's version decides. Later than that a lower version began anew.
DISORDER = 60_000
DELETION_IS_KNOWN = 60  # seconds until the row says that its thing was deleted out of band

_log = logging.getLogger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point: a batch of the queue to the messages that have to come again."""
    failed = []
    for record in event["Records"]:
        try:
            take(json.loads(record["body"]))
        except Exception:
            _log.exception("message %s has to come again", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def take(message: Message) -> None:
    """Do what the message wants."""
    if message["shadow"] == "thing-deleted":
        bury(message)
        return
    if str(message.get("clientToken")).startswith(shadows.client_token()):
        return
    if message["shadow"] != "apply":
        record(item_of(message, os.environ["AWS_REGION"]))
    shadows.apply(message["thing"], message["name"], looks=message.get("looks", 0))


def item_of(message: Message, region: str) -> shadows.Item:
    """The item that says what the message says."""
    content = (
        {"State": json.dumps(message["state"], sort_keys=True)}
        if message["shadow"] == "updated"
        else {"ExpiresAt": message["at"] // 1000 + TOMBSTONE_DAYS * 24 * 60 * 60}
    )
    return {
        "ThingName": message["thing"],
        "ShadowName": message["name"],
        "UpdatedAtMs": message["at"],
        "UpdatedRegion": region,
        "ShadowVersion": message["version"],
        "WriteId": str(uuid.uuid4()),
        **content,
    }


def record(item: shadows.Item) -> None:
    """Write the item if it is newer than what is there, after the one of this region that it follows."""
    at, follows_it = item["UpdatedAtMs"], ">=" if "State" in item else ">"  # a deletion has the last update's version
    unless = f"UpdatedRegion = :region AND ShadowVersion {follows_it} :version AND UpdatedAtMs > :since"
    while not shadows.put(item, unless=unless, **{":version": item["ShadowVersion"], ":since": at - DISORDER}):
        there = shadows.read(item["ThingName"], item["ShadowName"])
        if not follows(item, there):
            return
        item = {**item, "UpdatedAtMs": there["UpdatedAtMs"] + 1}


def follows(item: shadows.Item, there: shadows.Item) -> bool:
    """Whether the item comes after the one that is there, although it was not stamped later."""
    return bool(
        item["UpdatedRegion"] == there.get("UpdatedRegion")
        and (item["ShadowVersion"], "State" not in item) > (there["ShadowVersion"], "State" not in there)
        and item["UpdatedAtMs"] <= there["UpdatedAtMs"]
    )


def bury(message: Message) -> None:
    """Delete the shadows of a thing that was deleted by the fleet, or that the fleet never knew."""
    thing = message["thing"]
    if shadows.state_of(thing) not in ("", "DELETED"):
        if not message.get("looks"):
            shadows.later({**message, "looks": 1}, DELETION_IS_KNOWN)
        return
    for item in _items(thing):
        if "State" in item:
            record(tombstone(item, message["at"], os.environ["AWS_REGION"]))
        shadows.apply(thing, item["ShadowName"])


def tombstone(item: shadows.Item, at: int, region: str) -> shadows.Item:
    """What replaces the item when its thing is gone; whatever the clocks say, it is newer."""
    return item_of(
        {
            "shadow": "deleted",
            "thing": item["ThingName"],
            "name": item["ShadowName"],
            "version": item["ShadowVersion"] if item["UpdatedRegion"] == region else 0,
            "at": max(at, item["UpdatedAtMs"] + 1),
        },
        region,
    )


def _items(thing: str) -> list[shadows.Item]:
    found = pages(
        "dynamodb",
        "query",
        TableName=shadows.table("shadows"),
        ConsistentRead=True,
        KeyConditionExpression="ThingName = :thing",
        ExpressionAttributeValues=typed({":thing": thing}),
    )
    return [plain(item) for page in found for item in page["Items"]]
