"""Certificates of devices, signed by our issuing CA; the same that the controller makes.

The secret ``<application>-issuing-ca`` holds the CA's key and its certificate, in PEM. It is read each time: another
generation signs at once, and the key stays in memory no longer than it is needed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from aws import aws
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from rows_table import APPLICATION

BACKDATE = timedelta(minutes=5)  # devices' clocks are off


class Signed(NamedTuple):
    """A certificate and its issuer."""

    certificate: x509.Certificate
    issuer: x509.Certificate

    @property
    def certificate_id(self) -> str:
        """AWS IoT's."""
        return _fingerprint(self.certificate)

    @property
    def facts(self) -> dict[str, Any]:
        """What its entry in the row says of it."""
        return {
            "pem": self.certificate.public_bytes(Encoding.PEM).decode(),
            "not_after": self.certificate.not_valid_after_utc,
            "issuer": _fingerprint(self.issuer),
            "serial": self.certificate.serial_number,
        }


def sign(thing: str, public_key: Any, now: datetime) -> Signed:
    """A certificate for the thing, with LIFETIME_DAYS, which ends no later than the CA's own."""
    pem = aws("secretsmanager").get_secret_value(SecretId=f"{APPLICATION}-issuing-ca")["SecretString"].encode()
    key, issuer = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    end = now + timedelta(days=int(os.environ["LIFETIME_DAYS"]))
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(issuer, thing))
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(end, issuer.not_valid_after_utc))
    )
    for extension, is_critical in _extensions(public_key, issuer):
        builder = builder.add_extension(extension, critical=is_critical)
    return Signed(builder.sign(key, _digest(key)), issuer)  # type: ignore[arg-type]  # a CA's is RSA or EC


def _subject(issuer: x509.Certificate, thing: str) -> x509.Name:
    organization = issuer.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[-1:]
    return x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, thing)])


def _extensions(public_key: Any, issuer: x509.Certificate) -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(public_key, rsa.RSAPublicKey),
        key_cert_sign=False,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return [
        (x509.SubjectKeyIdentifier.from_public_key(public_key), False),
        (x509.AuthorityKeyIdentifier(_key_identifier(issuer), None, None), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]


def _key_identifier(issuer: x509.Certificate) -> bytes:
    try:
        return issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest  # type: ignore[arg-type]


def _digest(key: Any) -> hashes.HashAlgorithm:
    is_p384 = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size == 384
    return hashes.SHA384() if is_p384 else hashes.SHA256()


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
