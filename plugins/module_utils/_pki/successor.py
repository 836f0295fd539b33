# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificate's successor: a second pair beside the present one until every region serves it.

It is what AWS takes up under the ARN that exists: names, key type and size and signature algorithm are those of
the present certificate. The issuing CA may be one of another generation. A successor for names that are given is a
replacement: it may differ in all of that, and goes under an ARN of its own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    alternative_names,
    describe,
    encode_certificate,
    read_certificate,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import SECRET, write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    encode_key,
    key_type_of,
    public_bytes,
    read_key,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import dns_names
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import PROFILES, KeyType, lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.server import (
    ServerTree,
    Wanted,
    begin_key,
    issue_into,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
    private_directories,
    private_files,
)

State = Literal["present", "taken", "absent"]

_UNDER_WAY = "a rotation is under way"


@dataclass(frozen=True)
class Pair:
    """The present certificate and the place of its successor."""

    server: ServerTree

    @property
    def successor(self) -> ServerTree:
        """Where the successor is, complete or not."""
        return ServerTree(self.server.path / "next")

    @property
    def taken_in_part(self) -> bool:
        """Whether a run was killed while the successor took the present one's place: its key is there already."""
        keys = (self.server.key, self.successor.key)
        return (
            self.successor.certificate.exists()
            and all(key.exists() for key in keys)
            and public_bytes(read_key(keys[0])) == public_bytes(read_key(keys[1]))
        )


def ensure_successor(
    *,
    path: str,
    authority_path: str,
    state: State,
    days: int,
    renew_before: int,
    renew: bool,
    passphrase: str | None,
    names: list[str] | None,
    check_mode: bool,
) -> dict[str, Any]:
    """Return the result of the module x509_server_certificate_successor. Lifetimes in days; ``names``: a replacement.

    Raises:
        PkiError: a file is missing or damaged, or the CA cannot issue what AWS would take up.

    """
    pair = Pair(ServerTree(absolute(path)))
    tree = AuthorityTree(absolute(authority_path), "issuing")
    changes: list[str] = []
    differences: list[str] = []
    reason = None
    if state == "absent":
        changes += _remove(pair, check_mode=check_mode)
    elif state == "taken":
        changes += _take(pair, check_mode=check_mode)
    elif pair.taken_in_part:
        # Every region serves it; only one of the two whole pairs is left, and it is present and successor.
        changes += _take(pair, check_mode=check_mode)
        whole = pair.successor if check_mode else pair.server
        return _result(whole, whole, tree, changes, _UNDER_WAY, [])
    else:
        current = _current(pair)
        wanted = Wanted(
            names=dns_names(names) if names else alternative_names(current),
            lifetime=lifetime_of(days),
            renew_before=timedelta(days=renew_before),
            renew=renew,
        )
        with open_authority(tree, passphrase=passphrase) as authority:
            reason = _reason(pair, authority, current, wanted)
            if reason:
                differences = _differences(pair, authority, current, wanted)
            if reason and not pair.successor.certificate.exists():
                if names is None:
                    _require_same_kind(authority, current, pair)
                if not check_mode:
                    key_type = PROFILES[authority.profile]["server"] if "key" in differences else None
                    _issue(pair, authority, key_type or key_type_of(current.public_key()), wanted)
                changes.append(f"{pair.successor.certificate}: issued for {', '.join(wanted.names)} ({reason})")
    return _result(pair.server, pair.successor, tree, changes, reason, differences)


def _current(pair: Pair) -> x509.Certificate:
    certificate = read_certificate(pair.server.certificate)
    if certificate is None:
        raise PkiError(f"{pair.server.certificate} is missing: build the fleet first (playbooks/site.yml)")
    if public_bytes(read_key(pair.server.key)) != public_bytes(certificate.public_key()):
        raise PkiError(
            f"{pair.server.key} is not the key of {pair.server.certificate}, so that it could not be put back:"
            " restore the two from one copy"
        )
    return certificate


def _reason(pair: Pair, authority: Authority, current: x509.Certificate, wanted: Wanted) -> str | None:
    """Why there is to be a successor, None when there is not."""
    reasons = {
        _UNDER_WAY: pair.successor.certificate.exists(),
        "the names were others": sorted(alternative_names(current)) != sorted(wanted.names),
        "another CA had issued it": not authority.has_signed(current),
        "it was about to expire": current.not_valid_after_utc - wanted.renew_before <= datetime.now(UTC),
        "renewal was asked for": wanted.renew,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _differences(pair: Pair, authority: Authority, current: x509.Certificate, wanted: Wanted) -> list[str]:
    """In what the successor, which may have to be issued yet, differs so that AWS does not take it up in place."""
    issued = read_certificate(pair.successor.certificate)
    digest = current.signature_hash_algorithm
    key_type, names = key_type_of(current.public_key()), sorted(alternative_names(current))
    if issued is None:
        found = {
            "key": key_type.algorithm != authority.profile,
            "names": names != sorted(wanted.names),
            "signature": digest is None or digest.name != authority.signer.digest.name,
        }
    else:
        theirs = issued.signature_hash_algorithm
        found = {
            "key": key_type != key_type_of(issued.public_key()),
            "names": names != sorted(alternative_names(issued)),
            "signature": digest is None or theirs is None or digest.name != theirs.name,
        }
    return [what for what, differs in found.items() if differs]


def _require_same_kind(authority: Authority, current: x509.Certificate, pair: Pair) -> None:
    """A leaf has the algorithm of its CA, and AWS IoT takes up the same signature algorithm only."""
    remedy = "replace it with playbooks/replace_server_certificate.yml"
    key_type = key_type_of(current.public_key())
    if key_type.algorithm != authority.profile:
        raise PkiError(
            f"{pair.server.certificate} has an {key_type} key, but {authority.tree.certificate} issues certificates"
            f" with {authority.profile.upper()} keys, which ACM refuses under the same ARN: {remedy}"
        )
    digest, wanted = current.signature_hash_algorithm, authority.signer.digest
    if digest is None or digest.name != wanted.name:
        raise PkiError(
            f"{pair.server.certificate} is signed with {digest.name if digest else 'another algorithm'}, but"
            f" {authority.tree.certificate} signs with {wanted.name}, and AWS IoT would go on serving the former one:"
            f" {remedy}"
        )


def _issue(pair: Pair, authority: Authority, key_type: KeyType, wanted: Wanted) -> None:
    tree = pair.successor
    private_directories(tree.folders(), check_mode=False)
    for left in (tree.key, tree.next_key):  # by a run that was killed and wanted another one
        if left.exists() and key_type_of(read_key(left)) != key_type:
            left.unlink()
    key = read_key(tree.key) if tree.key.exists() else begin_key(tree, key_type)
    issue_into(tree, authority, key, wanted)
    private_files([tree.key], check_mode=False)


def _take(pair: Pair, *, check_mode: bool) -> list[str]:
    certificate = read_certificate(pair.successor.certificate)
    if certificate is None:
        return []
    if not check_mode:
        write_atomic(pair.server.key, encode_key(read_key(pair.successor.key)), mode=SECRET)
        write_atomic(pair.server.certificate, encode_certificate(certificate))
        shutil.rmtree(pair.successor.path)
    return [f"{pair.server.certificate}: replaced by its successor"]


def _remove(pair: Pair, *, check_mode: bool) -> list[str]:
    if pair.taken_in_part:
        raise PkiError(f"{pair.successor.path}: the successor is being taken; finish that first (state taken)")
    if not pair.successor.path.exists():
        return []
    if not check_mode:
        shutil.rmtree(pair.successor.path)
    return [f"{pair.successor.path}: removed"]


def _result(
    present: ServerTree,
    next_one: ServerTree,
    authority: AuthorityTree,
    changes: list[str],
    reason: str | None,
    differences: list[str],
) -> dict[str, Any]:
    current, successor = (
        {
            "certificate": str(tree.certificate),
            "private_key": str(tree.key),
            "chain": str(_chain(tree, authority)),
            **_described(tree),
        }
        for tree in (present, next_one)
    )
    return {
        "changed": bool(changes),
        "current": current,
        "successor": successor if reason else None,
        "reason": reason,
        "differences": differences,
        "diff": difference(changes),
    }


def _chain(server: ServerTree, authority: AuthorityTree) -> Path:
    """The chain of the CA that issued the certificate: ``authority``, unless it is one of those beside it."""
    certificate = read_certificate(server.certificate)
    beside = [AuthorityTree(path, "issuing") for path in sorted(authority.path.parent.iterdir())]
    for tree in (authority, *beside):
        if certificate and tree.certificate.exists() and Authority(tree).has_signed(certificate):
            return tree.chain
    return authority.chain


def _described(tree: ServerTree) -> dict[str, Any]:
    certificate = read_certificate(tree.certificate)
    return {} if certificate is None else {**describe(certificate), "names": alternative_names(certificate)}


__all__ = ["State", "ensure_successor"]
