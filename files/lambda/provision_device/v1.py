"""The fleet's own protocol: each device has a key of its own, and signs what it asks for.

Request: ``{thingName, nonce, timestamp, csr?, signature}``. The signature covers the text

    iotops-provisioning-v1 NL thingName NL nonce NL timestamp NL SHA-256 of csr, in hex

(RSA: PKCS #1 v1.5 with SHA-256; EC: ECDSA with SHA-256; Ed25519), so that no part of a request can be exchanged, and
none is good for a second time. Answer: the members of ``granted``, or ``{code, message}`` with a status that says it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import UTC, datetime
from typing import Any

from answers import Granted, RefusedError, invalid, not_authorized
from asked import THING_NAME, Asked, Item, members_of, signature_of, text_of, wanted_of
from proofs import is_signed

NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
VERSION = "iotops-provisioning-v1"
WINDOW = 300  # seconds that a device's clock may be off
PORT = 8883


def read(event: dict[str, Any]) -> Asked:
    """The request in an event.

    Raises:
        RefusedError: it is none.

    """
    members = members_of(event)
    thing, nonce = text_of(members, "thingName"), text_of(members, "nonce")
    csr = text_of(members, "csr") if "csr" in members else None
    signature = signature_of(members, "signature")
    sent_at = members.get("timestamp")
    if not THING_NAME.fullmatch(thing):
        raise invalid("thingName has to be 1 to 64 of a-z A-Z 0-9 : _ -")
    if not NONCE.fullmatch(nonce):
        raise invalid("nonce has to be 22 to 64 of a-z A-Z 0-9 _ -, new in each request")
    if not isinstance(sent_at, int) or isinstance(sent_at, bool) or not 0 <= sent_at < 10**11:
        raise invalid("timestamp has to be a number of seconds since 1970")
    text = signed_text(thing, nonce, sent_at, csr or "")

    def prove(item: Item) -> None:
        if not is_signed(text, signature, item.get("public_key", "")):
            raise not_authorized()
        now = int(datetime.now(UTC).timestamp())
        if abs(now - sent_at) > WINDOW:
            difference = f"timestamp is {abs(now - sent_at)} s off; at most {WINDOW} are taken"
            raise RefusedError(401, "ClockDiffers", difference, serverTime=now)

    wanted = None if csr is None else wanted_of(csr, thing)
    return Asked(thing, wanted, "ec", prove, nonce)


def signed_text(thing: str, nonce: str, timestamp: int, csr: str) -> bytes:
    """What a device signs."""
    digest = hashlib.sha256(csr.encode()).hexdigest()
    return "\n".join((VERSION, thing, nonce, str(timestamp), digest)).encode()


def granted(answer: Granted) -> dict[str, Any]:
    """The response of the HTTP API."""
    members: dict[str, Any] = {
        "thingName": answer.thing,
        "certificatePem": answer.certificate_pem,
        "certificateId": answer.certificate_id,
        "endpointAddress": answer.endpoint,
        "port": PORT,
        "serverName": os.environ["DOMAIN_NAME"],
        "region": answer.region,
    }
    if answer.distance_km is not None:
        members["distanceKm"] = answer.distance_km
    if answer.private_key:
        members["privateKey"] = answer.private_key
    return response(200, members)


def refused(refusal: RefusedError) -> dict[str, Any]:
    """The response of the HTTP API."""
    members = {"code": refusal.code, "message": str(refusal), **refusal.members}
    return response(refusal.status, members, refusal.retry_after)


def response(status: int, members: dict[str, Any], retry_after: int = 0) -> dict[str, Any]:
    """A response in payload format 2.0."""
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if retry_after:
        headers["retry-after"] = str(retry_after)
    return {"statusCode": status, "headers": headers, "body": json.dumps(members)}
