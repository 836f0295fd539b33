"""What a device asks for, whatever the protocol, and how its text is read."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from answers import RefusedError, invalid
from csr import UnfitError, Wanted

Item = dict[str, Any]
# Of AWS IoT's names those that fit into a common name (RFC 5280, ub-common-name).
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,64}")
LONGEST_BODY = 16 * 1024  # bytes


@dataclass(frozen=True)
class Asked:
    """One request.

    ``wanted``: the key that is to be certified, None where the cloud makes it (of ``cloud_key``). ``prove`` gets the
    item of the list (``{}``: there is none) and raises RefusedError unless the request is of that device. ``nonce`` is
    empty in a protocol without one.
    """

    thing: str
    wanted: Wanted | None
    cloud_key: str
    prove: Callable[[Item], None]
    nonce: str = ""


def members_of(event: dict[str, Any]) -> dict[str, Any]:
    """The JSON object in the body of an event of an HTTP API (payload format 2.0).

    Raises:
        RefusedError: the body is too large, or no JSON object.

    """
    text = event.get("body") or ""
    if not isinstance(text, str):
        raise invalid("send a JSON object")
    if len(text) > 2 * LONGEST_BODY:
        raise too_large()
    try:
        raw = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
        if len(raw) > LONGEST_BODY:
            raise too_large()
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise invalid("send a JSON object") from error
    if not isinstance(found, dict):
        raise invalid("send a JSON object")
    return found


def too_large() -> RefusedError:
    """More than any request needs."""
    return RefusedError(413, "TooLarge", f"send {LONGEST_BODY} bytes or less")


def text_of(members: dict[str, Any], name: str) -> str:
    """A text in ASCII.

    Raises:
        RefusedError: it is missing, no text, or not in ASCII.

    """
    value = members.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise invalid(f"{name} has to be a text in ASCII")
    return value


def signature_of(members: dict[str, Any], name: str) -> bytes:
    """The bytes of a signature, which is a text in base64.

    Raises:
        RefusedError: it is none.

    """
    try:
        return base64.b64decode(text_of(members, name), validate=True)
    except binascii.Error as error:
        raise invalid(f"{name} has to be in base64") from error


def wanted_of(csr: str, thing: str) -> Wanted:
    """The key that a certificate signing request is for.

    Raises:
        RefusedError: nobody signs it.

    """
    try:
        return Wanted.read(csr, thing)
    except UnfitError as error:
        raise RefusedError(400 if error.code == "InvalidRequest" else 422, error.code, str(error)) from error
