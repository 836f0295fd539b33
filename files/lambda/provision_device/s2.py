"""The protocol of devices that are in the field already: one key for all of them, which signs the name.

Request: ``{"thing-name", "thing-name-sig", "CSR"?}``; the signature (RSA, PKCS #1 v1.5 with SHA-256) covers the name
alone. Answer: status 200 always, with ``{status: "success", endpointAddress, certificatePem, region, PrivateKey?,
distance or message}`` or ``{status: "error", message}``. What its signature does not cover is checked all the same:
the request is for that name, and one device gets it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import v1
from answers import Granted, RefusedError, invalid, not_authorized
from asked import THING_NAME, Asked, Item, members_of, signature_of, text_of, wanted_of
from proofs import is_signed

KEY = Path(__file__).with_name("compatible.pub.pem")
NOT_YOU = "you not"
# What its devices are told for a code; all else is for somebody else.
WORDS = {
    **dict.fromkeys(("InvalidRequest", "TooLarge", "NameDiffers", "KeyUnsuitable"), "invalid request"),
    **dict.fromkeys(("NoRegionAllowed", "Unavailable"), "no location"),
    "NoThingName": "no thing name",
    "NoSignature": "no sig",
    "NotAuthorized": "wrong sig",
}


def read(event: dict[str, Any]) -> Asked:
    """The request in an event.

    Raises:
        RefusedError: it is none, or not signed.

    """
    members = members_of(event)
    if not members:
        raise invalid("send a JSON object with thing-name")
    thing = members.get("thing-name")
    if not isinstance(thing, str) or not thing:
        raise RefusedError(400, "NoThingName", "there is no thing-name")
    if not members.get("thing-name-sig"):
        raise RefusedError(400, "NoSignature", "there is no thing-name-sig")
    if not THING_NAME.fullmatch(thing) or not is_signed(thing.encode(), _signature(members), _key()):
        raise not_authorized()
    csr = text_of(members, "CSR") if members.get("CSR") is not None else None
    return Asked(thing, None if csr is None else wanted_of(csr, thing), "rsa", _prove)


def _signature(members: dict[str, Any]) -> bytes:
    try:
        return signature_of(members, "thing-name-sig")
    except RefusedError as error:
        raise not_authorized() from error


def _prove(item: Item) -> None:
    if not item or item.get("public_key"):
        raise RefusedError(403, "NotAllowed", "the name is not on the list, or its device has a key of its own")


@cache
def _key() -> str:
    return KEY.read_text()


def granted(answer: Granted) -> dict[str, Any]:
    """The response of the HTTP API."""
    members: dict[str, Any] = {
        "status": "success",
        "endpointAddress": answer.endpoint,
        "certificatePem": answer.certificate_pem,
        "region": answer.region,
    }
    if answer.distance_km is None:
        members["message"] = f"the device's place is not known: {answer.reason} region"
    else:
        members["distance"] = answer.distance_km
    if answer.private_key:
        members["PrivateKey"] = answer.private_key
    return v1.response(200, members)


def refused(refusal: RefusedError) -> dict[str, Any]:
    """The response of the HTTP API."""
    return v1.response(200, {"status": "error", "message": WORDS.get(refusal.code, NOT_YOU)})
