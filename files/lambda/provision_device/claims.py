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
WINDOW = 600  # seconds that a nonce is remembered: as long as any clock's request is taken
MOST_NONCES = 100  # of one device in that time
ATTEMPTS = 15  # against other requests of the same device


class Claim(NamedTuple):
    """A certificate for the name, as the item has it; ``region`` is where its device is sent to."""

    thing: str
    region: str
    certificate_pem: str
    certificate_id: str
    issuer: str  # SHA-256 of the issuing CA's DER
    replaces: str  # certificateId of a claim that came to nothing; empty: none
    is_done: bool


def key_id(asked: Asked) -> str:
    """Tells keys apart; empty where the cloud makes one, which is another one each time."""
    return hashlib.sha256(asked.wanted.key).hexdigest() if asked.wanted else ""


def take(asked: Asked, make: Callable[[], Item]) -> Claim:
    """The claim of who asks: the one that it has, or a new one of what ``make`` returns.

    ``make`` gives ``{region, certificate_pem, certificate_id, issuer}``, and is called once at most.

    Raises:
        RefusedError: the name is not this device's, or somebody else is on it.

    """
    made: Item = {}
    for _attempt in range(ATTEMPTS):
        item, now = read(asked.thing), int(datetime.now(UTC).timestamp())
        asked.prove(item)
        changes = _remembered(asked, item, now)
        claim = _own(asked, item, now)
        if claim is None:
            made = made or make()
            held: Item = item.get("claim", {}) if item["prov_status"] == TAKEN else {}
            claim = Claim(asked.thing, replaces=held.get("certificate_id", ""), is_done=False, **made)
            changes |= _taken(claim, key_id(asked), now)
        if not changes or write(item, changes):
            return claim
    raise unavailable("many requests of this device at once", retry_after=2)


def settle(claim: Claim, changes: Item) -> None:
    """Give the claim its end, unless it is somebody else's by now."""
    for _attempt in range(ATTEMPTS):
        item = read(claim.thing)
        is_ours = item.get("claim", {}).get("certificate_id") == claim.certificate_id
        if not is_ours or item["prov_status"] != TAKEN:
            return
        if write(item, changes):
            return
    raise unavailable("many requests of this device at once", retry_after=2)


def done(claim: Claim) -> None:
    """The device has its certificate."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    settle(claim, {"prov_status": DONE, "prov_datetime": now, "aws_region": claim.region})


def given_back(claim: Claim) -> None:
    """The name is free again; nothing else knows of the certificate."""
    settle(claim, {"prov_status": FREE, "claim": None, "aws_region": None})


def read(thing: str) -> Item:
    """The item of a name; ``{}`` when it is not on the list."""
    answer = aws("dynamodb", HOME).get_item(TableName=TABLE, Key=typed({"thing_name": thing}), ConsistentRead=True)
    return plain(answer.get("Item", {}))


def write(item: Item, changes: Item) -> bool:
    """Change an item (None removes an attribute) if it is as it was read; whether it was."""
    new = {name: value for name, value in {**item, **changes}.items() if value is not None}
    new["revision"] = item.get("revision", 0) + 1
    condition: Item = {"ConditionExpression": "attribute_exists(thing_name) AND attribute_not_exists(revision)"}
    if "revision" in item:
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


def _own(asked: Asked, item: Item, now: int) -> Claim | None:
    """The claim that who asks has already; None where it may have a new one."""
    status, held = item.get("prov_status"), item.get("claim", {})
    if status == FREE:
        return None
    if status not in (TAKEN, DONE):
        raise RefusedError(403, "NotAllowed", "the name is not to be given away")
    if held and held["key"] and held["key"] == key_id(asked):
        return Claim(
            thing=asked.thing,
            region=item["aws_region"],
            certificate_pem=held["certificate_pem"],
            certificate_id=held["certificate_id"],
            issuer=held["issuer"],
            replaces=held.get("replaces", ""),
            is_done=status == DONE,
        )
    if status == DONE:
        raise RefusedError(409, "AlreadyProvisioned", "the device has a certificate of another key")
    if (left := held.get("until", 0) - now) > 0:
        raise RefusedError(409, "InProgress", "another request of the device is being granted", retry_after=left)
    return None


def _taken(claim: Claim, key: str, now: int) -> Item:
    held = {
        "key": key,
        "certificate_pem": claim.certificate_pem,
        "certificate_id": claim.certificate_id,
        "issuer": claim.issuer,
        "claimed_at": now,
        "until": now + int(os.environ["CLAIM_SECONDS"]),
        **({"replaces": claim.replaces} if claim.replaces else {}),
    }
    return {"prov_status": TAKEN, "aws_region": claim.region, "claim": held}


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
