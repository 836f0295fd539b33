# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate signing requests made in memory for tests."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import new_key
from tests.provisioning import csr


def make_request(name: str, *, key: Any = None) -> str:
    """A request (PEM) of a device that calls itself ``name``; "" for one without a name."""
    if name:
        return csr(key or new_key(), name)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(new_key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def forged_request(name: str) -> str:
    """A request whose signature is not that of its key."""
    der = bytearray(x509.load_pem_x509_csr(make_request(name).encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1  # the last octet of the signature
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


def weak_request(name: str) -> str:
    """A request with a key that is too short."""
    return make_request(name, key=rsa.generate_private_key(65537, 1024))  # noqa: S505  # it is to be refused
