# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and certificate requests as a device sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from iotops.device.errors import DeviceError, Unfit

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_LONGEST_CHAIN = 4


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, the device's own or the root first.

    Raises:
        DeviceError: the file is missing or none.

    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}: put the certificate (PEM) there") from error
    except ValueError as error:
        raise DeviceError(f"{path} is not a PEM certificate: restore it") from error


def encode(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return the PEM."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def public_bytes(key: Any) -> bytes:
    """Return the SubjectPublicKeyInfo DER of a public key, to compare keys by."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, form)
    return encoded


def request(thing_name: str, key: PrivateKey) -> bytes:
    """Return the PEM of a certificate request that names the thing and nothing else."""
    strong = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size == 384
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, thing_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.sign(key, hashes.SHA384() if strong else hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def fitting(
    pem: str, *, thing_name: str | None, public_key: bytes, root: Path | None, known: Sequence[x509.Certificate] = ()
) -> list[x509.Certificate]:
    """Return the certificate in ``pem``, and those of its issuers that are at hand: after it there, or ``known``.

    A certificate that comes alone may name an issuer that the device has never seen: that it came from a server of the
    root has to do then. Issuers that are at hand have to lead to the root, unless that is None: the certificate and
    what came with it is returned as it is then. Without ``thing_name`` its name does not count.

    Raises:
        Unfit: it cannot be read, or is for another key, thing or root.

    """
    try:
        certificate, *others = x509.load_pem_x509_certificates(pem.encode())
    except ValueError as error:
        raise Unfit("it is not a PEM certificate") from error
    if public_bytes(certificate.public_key()) != public_key:
        raise Unfit("it is for another key")
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if thing_name is not None and names != [thing_name]:
        raise Unfit(f"it is for {certificate.subject.rfc4514_string()}")
    if root is None:
        return [certificate, *others]
    chain, roots = [certificate], read_certificates(root)
    while len(chain) <= _LONGEST_CHAIN and chain[-1] not in roots:
        issuer = next((each for each in (*roots, *others, *known) if each.subject == chain[-1].issuer), None)
        if issuer is None:
            if len(chain) > 1 or others:
                raise Unfit("its issuers do not lead to the root")
            break
        try:
            chain[-1].verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise Unfit(f"{issuer.subject.rfc4514_string()} has not signed it") from error
        chain.append(issuer)
    return [each for each in chain if each not in roots]
