# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private keys in PKCS#11 tokens: found, made, and signing as the library's own keys do."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import PrivateKey, key_type_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import KeyType
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token_uri import TokenUri

# What a token answers (names of python-pkcs11's exceptions), in an operator's words.
_WRONG_PIN = "the passphrase is not the token's PIN: correct it; after some wrong ones a token locks itself"
_REMEDIES = {
    "NoSuchToken": "there is no such token: put it in, or correct the URI",
    "MultipleTokensReturned": "several tokens are named: add serial to the URI",
    "MultipleObjectsReturned": "several keys are named: add id to the URI",
    "PinIncorrect": _WRONG_PIN,
    "PinInvalid": _WRONG_PIN,
    "PinLenRange": _WRONG_PIN,
    "PinLocked": "the PIN is locked after too many wrong ones: have the token's security officer set it anew",
}

_libraries: dict[str, Any] = {}


class _TokenKey:
    """What cryptography's builders and we ask of a private key; opened anew in each process that signs."""

    def __init__(self, uri: TokenUri, pin: str, public_key: Any) -> None:
        self._uri, self._pin, self._public_key = uri, pin, public_key

    def public_key(self) -> Any:
        return self._public_key

    @property
    def key_size(self) -> int:
        return int(self._public_key.key_size)

    def _sign(self, data: bytes, mechanism: str) -> bytes:
        with _plainly(self._uri):
            signature: bytes = _opened(self._uri, self._pin).sign(data, mechanism=_pkcs11().Mechanism[mechanism])
            return signature


class _EcKey(_TokenKey):
    @property
    def curve(self) -> Any:
        return self._public_key.curve

    def sign(self, data: bytes, scheme: ec.ECDSA) -> bytes:
        digest = hashes.Hash(cast(hashes.HashAlgorithm, scheme.algorithm))
        digest.update(data)
        signature = self._sign(digest.finalize(), "ECDSA")
        half = len(signature) // 2
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


class _RsaKey(_TokenKey):
    def sign(self, data: bytes, _padding: padding.PKCS1v15, algorithm: hashes.HashAlgorithm) -> bytes:
        return self._sign(data, f"{algorithm.name.upper()}_RSA_PKCS")


# Builders sign with whatever passes for one of these.
ec.EllipticCurvePrivateKey.register(_EcKey)
rsa.RSAPrivateKey.register(_RsaKey)


def find_token_key(uri: TokenUri, pin: str | None) -> PrivateKey | None:
    """Return the key, None when the token has none of that name.

    Raises PkiError when python-pkcs11, the PKCS#11 module, the token or the key is of no use, or the PIN is wrong.
    """
    if not pin:
        raise PkiError(f"{uri} is a key in a token: set the passphrase, which is the token's PIN")
    with _plainly(uri):
        try:
            _opened(uri, pin)
        except LookupError:
            return None
        public_key = _public_key(uri, pin)
        key = cast(
            PrivateKey, (_RsaKey if key_type_of(public_key).algorithm == "rsa" else _EcKey)(uri, pin, public_key)
        )
    _require_signing(key, uri)
    return key


def read_token_key(uri: TokenUri, pin: str | None) -> PrivateKey:
    """As find_token_key, but raise PkiError when there is none."""
    key = find_token_key(uri, pin)
    if key is None:
        raise PkiError(f"{uri}: the token has no such private key: correct the URI, or restore the key from a backup")
    return key


def make_token_key(uri: TokenUri, pin: str | None, key_type: KeyType) -> PrivateKey:
    """Make a key that never leaves the token; raise PkiError when that cannot be."""
    pkcs11 = _pkcs11()
    settings = {
        "store": True, "label": uri.label, "id": uri.id or secrets.token_bytes(8),
        "capabilities": pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        "private_template": {pkcs11.Attribute.EXTRACTABLE: False, pkcs11.Attribute.SENSITIVE: True},
    }  # fmt: skip
    with _plainly(uri), _session(uri, pin or "", write=True) as session:
        if key_type.algorithm == "rsa":
            session.generate_keypair(pkcs11.KeyType.RSA, key_type.bits, **settings)
        else:
            curve = pkcs11.util.ec.encode_named_curve_parameters(f"secp{key_type.bits}r1")
            parameters = {pkcs11.Attribute.EC_PARAMS: curve}
            session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True).generate_keypair(**settings)
    return read_token_key(uri, pin)


def close_tokens() -> None:
    """Leave all tokens; what is needed of them afterwards is opened anew.

    To be called before a process is forked: what it opened is of no use in another one (PKCS#11, C_Initialize).
    """
    _opened.cache_clear()
    for library in _libraries.values():
        library.finalize()
    _libraries.clear()


@contextmanager
def _plainly(uri: TokenUri) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # PKCS11Error is one
        name = type(error).__name__
        said = f" ({error})" if str(error) else ""
        remedy = f"the token fails with {name}{said}: try the same with pkcs11-tool"
        raise PkiError(f"{uri}: {_REMEDIES.get(name, remedy)}") from error


def _pkcs11() -> Any:
    """Return python-pkcs11, which nobody needs whose keys are files."""
    try:
        import pkcs11
    except ImportError as error:
        raise PkiError(f"the CA's key is in a token. {missing_required_lib('python-pkcs11')}") from error
    return pkcs11


def _library(uri: TokenUri) -> Any:
    pkcs11 = _pkcs11()
    try:
        _libraries[uri.module] = pkcs11.lib(uri.module)
    except pkcs11.PKCS11Error as error:
        raise PkiError(
            f"{uri.module} is no PKCS#11 module that works: {error}; correct the URI's module-path"
        ) from error
    return _libraries[uri.module]


def _session(uri: TokenUri, pin: str, *, write: bool = False) -> Any:
    pkcs11 = _pkcs11()
    with _one_at_a_time(uri):
        tokens = [token for token in _library(uri).get_tokens() if _is_meant(token, uri)]
        if len(tokens) != 1:
            raise (pkcs11.MultipleTokensReturned if tokens else pkcs11.NoSuchToken)
        try:
            return tokens[0].open(user_pin=pin, rw=write)
        except pkcs11.UserAlreadyLoggedIn:  # in another session of this process
            return tokens[0].open(rw=write)


@contextmanager
def _one_at_a_time(uri: TokenUri) -> Iterator[None]:
    """Hold a lock on the PKCS#11 module: SoftHSM writes at each login, and another one at that time would fail."""
    try:
        descriptor = os.open(uri.module, os.O_RDONLY)
    except OSError as error:
        raise PkiError(f"{uri.module} cannot be read: {error.strerror}; correct the URI's module-path") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_meant(token: Any, uri: TokenUri) -> bool:
    found = {
        "token": token.label, "serial": token.serial.decode(), "manufacturer": token.manufacturer_id,
        "model": token.model,
    }  # fmt: skip
    return all(found[name] == value for name, value in uri.token)


@lru_cache
def _opened(uri: TokenUri, pin: str) -> Any:
    """Return python-pkcs11's private key; raise LookupError when there is none."""
    return _object(_session(uri, pin), "PRIVATE_KEY", uri)


def _object(session: Any, object_class: str, uri: TokenUri) -> Any:
    pkcs11 = _pkcs11()
    try:
        return session.get_key(object_class=pkcs11.ObjectClass[object_class], label=uri.label, id=uri.id)
    except pkcs11.NoSuchKey as error:
        raise LookupError(uri) from error


def _public_key(uri: TokenUri, pin: str) -> Any:
    pkcs11 = _pkcs11()
    try:
        found = _object(_opened(uri, pin).session, "PUBLIC_KEY", uri)
    except LookupError as error:
        raise PkiError(f"{uri}: the public key is not beside the private one: add it (pkcs11-tool -w)") from error
    if found.key_type == pkcs11.KeyType.RSA:
        return serialization.load_der_public_key(pkcs11.util.rsa.encode_rsa_public_key(found))
    return serialization.load_der_public_key(pkcs11.util.ec.encode_ec_public_key(found))


def _require_signing(key: PrivateKey, uri: TokenUri) -> None:
    # A public key of the same name may be another one's, and a private one need not be meant to sign.
    data, algorithm = os.urandom(32), hashes.SHA256()
    scheme: Any = (padding.PKCS1v15(), algorithm) if isinstance(key, rsa.RSAPrivateKey) else (ec.ECDSA(algorithm),)
    public: Any = key.public_key()
    try:
        public.verify(key.sign(data, *scheme), data, *scheme)
    except InvalidSignature as error:
        raise PkiError(f"{uri}: public and private key of this name are no pair: add id to the URI") from error


__all__ = ["close_tokens", "find_token_key", "make_token_key", "read_token_key"]
