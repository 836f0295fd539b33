# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root and issuing CA: made once, never changed in place, and used to issue."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Request,
    Signer,
    alternative_names,
    describe,
    encode_certificate,
    entry_of,
    key_identifier,
    read_certificate,
    signer_of,
    time_text,
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
    public_bytes,
    read_key,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import (
    Ledger,
    common_name_in,
    serial_text,
    take_serials,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name, oneline
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import PROFILES, Algorithm, KeyType, lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
    AuthorityType,
    SerialPolicy,
)


def absolute(path: str | Path) -> Path:
    """Return `path` from the root of the file system, without ``..``, links left as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps the dots


class Authority:
    """An authority that exists. Its key is opened when something has to be signed, not before."""

    def __init__(self, tree: AuthorityTree, *, passphrase: str | None = None) -> None:
        certificate = read_certificate(tree.certificate)
        if certificate is None:
            raise _no_authority(tree)
        self.tree = tree
        self.certificate = certificate
        self.ledger = Ledger(tree.ledger)
        self._passphrase = passphrase

    @cached_property
    def signer(self) -> Signer:
        """The key with its certificate; raises PkiError when they do not fit or the certificate has expired."""
        key = read_key(self.tree.key, passphrase=self._passphrase)
        if public_bytes(key) != public_bytes(self.certificate.public_key()):
            raise PkiError(f"{self.tree.key} is not the key of {self.tree.certificate}: restore the two from one copy")
        if self.certificate.not_valid_after_utc <= datetime.now(UTC):
            ended = time_text(self.certificate.not_valid_after_utc)
            raise PkiError(
                f"{self.tree.certificate} expired at {ended}: build a CA of the next generation in another path"
            )
        return Signer(self.certificate.subject, key, self.certificate)

    def require_key(self) -> None:
        """Raise PkiError unless this authority can sign: to be called before anything is changed."""
        _ = self.signer

    @property
    def profile(self) -> Algorithm:
        """The key profile that fits this authority: a leaf has its signer's algorithm."""
        return key_type_of(self.certificate.public_key()).algorithm

    def has_signed(self, certificate: x509.Certificate) -> bool:
        """Tell whether `certificate` names this authority and its key as its signer."""
        return certificate.issuer == self.certificate.subject and signer_of(certificate) == key_identifier(
            self.certificate
        )

    def serial_numbers(self, count: int) -> list[int]:
        """Return `count` serial numbers that the ledger does not have, as this authority's openssl.cnf chooses them."""
        if self.tree.serial_policy() == "random":
            return [x509.random_serial_number() for _ in range(count)]
        numbers = list(take_serials(self.tree.serial, count))
        taken = next((number for number in numbers if self.ledger.find(serial_text(number))), None)
        if taken is not None:
            raise PkiError(
                f"serial number {serial_text(taken)} is in {self.tree.ledger} already: "
                f"write a number above the highest one there into {self.tree.serial}"
            )
        return numbers

    def issue(self, request: Request) -> x509.Certificate:
        """Return the live certificate recorded for exactly this request, or sign and record one.

        The copy in newcerts comes first and the ledger next, so a run that was killed in between is taken up here.
        """
        now = datetime.now(UTC)
        recorded = self._recorded(request, now)
        if recorded is not None:
            return recorded
        certificate = self.signer.sign(request, serial=self.serial_numbers(1)[0], now=now)
        entry = entry_of(certificate)
        write_atomic(self.tree.issued(entry.serial), encode_certificate(certificate))
        self.ledger.append([entry])
        return certificate

    def _recorded(self, request: Request, now: datetime) -> x509.Certificate | None:
        wanted = public_bytes(request.public_key)
        for entry in reversed(self.ledger.live(common_name_in(oneline(request.subject)), now)):
            certificate = read_certificate(self.tree.issued(entry.serial))
            if (
                certificate is not None
                and public_bytes(certificate.public_key()) == wanted
                and alternative_names(certificate) == list(request.dns_names)
            ):
                return certificate
        return None


def _no_authority(tree: AuthorityTree) -> PkiError:
    return PkiError(f"{tree.path} holds no {tree.type} CA: build it first (playbooks/build_pki.yml)")


@contextmanager
def open_authority(tree: AuthorityTree, *, passphrase: str | None = None) -> Iterator[Authority]:
    """Yield the authority in `tree`, nobody else issuing from it meanwhile; raise PkiError when there is none."""
    if not tree.certificate.exists():
        raise _no_authority(tree)
    with locked(tree.path):
        yield Authority(tree, passphrase=passphrase)


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


def ensure_authority(
    *,
    path: str,
    authority_type: AuthorityType,
    common_name: str,
    organization: str | None,
    key_profile: Algorithm,
    days: int,
    serial_policy: SerialPolicy,
    passphrase: str | None,
    issuer_path: str | None,
    issuer_passphrase: str | None,
    check_mode: bool,
) -> dict[str, Any]:
    """Make an authority unless it is there; return the result of the module x509_authority.

    Raises PkiError when another authority than the wanted one is there, or its files or passphrase are of no use.
    """
    wanted = AuthorityRequest(
        tree=AuthorityTree(absolute(path), authority_type),
        subject=distinguished_name(common_name=common_name, organization=organization),
        key_type=PROFILES[key_profile][authority_type],
        lifetime=lifetime_of(days),
        serial_policy=serial_policy,
        passphrase=passphrase,
        issuer=AuthorityTree(absolute(issuer_path), "root") if issuer_path else None,
        issuer_passphrase=issuer_passphrase,
    )
    _refuse_another(wanted)
    changes = _predict(wanted) if check_mode else _build(wanted)
    return _result(wanted, changes)


def _refuse_another(wanted: AuthorityRequest) -> None:
    tree = wanted.tree
    certificate = read_certificate(tree.certificate)
    key = read_key(tree.key, passphrase=wanted.passphrase) if tree.key.exists() else None
    if certificate is not None:
        _compare(tree, "subject", certificate.subject.rfc4514_string(), wanted.subject.rfc4514_string())
        _compare(tree, "key type", str(key_type_of(certificate.public_key())), str(wanted.key_type))
        if key is not None and public_bytes(key) != public_bytes(certificate.public_key()):
            raise PkiError(f"{tree.key} is not the key of {tree.certificate}: restore the two from one copy")
    elif key is not None:
        _compare(tree, "key type", str(key_type_of(key)), str(wanted.key_type))
    Ledger(tree.ledger)
    if certificate is not None and wanted.issuer is not None:
        _refuse_revoked(tree, certificate, wanted.issuer)


def _compare(tree: AuthorityTree, what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise PkiError(
            f"{tree.path} holds a CA whose {what} is {found!r}, not {wanted!r}: a CA is never changed in place; "
            f"set it back, or rotate by building a CA of the next generation in another path"
        )


def _refuse_revoked(tree: AuthorityTree, certificate: x509.Certificate, issuer: AuthorityTree) -> None:
    entry = Ledger(issuer.ledger).find(serial_text(certificate.serial_number))
    if entry is not None and entry.status == "R":
        raise PkiError(
            f"{tree.certificate} is revoked in {issuer.ledger}: build a CA of the next generation in another path"
        )


def _predict(wanted: AuthorityRequest) -> list[str]:
    tree = wanted.tree
    changes = tree.repair(serial_policy=wanted.serial_policy, check_mode=True)
    made = [tree.certificate, *([tree.chain] if tree.type == "issuing" else [])]
    if not tree.certificate.exists():
        made.insert(0, tree.key)
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
        changes += tree.repair(serial_policy=wanted.serial_policy, check_mode=False)
        changes += _ensure_certificate(wanted, issuer)
        return changes + _ensure_chain(tree, issuer)


def _ensure_certificate(wanted: AuthorityRequest, issuer: Authority | None) -> list[str]:
    tree = wanted.tree
    if tree.certificate.exists():
        return []
    changes: list[str] = []
    if tree.key.exists():
        key = read_key(tree.key, passphrase=wanted.passphrase)
    else:
        key = generate_key(wanted.key_type)
        write_atomic(tree.key, encode_key(key, passphrase=wanted.passphrase), mode=SECRET)
        changes.append(f"{tree.key}: created")
    write_atomic(tree.certificate, encode_certificate(_certify(wanted, key, issuer)))
    return [*changes, f"{tree.certificate}: created"]


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
    authority |= {"private_key": str(tree.key), "openssl_config": str(tree.configuration)}
    if tree.type == "issuing":
        authority["chain"] = str(tree.chain)
    certificate = read_certificate(tree.certificate)
    if certificate is not None:
        authority |= describe(certificate)
    return {"changed": bool(changes), "authority": authority, "diff": difference(changes)}


def difference(changes: list[str]) -> dict[str, str]:
    """Return Ansible's diff of a list of changes."""
    return {"before": "", "after": "".join(f"{change}\n" for change in changes)}


__all__ = ["Authority", "absolute", "difference", "ensure_authority", "open_authority"]
