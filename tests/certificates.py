# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates made in memory for tests."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def new_key(kind: str = "ec") -> Any:
    """A P-256 key, or RSA of 2048 bits."""
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def key_pem(self, passphrase: str | None = None) -> str:
        """The key, encrypted when there is a passphrase."""
        encryption: Any = serialization.NoEncryption()
        if passphrase:
            encryption = serialization.BestAvailableEncryption(passphrase.encode())
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()

    def write(self, directory: Path, name: str, *, passphrase: str | None = None) -> dict[str, str]:
        """``<name>.cert.pem`` and ``<name>.key.pem``, as the module options that take them."""
        certificate, key = directory / f"{name}.cert.pem", directory / f"{name}.key.pem"
        certificate.write_text(self.pem)
        key.write_text(self.key_pem(passphrase))
        return {"certificate_path": str(certificate), "private_key_path": str(key)}


def issue(
    common_name: str,
    *,
    signer: Issued | None = None,
    ca: bool = False,
    names: list[str] | None = None,
    server: bool = False,
    key: Any = None,
    start: datetime.timedelta = -DAY,
    days: float = 30,
    digest: hashes.HashAlgorithm | None = None,
    organization: str = "",
) -> Issued:
    """A certificate; self-signed without ``signer``, with SHA-256. ``start`` is counted from now."""
    key = key or new_key()
    now = datetime.datetime.now(datetime.UTC)
    names_of = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: common_name}
    subject = x509.Name([x509.NameAttribute(kind, name) for kind, name in names_of.items() if name])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    if server:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return Issued(builder.sign(signer.key if signer else key, digest or hashes.SHA256()), key)
