# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that the CA's key signed elsewhere are entered in its ledger, as if they had been issued here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import encode_certificate, entry_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import PUBLIC, sync_files, write_new
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree


def ensure_recorded(
    *, authority: str, certificates: Sequence[str] | None, certificates_file: str | None, check_mode: bool
) -> dict[str, Any]:
    """Enter in the ledger what it lacks; return the result of the module x509_recorded_certificates.

    `certificates` are PEM texts, `certificates_file` is a file of them; each holds one or many. Raises PkiError, before
    anything is changed, for what this CA has not signed, or for two certificates with one serial number.
    """
    given = [*_given(certificates or (), certificates_file)]
    tree = AuthorityTree(absolute(authority), "issuing")
    with ExitStack() as locks:
        opened = Authority(tree) if check_mode else locks.enter_context(open_authority(tree))
        missing = _missing(opened, given)
        if missing and not check_mode:
            _record(opened, missing)
    return {
        "changed": bool(missing),
        "count": len(given),
        "recorded": list(missing),
        "diff": difference([f"{tree.ledger}: {serial} recorded" for serial in missing]),
    }


def _given(texts: Sequence[str], file: str | None) -> Iterator[tuple[str, x509.Certificate]]:
    """Yield certificates, each with what to call it in a message."""
    sources = [(f"certificate {number}", text.encode()) for number, text in enumerate(texts, start=1)]
    if file:
        sources.append((file, absolute(file).read_bytes()))
    for label, content in sources:
        try:
            found = x509.load_pem_x509_certificates(content)
        except ValueError as error:
            raise PkiError(f"{label} is not a whole PEM certificate: give it as its signer returned it") from error
        for certificate in found:
            serial = serial_text(certificate.serial_number)
            yield f"{label} (serial {serial}, {certificate.subject.rfc4514_string()})", certificate


def _missing(authority: Authority, given: Sequence[tuple[str, x509.Certificate]]) -> dict[str, x509.Certificate]:
    """Return what the ledger lacks, by serial number, in the order given."""
    missing: dict[str, x509.Certificate] = {}
    for label, certificate in given:
        _require_signed(authority, certificate, label)
        entry = entry_of(certificate)
        known = authority.ledger.find(entry.serial)
        if known is None:
            differs = missing.setdefault(entry.serial, certificate) != certificate
        else:
            differs = (known.expires, known.subject) != (entry.expires, entry.subject)
        if differs:
            raise PkiError(
                f"{label}: another certificate has its serial number in {authority.tree.ledger}, or was given too: "
                f"revoke both (x509_revocation), and have its signer choose random serial numbers"
            )
    return missing


def _require_signed(authority: Authority, certificate: x509.Certificate, label: str) -> None:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise PkiError(
            f"{label} is not signed by the CA in {authority.tree.path}: name the authority that signed it"
        ) from error


def _record(authority: Authority, missing: dict[str, x509.Certificate]) -> None:
    # As when issuing: first the copies, then the ledger, so that a killed run is repeated and nothing lacks its copy.
    paths = [authority.tree.issued(serial) for serial in missing]
    for path, certificate in zip(paths, missing.values(), strict=True):
        write_new(path, (encode_certificate(certificate),), mode=PUBLIC)
    sync_files([*paths, authority.tree.copies], len(paths) + 1)
    authority.ledger.append(map(entry_of, missing.values()))


__all__ = ["ensure_recorded"]
