# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that differ in name, key and serial number only, several times faster than one by one.

The first one is made by the library. Of its DER the three are replaced, and the identifier of the key; then it is
signed again. The outcome is octet for octet what the library makes (RFC 5280, 4.1; X.690, 8.1 for the encoding).
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Signer
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import key_identifier as identifier_of

_SEQUENCE, _SET, _INTEGER, _BIT_STRING, _UTF8, _COMMON_NAME = 0x30, 0x31, 0x02, 0x03, 0x0C, b"\x06\x03\x55\x04\x03"


def _value(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _span(data: bytes, start: int) -> tuple[int, int]:
    """Return where the content of the value at `start` begins and ends."""
    size, content = data[start + 1], start + 2
    if size & 0x80:
        octets = size & 0x7F
        size, content = int.from_bytes(data[content : content + octets], "big"), content + octets
    return content, content + size


def _parts(data: bytes) -> list[bytes]:
    """Return the values inside a constructed one."""
    start, end = _span(data, 0)
    parts = []
    while start < end:
        following = _span(data, start)[1]
        parts.append(data[start:following])
        start = following
    return parts


class Template:
    """Makes certificates like `sample`, which `signer` signed for one device, for others with the same algorithm."""

    def __init__(self, signer: Signer, sample: x509.Certificate) -> None:
        self._key = signer.key
        self._scheme: tuple[Any, ...] = (ec.ECDSA(signer.digest),)
        if isinstance(signer.key, rsa.RSAPrivateKey):
            self._scheme = (padding.PKCS1v15(), signer.digest)
        version, _serial, algorithm, issuer, validity, subject, _key, extensions = _parts(sample.tbs_certificate_bytes)
        self._version, self._algorithm, self._between = version, algorithm, algorithm + issuer + validity
        self._names = b"".join(_parts(subject)[:-1])
        # The key's identifier is the first extension, before its signer's.
        self._before, _identifier, self._after = extensions.partition(identifier_of(sample))

    def sign(self, name: str, serial: int, public_key: bytes) -> bytes:
        """Return the DER of the certificate of a device; `public_key` is the DER of its SubjectPublicKeyInfo."""
        common_name = _value(_SEQUENCE, _COMMON_NAME + _value(_UTF8, name.encode()))
        key_bits = _parts(public_key)[1]
        # RFC 5280, 4.2.1.2 (1): of the bits alone, without tag, length and number of unused bits.
        identifier = hashlib.sha1(key_bits[_span(key_bits, 0)[0] + 1 :], usedforsecurity=False).digest()
        signed = _value(
            _SEQUENCE,
            b"".join(
                (
                    self._version,
                    _value(_INTEGER, serial.to_bytes(serial.bit_length() // 8 + 1, "big")),
                    self._between,
                    _value(_SEQUENCE, self._names + _value(_SET, common_name)),
                    public_key,
                    self._before + identifier + self._after,
                )
            ),
        )
        signature = _value(_BIT_STRING, b"\0" + self._key.sign(signed, *self._scheme))
        return _value(_SEQUENCE, signed + self._algorithm + signature)


__all__ = ["Template"]
