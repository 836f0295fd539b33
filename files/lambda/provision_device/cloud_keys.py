"""Keys that are made here for devices that cannot make their own; they are in the answer and nowhere else."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from answers import RefusedError
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


class CloudKey(NamedTuple):
    """A key pair; ``pem`` is the private key."""

    public_key: Any
    pem: str

    @classmethod
    def make(cls, kind: str) -> CloudKey:
        """A new one: ``ec`` (P-256) or ``rsa`` (2048 bits).

        Raises:
            RefusedError: this fleet's devices make their keys themselves.

        """
        if os.environ["CLOUD_KEYS"] != "allowed":
            raise RefusedError(403, "NotAllowed", "make a key and send a csr of it")
        key: Any = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        form = PrivateFormat.PKCS8 if kind == "ec" else PrivateFormat.TraditionalOpenSSL
        return cls(key.public_key(), key.private_bytes(Encoding.PEM, form, NoEncryption()).decode())
