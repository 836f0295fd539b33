# SPDX-License-Identifier: GPL-3.0-or-later
"""Key types that a rotation job may ask for."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from iotops.device.certificates import PrivateKey

_CURVES: dict[str, ec.EllipticCurve] = {"ec256": ec.SECP256R1(), "ec384": ec.SECP384R1()}
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
    return _CURVES.get(key_type) or _MODULI[key_type]


def generate(key_type: str) -> PrivateKey:
    """Return a new private key."""
    what = curve_or_bits(key_type)
    return rsa.generate_private_key(65537, what) if isinstance(what, int) else ec.generate_private_key(what)
