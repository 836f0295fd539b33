"""The few facts of a certificate that its row names, read from the DER itself: no compiled library to pack.

X.690 for the encoding, RFC 5280 section 4.1 for the order of the fields.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

UTC_TIME, VERSION = 0x17, 0xA0


def der(pem: str) -> bytes:
    """The bytes of the first certificate in the text."""
    body = pem.split("-----BEGIN CERTIFICATE-----", 1)[1].split("-----END CERTIFICATE-----", 1)[0]
    return base64.b64decode(body)


def fingerprint(pem: str) -> str:
    """SHA-256 of the DER, lower-case hex; AWS's id of a device certificate."""
    return hashlib.sha256(der(pem)).hexdigest()


def serial(pem: str) -> str:
    """Lower-case hex without leading zeros."""
    return format(int.from_bytes(_fields(pem)[0][1], signed=True), "x")


def not_after(pem: str) -> datetime:
    """The end of its validity."""
    kind, text = _elements(_fields(pem)[3][1])[1]
    form = "%y%m%d%H%M%SZ" if kind == UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode(), form).replace(tzinfo=UTC)


def _fields(pem: str) -> list[tuple[int, bytes]]:
    """Serial number, algorithm, issuer, validity and so on."""
    [(_, certificate)] = _elements(der(pem))
    fields = _elements(_elements(certificate)[0][1])
    return fields[1:] if fields[0][0] == VERSION else fields


def _elements(content: bytes) -> list[tuple[int, bytes]]:
    """The elements of a constructed value: tag and content."""
    found = []
    while content:
        tag, length, start = content[0], content[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(content[2:start])
        found.append((tag, content[start : start + length]))
        content = content[start + length :]
    return found
