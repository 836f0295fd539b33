# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys: made, kept in PKCS #8 PEM files and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import KeyType

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1()}
_DEVICE_CURVES = (ec.SECP256R1, ec.SECP384R1)
_LEAST_BITS = {"rsa": 2048, "ec": 256}


def generate_key(key_type: KeyType) -> PrivateKey:
    """Return a new private key of `key_type`."""
    if key_type.algorithm == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=key_type.bits)
    return ec.generate_private_key(_CURVES[key_type.bits])


def key_type_of(key: Any) -> KeyType:
    """Return the type of a private or public key; raise PkiError for anything but RSA and EC."""
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        return KeyType("rsa", key.key_size)
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return KeyType("ec", key.curve.key_size)
    raise PkiError(f"a key of type {type(key).__name__} is of no use here: AWS IoT takes RSA and EC keys")


def device_key_type(key: Any) -> KeyType:
    """Return the type of a device's public key; raise PkiError for one that AWS IoT does not take."""
    key_type = key_type_of(key)
    named_curve = key_type.algorithm == "rsa" or isinstance(key.curve, _DEVICE_CURVES)
    if not named_curve or key_type.bits < _LEAST_BITS[key_type.algorithm]:
        found = str(key_type) if key_type.algorithm == "rsa" else f"EC {key.curve.name}"
        raise PkiError(f"its key is {found}: AWS IoT takes RSA of 2048 bits or more, EC P-256 and EC P-384")
    return key_type


def encode_key(key: PrivateKey, *, passphrase: str | None = None) -> bytes:
    """Return the PKCS #8 PEM of `key`, encrypted when there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def read_key(path: Path, *, passphrase: str | None = None) -> PrivateKey:
    """Return the private key in `path`; raise PkiError when it is missing, damaged or not opened by the passphrase."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode() if passphrase else None)
    except FileNotFoundError as error:
        raise PkiError(f"{path} is missing: restore it from a copy; a private key cannot be made again") from error
    except TypeError as error:
        raise PkiError(_passphrase_problem(path, passphrase)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = "the passphrase does not open it, or it" if passphrase else "it"
        raise PkiError(
            f"{path} cannot be read: {wrong} is damaged; correct the passphrase or restore the file"
        ) from error
    key_type_of(key)
    assert isinstance(key, PrivateKey)  # noqa: S101  # key_type_of refused all else
    return key


def _passphrase_problem(path: Path, passphrase: str | None) -> str:
    if passphrase:
        return f"{path} is not encrypted but a passphrase is set: encrypt it (openssl pkey -aes256), or set none"
    return f"{path} is encrypted: set its passphrase"


def public_bytes(key: Any) -> bytes:
    """Return the SubjectPublicKeyInfo DER of a private or public key, to compare keys by."""
    public = key.public_key() if hasattr(key, "public_key") else key  # looked up faster than the class
    encoded: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def require_pair(name: object, key: PrivateKey, path: Path, certificate: x509.Certificate) -> None:
    """Raise PkiError unless the key, called `name`, is that of the certificate in `path`."""
    if public_bytes(key) != public_bytes(certificate.public_key()):
        raise PkiError(f"{name} is not the key of {path}: restore the two from one copy")


__all__ = [
    "PrivateKey", "device_key_type", "encode_key", "generate_key", "key_type_of", "public_bytes", "read_key",
    "require_pair",
]  # fmt: skip
