# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: built and signed, read and described. Profiles follow RFC 5280."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import PrivateKey, key_type_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import oneline
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import Purpose

# Devices' clocks are off, and ACM refuses a certificate that is not valid yet.
BACKDATE = timedelta(minutes=5)

_EXTENDED_KEY_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "device": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a certificate is to say; `dns_names` are its subject alternative names."""

    purpose: Purpose
    subject: x509.Name
    public_key: Any
    lifetime: timedelta
    dns_names: Sequence[str] = ()


@dataclass(frozen=True)
class Signer:
    """The name and key that sign; `certificate` is None where a root signs itself."""

    name: x509.Name
    key: PrivateKey
    certificate: x509.Certificate | None = None

    @cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The extension that names this signer's key, the same as the subject key identifier of its certificate."""
        if self.certificate is None:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier(key_identifier(self.certificate), None, None)

    @cached_property
    def digest(self) -> hashes.SHA256 | hashes.SHA384:
        """SHA-384 for a P-384 key, otherwise SHA-256."""
        return hashes.SHA384() if str(key_type_of(self.key)) == "EC P-384" else hashes.SHA256()

    def sign(self, request: Request, *, serial: int, now: datetime) -> x509.Certificate:
        """Return the certificate for `request`, which ends no later than the signer's own."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.name)
            .public_key(request.public_key)
            .serial_number(serial)
            .not_valid_before(now - BACKDATE)
            .not_valid_after(self._end(now + request.lifetime))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key), critical=False)
            .add_extension(self.key_identifier, critical=False)
        )
        for extension, critical in _extensions(request):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, self.digest)

    def _end(self, wanted: datetime) -> datetime:
        return wanted if self.certificate is None else min(wanted, self.certificate.not_valid_after_utc)


def _extensions(request: Request) -> list[tuple[x509.ExtensionType, bool]]:
    if request.purpose in ("root", "issuing"):
        length = 0 if request.purpose == "issuing" else None
        return [(x509.BasicConstraints(ca=True, path_length=length), True), (_AUTHORITY_USAGE, True)]
    usage = _LEAF_USAGE[key_type_of(request.public_key).algorithm]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([_EXTENDED_KEY_USAGE[request.purpose]]), False),
    ]
    if request.dns_names:
        extensions.append((x509.SubjectAlternativeName([x509.DNSName(name) for name in request.dns_names]), False))
    return extensions


def _key_usage(*, authority: bool = False, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        key_encipherment=key_encipherment,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_AUTHORITY_USAGE = _key_usage(authority=True)
_LEAF_USAGE = {"ec": _key_usage(), "rsa": _key_usage(key_encipherment=True)}


def encode_certificate(certificate: x509.Certificate) -> bytes:
    """Return the PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def read_certificate(path: Path) -> x509.Certificate | None:
    """Return the (first) certificate in `path`, None when there is no such file; raise PkiError when it is damaged."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PkiError(
            f"{path} is not a PEM certificate: restore it, or move it away to have a new one issued"
        ) from error


def entry_of(certificate: x509.Certificate) -> Entry:
    """Return the ledger's entry for a certificate that is being issued."""
    return Entry(
        status="V",
        expires=certificate.not_valid_after_utc,
        serial=serial_text(certificate.serial_number),
        subject=oneline(certificate.subject),
    )


def key_identifier(certificate: x509.Certificate) -> bytes:
    """Return the identifier of a certificate's key, computed as RFC 5280 (4.2.1.2) proposes where none is in it."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def signer_of(certificate: x509.Certificate) -> bytes | None:
    """Return the identifier of the key that signed a certificate, None where it is not in it."""
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names in the subject alternative name, an empty list when there is none."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def describe(certificate: x509.Certificate) -> dict[str, str]:
    """Return what a module result says of a certificate: no key material.

    AWS IoT's certificateId is the SHA-256 of the DER in lower-case hexadecimal, the same in every region.
    """
    fingerprint = certificate.fingerprint(hashes.SHA256())
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": serial_text(certificate.serial_number),
        "not_before": time_text(certificate.not_valid_before_utc),
        "not_after": time_text(certificate.not_valid_after_utc),
        "key_type": str(key_type_of(certificate.public_key())),
        "certificate_id": fingerprint.hex(),
        "fingerprint_sha256": fingerprint.hex(":").upper(),
    }


def time_text(moment: datetime) -> str:
    """Return a time as RFC 3339 has it, in UTC and whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = [
    "BACKDATE", "Request", "Signer", "alternative_names", "describe", "encode_certificate", "entry_of",
    "key_identifier", "read_certificate", "signer_of", "time_text",
]  # fmt: skip
