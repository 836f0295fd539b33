# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys in a PKCS#11 token, which they never leave.

The token has room for two key pairs of a device under labels that are used in turns: LABEL and LABEL-alternate. The
certificate tells which of them is the current one, so a rotation moves nothing but the certificate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pkcs11
from asn1crypto import csr, pem, x509
from asn1crypto.keys import PublicKeyInfo
from cryptography.hazmat.primitives import serialization
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from iotops.device import keys
from iotops.device.certificates import public_bytes, read_certificates
from iotops.device.credentials import Credentials, Which
from iotops.device.errors import DeviceError, Unable

_USE = MechanismFlag.SIGN | MechanismFlag.VERIFY
_STAYS = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


@dataclass(frozen=True)
class Token:
    """A token and what opens it."""

    module: Path
    label: str
    pin: str = field(repr=False)

    def open(self) -> Any:
        """Return a session that stays logged in as long as this process lives: the token knows one login of a process.

        Raises:
            DeviceError: the module, the token or the PIN is not what it should be.

        """
        try:
            token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
        except pkcs11.NoSuchToken as error:
            raise DeviceError(f"--pkcs11-token {self.label}: {self.module} has no such token") from error
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            raise DeviceError(f"--pkcs11-module {self.module}: it cannot be loaded ({_words(error)})") from error
        try:
            return token.open(rw=True, user_pin=self.pin)
        except pkcs11.PKCS11Error as error:
            raise DeviceError(
                f"--pkcs11-pin-file: token {self.label} does not take the PIN ({_words(error)})"
            ) from error


class TokenCredentials(Credentials):
    """Keys in a token, certificates in files. ``session``: an open one, as of ``Token.open``."""

    def __init__(self, directory: Path, thing_name: str, session: Any, label: str, root: Path | None = None) -> None:
        super().__init__(directory, thing_name, root)
        self._session = session
        self._labels = label, f"{label}-alternate"

    def _key(self, which: Which) -> str:
        certified = public_bytes(read_certificates(self._certificate)[0].public_key())
        known = [self._public(label) for label in self._labels]
        if not any(known):
            raise DeviceError(f"--pkcs11-key {self._labels[0]}: the token has no key pair (private and public key)")
        current = known.index(certified) if certified in known else 0
        return self._labels[current if which == "current" else 1 - current]

    def _public_key(self, which: Which) -> bytes | None:
        return self._public(self._key(which))

    def _make_key(self, key_type: str) -> bytes:
        label = self._key("next")
        try:
            return self._generate(label, key_type)
        except pkcs11.PKCS11Error as error:
            raise Unable(f"the token makes no {key_type} key: {_words(error)}") from error

    def _generate(self, label: str, key_type: str) -> bytes:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            for found in self._session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: label}):
                found.destroy()
        what = keys.curve_or_bits(key_type)
        wanted = {"store": True, "label": label, "id": label.encode(), "capabilities": _USE, "private_template": _STAYS}
        if isinstance(what, int):
            _public, private = self._session.generate_keypair(KeyType.RSA, what, **wanted)
        else:
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(what.name)}
            _public, private = self._session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(
                **wanted
            )
        return _request(self.thing_name, self._public(label) or b"", private, strong=key_type == "ec384")

    @property
    def _files(self) -> tuple[str, ...]:
        return (self._certificate.name,)

    def _public(self, label: str) -> bytes | None:
        try:
            key = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label)
        except pkcs11.NoSuchKey:
            return None
        encode = encode_rsa_public_key if key.key_type == KeyType.RSA else encode_ec_public_key
        return public_bytes(serialization.load_der_public_key(encode(key)))


def _request(thing_name: str, public: bytes, private: Any, *, strong: bool) -> bytes:
    info = csr.CertificationRequestInfo(
        {
            "version": "v1",
            "subject": x509.Name.build({"common_name": thing_name}),
            "subject_pk_info": PublicKeyInfo.load(public),
            "attributes": [],
        }
    )
    if private.key_type == KeyType.RSA:
        algorithm, signature = "sha256_rsa", private.sign(info.dump(), mechanism=Mechanism.SHA256_RSA_PKCS)
    else:
        digest = (hashlib.sha384 if strong else hashlib.sha256)(info.dump()).digest()
        algorithm = "sha384_ecdsa" if strong else "sha256_ecdsa"
        signature = encode_ecdsa_signature(private.sign(digest, mechanism=Mechanism.ECDSA))
    signed = csr.CertificationRequest(
        {
            "certification_request_info": info,
            "signature_algorithm": {"algorithm": algorithm},
            "signature": signature,
        }
    )
    encoded: bytes = pem.armor("CERTIFICATE REQUEST", signed.dump())
    return encoded


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


__all__ = ["Token", "TokenCredentials"]
