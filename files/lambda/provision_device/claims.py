"""Who has which name: items of the list, each written only as it was read.

The list is one table in one region, since a name must go to one device and replicas would each give it away. A claim
holds the certificate itself, before anything else knows of it: whoever dies after that leaves nothing behind that the
next request of the device does not find again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from answers import RefusedError, unavailable
from asked import Asked, Item
from aws import aws, code, plain, typed
from botocore.exceptions import ClientError

TABLE = os.environ["TABLE"]
HOME = os.environ["HOME_REGION"]
FREE, TAKEN, DONE = "unprovisioned", "provisioning", "provisioned"
WINDOW = 660  # seconds that a nonce is remembered: longer than any clock's request is taken
MOST_NONCES = 100  # of one device in that time
ATTEMPTS = 15  # against other requests of the same device


class Claim(NamedTuple):
    """A certificate for the name, as the item has it; ``region`` is where its device is sent to."""

    thing: str
    region: str
    certificate_pem: str
    certificate_id: str
    issuer: str  # SHA-256 of the issuing CA's DER
    replaces: tuple[str, ...]  # certificateIds that were given before and are of no use any more
    is_done: bool


def key_id(asked: Asked) -> str:
    """Tells keys apart; empty where the cloud makes one, which is another one each time."""
    return hashlib.sha256(asked.wanted.key).hexdigest() if asked.wanted else ""


def take(asked: Asked, make: Callable[[], Item]) -> Claim:
    """The claim of who asks: the one that it has, or a new one of what ``make`` returns.

    ``make`` gives ``{region, certificate_pem, certificate_id, issuer, not_after}``, the latter in epoch seconds, and is
    called once at most.

    Raises:
        RefusedError: the name is not this device's, or somebody else is on it.

    """
    made: Item = {}
    for _attempt in range(ATTEMPTS):
        item, now = read(asked.thing), int(datetime.now(UTC).timestamp())
        asked.prove(item)
        changes = _remembered(asked, item, now)
        held = _own(asked, item, now)
        if held and item["prov_status"] == TAKEN:
            changes["claim"] = {**held, "until": _until(now)}
        elif not held:
            made = made or make()
            held = _new(made, key_id(asked), _replaced(item), now)
            changes |= {"prov_status": TAKEN, "aws_region": made["region"], "claim": held}
        if not changes or write(item, changes):
            return _claim(asked.thing, {**item, **changes})
    raise unavailable("many requests of this device at once", retry_after=2)


def done(claim: Claim) -> bool:
    """The device has its certificate; whether the claim was still its own."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return _settled(claim, {"prov_status": DONE, "prov_datetime": now, "aws_region": claim.region})


def given_back(claim: Claim) -> None:
    """The name is free again; nothing else may know of the certificate."""
    _settled(claim, {"prov_status": FREE, "claim": None, "aws_region": None})


def _settled(claim: Claim, changes: Item) -> bool:
    for _attempt in range(ATTEMPTS):
        item = read(claim.thing)
        if item.get("claim", {}).get("certificate_id") != claim.certificate_id:
            return False
        if item["prov_status"] != TAKEN:
            return bool(item["prov_status"] == DONE)
        if write(item, changes):
            return True
    raise unavailable("many requests of this device at once", retry_after=2)


def read(thing: str) -> Item:
    """The item of a name; ``{}`` when it is not on the list."""
    answer = aws("dynamodb", HOME).get_item(TableName=TABLE, Key=typed({"thing_name": thing}), ConsistentRead=True)
    return plain(answer.get("Item", {}))


def write(item: Item, changes: Item) -> bool:
    """Change an item (None removes an attribute) if it is as it was read; whether it was.

    ``{}`` was no item; ``changes`` have its thing_name then.
    """
    new = {name: value for name, value in {**item, **changes}.items() if value is not None}
    new["revision"] = item.get("revision", 0) + 1
    condition: Item = {"ConditionExpression": "attribute_exists(thing_name) AND attribute_not_exists(revision)"}
    if not item:
        condition = {"ConditionExpression": "attribute_not_exists(thing_name)"}
    elif "revision" in item:
        condition = {
            "ConditionExpression": "revision = :read",
            "ExpressionAttributeValues": typed({":read": item["revision"]}),
        }
    try:
        aws("dynamodb", HOME).put_item(TableName=TABLE, Item=typed(new), **condition)
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _own(asked: Asked, item: Item, now: int) -> Item:
    """The claim that who asks has already; empty where it may have a new one."""
    status, held = item.get("prov_status"), item.get("claim", {})
    if status == FREE:
        return {}
    if status not in (TAKEN, DONE):
        raise RefusedError(403, "NotAllowed", "the name is not to be given away")
    if held and held["key"] and held["key"] == key_id(asked):
        return held if held["not_after"] > now else {}
    if status == DONE:
        raise RefusedError(409, "AlreadyProvisioned", "the device has a certificate of another key")
    if (left := held.get("until", 0) - now) > 0:
        raise RefusedError(409, "InProgress", "another request of the device is being granted", retry_after=left)
    return {}


def _replaced(item: Item) -> list[str]:
    held = item.get("claim", {}) if item["prov_status"] != FREE else {}
    return [*held.get("replaces", []), held["certificate_id"]] if held else []


def _new(made: Item, key: str, replaces: list[str], now: int) -> Item:
    facts = {name: made[name] for name in ("certificate_pem", "certificate_id", "issuer", "not_after")}
    return {**facts, "key": key, "replaces": replaces, "claimed_at": now, "until": _until(now)}


def _until(now: int) -> int:
    return now + int(os.environ["CLAIM_SECONDS"])


def _claim(thing: str, item: Item) -> Claim:
    held = item["claim"]
    return Claim(
        thing=thing,
        region=item["aws_region"],
        certificate_pem=held["certificate_pem"],
        certificate_id=held["certificate_id"],
        issuer=held["issuer"],
        replaces=tuple(held["replaces"]),
        is_done=item["prov_status"] == DONE,
    )


def _remembered(asked: Asked, item: Item, now: int) -> Item:
    """What to write so that the request is not taken a second time."""
    if not asked.nonce:
        return {}
    nonces = {nonce: at for nonce, at in item.get("nonces", {}).items() if at > now - WINDOW}
    if asked.nonce in nonces:
        raise RefusedError(409, "Replayed", "the nonce was used before: make a new one for each request")
    if len(nonces) >= MOST_NONCES:
        raise RefusedError(429, "TooManyRequests", "too many requests of this device", retry_after=WINDOW)
    return {"nonces": {**nonces, asked.nonce: now}}
