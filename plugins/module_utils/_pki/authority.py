# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A root or issuing CA that exists, and issuing from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    Request,
    Signer,
    alternative_names,
    encode_certificate,
    entry_of,
    key_identifier,
    read_certificate,
    signer_of,
    time_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    locked,
    write_atomic,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    key_type_of,
    public_bytes,
    read_key,
    require_pair,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import (
    Ledger,
    common_name_in,
    serial_text,
    take_serials,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import oneline
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import Algorithm
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import read_token_key
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import (
    AuthorityTree,
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
        self.ledger = ledger_of(tree)
        self._passphrase = passphrase

    @cached_property
    def signer(self) -> Signer:
        """The key with its certificate; raises PkiError when they do not fit or the certificate has expired."""
        uri = self.tree.token_uri()
        key = read_token_key(uri, self._passphrase) if uri else read_key(self.tree.key, passphrase=self._passphrase)
        require_pair(uri or self.tree.key, key, self.tree.certificate, self.certificate)
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

    def serial_numbers(self, count: int) -> Iterator[int]:
        """Return `count` serial numbers that the ledger does not have, as this authority's openssl.cnf chooses them."""
        if self.tree.serial_policy() == "random":
            return (x509.random_serial_number() for _ in range(count))
        numbers = take_serials(self.tree.serial, count)
        taken = next((number for number in numbers if self.ledger.find(serial_text(number))), None)
        if taken is not None:
            raise PkiError(
                f"serial number {serial_text(taken)} is in {self.tree.ledger} already: "
                f"write a number above the highest one there into {self.tree.serial}"
            )
        return iter(numbers)

    def issue(self, request: Request) -> x509.Certificate:
        """Return the live certificate recorded for exactly this request, or sign and record one.

        The copy in newcerts comes first and the ledger next, so a run that was killed in between is taken up here.
        """
        now = datetime.now(UTC)
        recorded = self._recorded(request, now)
        if recorded is not None:
            return recorded
        certificate = self.signer.sign(request, serial=next(self.serial_numbers(1)), now=now)
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


def ledger_of(tree: AuthorityTree) -> Ledger:
    """Return the ledger of an authority that exists; raise PkiError when it is missing or damaged."""
    if not tree.ledger.exists():
        raise PkiError(
            f"{tree.ledger} is missing: restore it from a copy, or make an empty one if this CA has issued nothing"
        )
    return Ledger(tree.ledger)


def _no_authority(tree: AuthorityTree) -> PkiError:
    return PkiError(f"{tree.path} holds no {tree.type} CA: build it first (playbooks/build_pki.yml)")


@contextmanager
def open_authority(tree: AuthorityTree, *, passphrase: str | None = None) -> Iterator[Authority]:
    """Yield the authority in `tree`, nobody else issuing from it meanwhile; raise PkiError when there is none."""
    if not tree.certificate.exists():
        raise _no_authority(tree)
    with locked(tree.path):
        yield Authority(tree, passphrase=passphrase)


def difference(changes: list[str]) -> dict[str, str]:
    """Return Ansible's diff of a list of changes."""
    return {"before": "", "after": "".join(f"{change}\n" for change in changes)}


__all__ = ["Authority", "absolute", "difference", "ledger_of", "open_authority"]
