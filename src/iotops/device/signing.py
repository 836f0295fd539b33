# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures under what a device asks of the provisioning API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from iotops.device.errors import DeviceError
from iotops.device.protocols import Sign


def read_key(path: Path) -> Any:
    """Return the private key in a file.

    Raises:
        DeviceError: there is none, or none that signs.

    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}: put the private key (PEM) there") from error
    except TypeError as error:
        raise DeviceError(f"{path} is encrypted: a device needs it without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DeviceError(f"{path} is not a PEM private key: restore it") from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise DeviceError(f"{path}: give an RSA, EC or Ed25519 key")
    return key


def signer(key: Any) -> Sign:
    """Return what signs with a key: PKCS#1 v1.5 or ECDSA over SHA-256, or Ed25519."""
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))
    return lambda data: bytes(key.sign(data))


def another(key: Any) -> Any:
    """Return a new key of the same kind, whose signatures are wrong."""
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(65537, key.key_size)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ec.generate_private_key(key.curve)
    return ed25519.Ed25519PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    """Return the PEM of the public half of a key, as the provisioning list has it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    encoded: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return encoded
