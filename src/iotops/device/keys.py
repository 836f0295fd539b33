# SPDX-License-Identifier: GPL-3.0-or-later
"""Key types that a rotation job or the device's owner may ask for.

``cryptography`` is most of what a device has in memory: it is imported where a key is made, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from iotops.device.certificates import PrivateKey

_CURVES = ("ec256", "ec384")
_MODULI = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}
KEY_TYPES = (*_CURVES, *_MODULI)
DEFAULT = "ec256"


def key_type_of(text: object) -> str:
    """Return the key type that a job means by ``ec256`` or by ``EC P-256``.

    Raises:
        ValueError: there is no such type.

    """
    found = str(text).lower().replace("p-", "").replace(" ", "")
    if found not in KEY_TYPES:
        raise ValueError(f"keyType {text!r} is none of {', '.join(KEY_TYPES)}")
    return found


def curve_or_bits(key_type: str) -> ec.EllipticCurve | int:
    """Return the curve of an EC key, the bits of the modulus of an RSA key."""
    from cryptography.hazmat.primitives.asymmetric import ec

    if key_type in _MODULI:
        return _MODULI[key_type]
    return ec.SECP384R1() if key_type == "ec384" else ec.SECP256R1()


def generate(key_type: str) -> PrivateKey:
    """Return a new private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    what = curve_or_bits(key_type)
    return rsa.generate_private_key(65537, what) if isinstance(what, int) else ec.generate_private_key(what)


def encode(key: PrivateKey) -> bytes:
    """Return the PEM of a private key, not encrypted."""
    from cryptography.hazmat.primitives import serialization

    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)
