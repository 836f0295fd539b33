# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of seeded devices: with a key for each and really signed, or quickly and for looks.

Without an authority they name a registered CA as their issuer, share one key and are signed by that: such a device can
be looked at and not connected.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from iotops.sandbox.errors import SandboxError

_LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Device:
    """A device's name and certificate; ``serial`` in lower-case hexadecimal."""

    name: str
    pem: str
    certificate_id: str
    serial: str


@dataclass(frozen=True)
class Authority:
    """Who signs: its name, its key, the SHA-256 of its own certificate, and whether key and name belong together."""

    name: x509.Name
    key: Any
    fingerprint: str
    is_real: bool = True

    @classmethod
    def read(cls, certificate: str, key: str) -> Authority:
        """From two PEM files, the key without a passphrase.

        Raises:
            SandboxError: a file cannot be read, or they do not belong together.

        """
        try:
            found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
            private = serialization.load_pem_private_key(Path(key).read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise SandboxError(f"seed: authority {certificate}, {key}: {error}") from None
        if found.public_key() != private.public_key():
            raise SandboxError(f"seed: authority: the key {key} is not that of the certificate {certificate}")
        return cls(found.subject, private, found.fingerprint(hashes.SHA256()).hex())


def for_looks(issuer_pem: str | None, fingerprint: str) -> Authority:
    """One that has the name of a CA and not its key."""
    name = x509.load_pem_x509_certificate(issuer_pem.encode()).subject if issuer_pem else _common_name("Seed CA")
    return Authority(name, ec.generate_private_key(ec.SECP256R1()), fingerprint, is_real=False)


def issue(names: list[str], authority: Authority, begin: datetime.datetime, keys: Path | None) -> Iterator[Device]:
    """A certificate for each name; with ``keys`` a key for each too, in ``<name>.cert.pem`` and ``<name>.key.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(authority.name)
        .not_valid_before(begin)
        .not_valid_after(not_after(begin))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if keys is not None:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        if keys is not None:
            key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        signed = builder.subject_name(_common_name(name)).public_key(key.public_key()).serial_number(serial)
        certificate = signed.sign(authority.key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        if keys is not None:
            _write(keys, name, pem, key)
        yield Device(name, pem, certificate.fingerprint(hashes.SHA256()).hex(), format(serial, "x"))


def not_after(begin: datetime.datetime) -> datetime.datetime:
    """When certificates that begin then end."""
    return begin + _LIFETIME


def _write(directory: Path, name: str, pem: str, key: Any) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{name}.cert.pem").write_text(pem)
    (directory / f"{name}.key.pem").write_bytes(private)  # the server's umask keeps it from others


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
