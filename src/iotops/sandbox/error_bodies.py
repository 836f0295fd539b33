# SPDX-License-Identifier: GPL-3.0-or-later
"""An error answer in the protocol of the service called, so that every SDK sees its code."""

from __future__ import annotations

import functools
import json
from xml.sax.saxutils import escape

import botocore.session
from botocore.exceptions import UnknownServiceError

from iotops.sandbox.calls import Call

_THROTTLING = {
    "json": ("ThrottlingException", 400),
    "rest-json": ("ThrottlingException", 429),
    "query": ("Throttling", 400),
    "ec2": ("RequestLimitExceeded", 503),
    "rest-xml": ("Throttling", 400),
}
_THROTTLING_OF = {
    "s3": ("SlowDown", 503),
    "lambda": ("TooManyRequestsException", 429),
    "execute-api": ("TooManyRequests", 429),
}

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


@functools.lru_cache(maxsize=64)
def protocol_of(service: str) -> str:
    """The wire protocol boto3 speaks to the service."""
    try:
        return str(botocore.session.get_session().get_service_model(service).resolved_protocol)
    except UnknownServiceError:
        return "json"


def throttling(call: Call) -> tuple[str, int]:
    """Error code and HTTP status of the service's throttling error."""
    return _THROTTLING_OF.get(call.service) or _THROTTLING.get(protocol_of(call.service), _THROTTLING["json"])


def error_answer(call: Call, code: str, status: int, message: str) -> Answer:
    """Status, headers and body of an AWS error."""
    protocol = "cbor" if call.cbor else protocol_of(call.service)
    if protocol == "cbor":
        return _answer(status, "application/cbor", _cbor({"__type": code, "message": message}), smithy="rpc-v2-cbor")
    if protocol in ("query", "ec2", "rest-xml"):
        return _answer(status, "text/xml", _xml(call.service, protocol, code, message).encode())
    body = json.dumps({"__type": code, "message": message}).encode()
    content_type = "application/json" if protocol == "rest-json" else "application/x-amz-json-1.0"
    return _answer(status, content_type, body, errortype=code)


def _answer(status: int, content_type: str, body: bytes, errortype: str = "", smithy: str = "") -> Answer:
    headers = {
        "content-type": content_type,
        "content-length": str(len(body)),
        "x-amzn-requestid": "00000000-0000-0000-0000-000000000000",
        "x-amzn-errortype": errortype,
        "smithy-protocol": smithy,
    }
    return status, [(name.encode(), value.encode()) for name, value in headers.items() if value], body


def _xml(service: str, protocol: str, code: str, message: str) -> str:
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if service == "s3":
        return f"<Error>{error}</Error>"
    if protocol == "ec2":
        return f"<Response><Errors><Error>{error}</Error></Errors></Response>"
    return f"<ErrorResponse><Error><Type>Receiver</Type>{error}</Error></ErrorResponse>"


def _cbor(members: dict[str, str]) -> bytes:
    """A map of text to text (RFC 8949, section 3)."""

    def text(value: str) -> bytes:
        encoded = value.encode()
        return (bytes([0x60 + len(encoded)]) if len(encoded) < 24 else b"\x78" + bytes([len(encoded)])) + encoded

    return bytes([0xA0 + len(members)]) + b"".join(text(name) + text(value[:200]) for name, value in members.items())
