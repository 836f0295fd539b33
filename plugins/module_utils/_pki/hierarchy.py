# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root and issuing CA: made once, never changed in place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    ledger_of,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Request,
    Signer,
    describe,
    encode_certificate,
    read_certificate,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    SECRET,
    locked,
    make_directory,
    write_atomic,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    PrivateKey,
    encode_key,
    generate_key,
    key_type_of,
    read_key,
    require_pair,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import PROFILES, Algorithm, KeyType, lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import (
    find_token_key,
    make_token_key,
    read_token_key,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token_uri import TokenUri
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
    AuthorityType,
    SerialPolicy,
)


@dataclass(frozen=True, kw_only=True)
class AuthorityRequest:
    """The authority that is wanted: see the options of the module x509_authority."""

    tree: AuthorityTree
    subject: x509.Name
    key_type: KeyType
    lifetime: timedelta
    serial_policy: SerialPolicy
    passphrase: str | None
    issuer: AuthorityTree | None
    issuer_passphrase: str | None
    key_uri: TokenUri | None


def ensure_authority(
    *,
    path: str,
    authority_type: AuthorityType,
    common_name: str,
    organization: str | None,
    subject: Mapping[str, str | None] | None = None,
    key_profile: Algorithm,
    days: int,
    serial_policy: SerialPolicy,
    passphrase: str | None,
    issuer_path: str | None,
    issuer_passphrase: str | None,
    check_mode: bool,
    key_uri: str | None = None,
) -> dict[str, Any]:
    """Make an authority unless it is there; return the result of the module x509_authority.

    Raises PkiError when another authority than the wanted one is there, or its files or passphrase are of no use.
    """
    tree = AuthorityTree(absolute(path), authority_type)
    wanted = AuthorityRequest(
        tree=tree,
        subject=distinguished_name(common_name=common_name, organization=organization, more=subject),
        key_type=PROFILES[key_profile][authority_type],
        lifetime=lifetime_of(days),
        serial_policy=serial_policy,
        passphrase=passphrase,
        issuer=AuthorityTree(absolute(issuer_path), "root") if issuer_path else None,
        issuer_passphrase=issuer_passphrase,
        key_uri=TokenUri.parse(key_uri) if key_uri else tree.token_uri(),
    )
    _refuse_another(wanted)
    changes = _predict(wanted) if check_mode else _build(wanted)
    return _result(wanted, changes)


def _refuse_another(wanted: AuthorityRequest) -> None:
    tree = wanted.tree
    certificate = read_certificate(tree.certificate)
    key = _find_key(wanted)
    if certificate is not None:
        _compare(tree, "subject", certificate.subject.rfc4514_string(), wanted.subject.rfc4514_string())
        _compare(tree, "key type", str(key_type_of(certificate.public_key())), str(wanted.key_type))
        if key is not None:
            require_pair(wanted.key_uri or tree.key, key, tree.certificate, certificate)
    elif key is not None:
        _compare(tree, "key type", str(key_type_of(key)), str(wanted.key_type))
    if certificate is not None:
        ledger_of(tree)
    if certificate is not None and wanted.issuer is not None:
        _refuse_revoked(tree, certificate, wanted.issuer)


def _find_key(wanted: AuthorityRequest) -> PrivateKey | None:
    tree = wanted.tree
    if wanted.key_uri is None:
        return read_key(tree.key, passphrase=wanted.passphrase) if tree.key.exists() else None
    if tree.key.exists():
        raise PkiError(
            f"{tree.path} holds a CA whose key is {tree.key}, not in a token: a CA is never changed in place; "
            f"leave key_uri out, or build a CA of the next generation in another path"
        )
    find = read_token_key if tree.certificate.exists() else find_token_key
    return find(wanted.key_uri, wanted.passphrase)


def _compare(tree: AuthorityTree, what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise PkiError(
            f"{tree.path} holds a CA whose {what} is {found!r}, not {wanted!r}: a CA is never changed in place; "
            f"set it back, or rotate by building a CA of the next generation in another path"
        )


def _refuse_revoked(tree: AuthorityTree, certificate: x509.Certificate, issuer: AuthorityTree) -> None:
    entry = ledger_of(issuer).find(serial_text(certificate.serial_number))
    if entry is not None and entry.status == "R":
        raise PkiError(
            f"{tree.certificate} is revoked in {issuer.ledger}: build a CA of the next generation in another path"
        )


def _predict(wanted: AuthorityRequest) -> list[str]:
    tree = wanted.tree
    changes = tree.repair(serial_policy=wanted.serial_policy, key_uri=wanted.key_uri, check_mode=True)
    if not tree.certificate.exists() and _find_key(wanted) is None:
        changes.append(f"{wanted.key_uri or tree.key}: created")
    made = [tree.certificate, *([tree.chain] if tree.type == "issuing" else [])]
    return changes + [f"{path}: created" for path in made if not path.exists()]


def _build(wanted: AuthorityRequest) -> list[str]:
    tree = wanted.tree
    with ExitStack() as locks:
        issuer = None
        if wanted.issuer is not None:
            issuer = locks.enter_context(open_authority(wanted.issuer, passphrase=wanted.issuer_passphrase))
            if not tree.certificate.exists():
                issuer.require_key()
        make_directory(tree.path.parent)
        changes = [] if tree.path.exists() else [f"{tree.path}: created"]
        make_directory(tree.path)
        locks.enter_context(locked(tree.path))
        changes += tree.repair(serial_policy=wanted.serial_policy, key_uri=wanted.key_uri, check_mode=False)
        changes += _ensure_certificate(wanted, issuer)
        return changes + _ensure_chain(tree, issuer)


def _ensure_certificate(wanted: AuthorityRequest, issuer: Authority | None) -> list[str]:
    tree = wanted.tree
    if tree.certificate.exists():
        return []
    changes: list[str] = []
    key = _find_key(wanted)
    if key is None:
        key = _make_key(wanted)
        changes.append(f"{wanted.key_uri or tree.key}: created")
    write_atomic(tree.certificate, encode_certificate(_certify(wanted, key, issuer)))
    return [*changes, f"{tree.certificate}: created"]


def _make_key(wanted: AuthorityRequest) -> PrivateKey:
    if wanted.key_uri:
        return make_token_key(wanted.key_uri, wanted.passphrase, wanted.key_type)
    key = generate_key(wanted.key_type)
    write_atomic(wanted.tree.key, encode_key(key, passphrase=wanted.passphrase), mode=SECRET)
    return key


def _certify(wanted: AuthorityRequest, key: PrivateKey, issuer: Authority | None) -> x509.Certificate:
    request = Request(
        purpose=wanted.tree.type, subject=wanted.subject, public_key=key.public_key(), lifetime=wanted.lifetime
    )
    if issuer is not None:
        return issuer.issue(request)
    return Signer(wanted.subject, key).sign(request, serial=x509.random_serial_number(), now=datetime.now(UTC))


def _ensure_chain(tree: AuthorityTree, issuer: Authority | None) -> list[str]:
    if issuer is None:
        return []
    chain = tree.certificate.read_bytes() + issuer.tree.certificate.read_bytes()
    if tree.chain.exists() and tree.chain.read_bytes() == chain:
        return []
    change = "written" if tree.chain.exists() else "created"
    write_atomic(tree.chain, chain)
    return [f"{tree.chain}: {change}"]


def _result(wanted: AuthorityRequest, changes: list[str]) -> dict[str, Any]:
    tree = wanted.tree
    authority = {"path": str(tree.path), "type": tree.type, "certificate": str(tree.certificate)}
    authority |= {"private_key": str(wanted.key_uri or tree.key), "openssl_config": str(tree.configuration)}
    if tree.type == "issuing":
        authority["chain"] = str(tree.chain)
    certificate = read_certificate(tree.certificate)
    if certificate is not None:
        authority |= describe(certificate)
    return {"changed": bool(changes), "authority": authority, "diff": difference(changes)}


__all__ = ["ensure_authority"]
