# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificate: one key pair at a time, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Request,
    alternative_names,
    describe,
    encode_certificate,
    read_certificate,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import SECRET, sync_file, write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    PrivateKey,
    encode_key,
    generate_key,
    public_bytes,
    read_key,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import (
    MAX_NAME,
    distinguished_name,
    dns_names,
    organization_of,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import PROFILES, KeyType, lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
    private_directories,
    private_files,
)


@dataclass(frozen=True)
class ServerTree:
    """Where the files of the server are."""

    path: Path

    @property
    def certificate(self) -> Path:
        """The certificate."""
        return self.path / "certs" / "server.cert.pem"

    @property
    def key(self) -> Path:
        """The private key, never encrypted: ACM imports it."""
        return self.path / "private" / "server.key.pem"

    @property
    def next_key(self) -> Path:
        """The key of a certificate that is being made: a killed run leaves it, the next one takes it up."""
        return self.path / "private" / "server.key.pem.next"

    def folders(self) -> list[Path]:
        """All directories."""
        return [self.path, *(self.path / name for name in ("certs", "csr", "private"))]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The server certificate that is wanted: see the options of the module x509_server_certificate."""

    names: list[str]
    lifetime: timedelta
    renew_before: timedelta
    renew: bool


def ensure_server_certificate(
    *,
    path: str,
    authority_path: str,
    names: list[str],
    days: int,
    renew_before: int,
    renew: bool,
    passphrase: str | None,
    check_mode: bool,
) -> dict[str, Any]:
    """Issue a server certificate unless a good one is there; return the result of the module x509_server_certificate.

    Lifetimes in days. Raises PkiError when the names, the authority or the files are of no use.
    """
    tree = ServerTree(absolute(path))
    wanted = Wanted(
        names=dns_names(names), lifetime=lifetime_of(days), renew_before=_renew_before(renew_before, days), renew=renew
    )
    authority_tree = AuthorityTree(absolute(authority_path), "issuing")
    if check_mode:
        return _predict(tree, authority_tree, wanted)
    with open_authority(authority_tree, passphrase=passphrase) as authority:
        return _converge(tree, authority, wanted)


def _renew_before(renew_before: int, days: int) -> timedelta:
    if not 0 <= renew_before < days:
        raise PkiError(f"renew_before is {renew_before}: it has to be less than days ({days}), and not negative")
    return timedelta(days=renew_before)


def _predict(tree: ServerTree, authority_tree: AuthorityTree, wanted: Wanted) -> dict[str, Any]:
    authority = Authority(authority_tree) if authority_tree.certificate.exists() else None
    changes = _repair(tree, check_mode=True)
    reason = _reason(tree, authority, wanted)
    if reason is None:
        return _result(tree, authority_tree, read_certificate(tree.certificate), changes)
    return _result(tree, authority_tree, None, [*changes, _issued(tree, wanted, reason)])


def _converge(tree: ServerTree, authority: Authority, wanted: Wanted) -> dict[str, Any]:
    reason = _reason(tree, authority, wanted)
    if reason:
        authority.require_key()
    changes = _repair(tree, check_mode=False)
    if reason is None:
        tree.next_key.unlink(missing_ok=True)
    else:
        _replace(tree, authority, wanted, reason)
        changes.append(_issued(tree, wanted, reason))
    return _result(tree, authority.tree, read_certificate(tree.certificate), changes)


def _repair(tree: ServerTree, *, check_mode: bool) -> list[str]:
    return private_directories(tree.folders(), check_mode=check_mode) + private_files([tree.key], check_mode=check_mode)


def _issued(tree: ServerTree, wanted: Wanted, reason: str) -> str:
    return f"{tree.certificate}: issued for {', '.join(wanted.names)} ({reason})"


_NO_CERTIFICATE = "there was none"
_NO_KEY = "the private key was missing"
_OTHER_KEY = "the private key was another one"


def _reason(tree: ServerTree, authority: Authority | None, wanted: Wanted) -> str | None:
    """Return why a certificate has to be issued, None when the present one is good."""
    certificate = read_certificate(tree.certificate)
    if certificate is None or authority is None:
        return _NO_CERTIFICATE
    reasons = {
        _NO_KEY: not tree.key.exists(),
        _OTHER_KEY: tree.key.exists() and public_bytes(read_key(tree.key)) != public_bytes(certificate.public_key()),
        "the names were others": sorted(alternative_names(certificate)) != sorted(wanted.names),
        "another CA had issued it": not authority.has_signed(certificate),
        "it was revoked or not in the ledger": not _recorded_as_valid(authority, certificate),
        "it was about to expire": certificate.not_valid_after_utc - wanted.renew_before <= datetime.now(UTC),
        "renewal was asked for": wanted.renew,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _recorded_as_valid(authority: Authority, certificate: x509.Certificate) -> bool:
    entry = authority.ledger.find(serial_text(certificate.serial_number))
    return entry is not None and entry.status == "V"


def _replace(tree: ServerTree, authority: Authority, wanted: Wanted, reason: str) -> None:
    issue_into(tree, authority, _key_to_certify(tree, authority, reason), wanted)


def issue_into(tree: ServerTree, authority: Authority, key: PrivateKey, wanted: Wanted) -> None:
    """Certify ``key``, which is the tree's key or its next one, and put the two in place."""
    certificate = authority.issue(
        Request(
            purpose="server",
            subject=distinguished_name(
                # Clients look at the alternative names; a long name has no room here.
                common_name=wanted.names[0] if len(wanted.names[0]) <= MAX_NAME else None,
                organization=organization_of(authority.certificate.subject),
            ),
            public_key=key.public_key(),
            lifetime=wanted.lifetime,
            dns_names=wanted.names,
        )
    )
    if tree.next_key.exists():
        tree.next_key.replace(tree.key)
        sync_file(tree.key.parent)
    write_atomic(tree.certificate, encode_certificate(certificate))


def _key_to_certify(tree: ServerTree, authority: Authority, reason: str) -> PrivateKey:
    """Return the key that a killed run left, the one that is there without a certificate, or a new one."""
    if not tree.next_key.exists() and reason in (_NO_CERTIFICATE, _OTHER_KEY) and tree.key.exists():
        return read_key(tree.key)
    return begin_key(tree, PROFILES[authority.profile]["server"])


def begin_key(tree: ServerTree, key_type: KeyType) -> PrivateKey:
    """Return the key that a killed run left, or a new one that the next run finds."""
    if tree.next_key.exists():
        return read_key(tree.next_key)
    key = generate_key(key_type)
    write_atomic(tree.next_key, encode_key(key), mode=SECRET)
    return key


def _result(
    tree: ServerTree, authority_tree: AuthorityTree, certificate: x509.Certificate | None, changes: list[str]
) -> dict[str, Any]:
    server: dict[str, Any] = {
        "certificate": str(tree.certificate),
        "private_key": str(tree.key),
        "chain": str(authority_tree.chain),
    }
    if certificate is not None:
        server |= {**describe(certificate), "names": alternative_names(certificate)}
    return {"changed": bool(changes), "server": server, "diff": difference(changes)}


__all__ = ["ServerTree", "Wanted", "begin_key", "ensure_server_certificate", "issue_into"]
