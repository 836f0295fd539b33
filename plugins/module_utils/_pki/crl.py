# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate revocation lists: read, and made from a ledger as `openssl ca -gencrl` does (RFC 5280, 5)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import read_certificate, time_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger, serial_text, take_serials
from ansible_collections.iotops.fleet.plugins.module_utils._pki.revocation import Revocation
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree

Crl = x509.CertificateRevocationList


def crl_file(tree: AuthorityTree) -> Path:
    """The authority's last revocation list, in PEM; the same in DER has the ending ``.crl`` and no more."""
    return tree.path / "crl" / f"{tree.type}.crl.pem"


def read_crl(path: Path) -> Crl:
    """Return the revocation list in a file, PEM or DER; raise PkiError when it holds none."""
    content = path.read_bytes()
    try:
        return x509.load_pem_x509_crl(content) if b"-----BEGIN" in content else x509.load_der_x509_crl(content)
    except ValueError as error:
        raise PkiError(f"{path} holds no revocation list: give one in PEM or DER (openssl crl reads both)") from error


def is_signed_by(crl: Crl, certificate: x509.Certificate) -> bool:
    """Whether the list is this CA's, and nobody changed it."""
    key: Any = certificate.public_key()
    try:
        return crl.issuer == certificate.subject and crl.is_signature_valid(key)
    except TypeError:  # a key of another kind
        return False


def revocations_in(crl: Crl) -> dict[str, Revocation]:
    """Return the entries of a list by serial number; raise PkiError for a list that speaks of several CAs."""
    point = _extension(crl, x509.IssuingDistributionPoint)
    if point is not None and point.indirect_crl:
        raise PkiError("the revocation list is an indirect one, of certificates of several CAs: give each CA's own")
    return {serial_text(entry.serial_number): _revocation(entry) for entry in crl}


def _revocation(entry: x509.RevokedCertificate) -> Revocation:
    reason, since = _extension(entry, x509.CRLReason), _extension(entry, x509.InvalidityDate)
    return Revocation(
        entry.revocation_date_utc,
        reason.reason if reason else x509.ReasonFlags.unspecified,
        since.invalidity_date_utc if since else None,
    )


def _extension(holder: Crl | x509.RevokedCertificate, kind: Any) -> Any:
    try:
        return holder.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def number_of(crl: Crl) -> int | None:
    """Return the list's number, None when it has none."""
    number = _extension(crl, x509.CRLNumber)
    return number.crl_number if number else None


def describe_crl(crl: Crl) -> dict[str, Any]:
    """Return what a module result says of a revocation list."""
    revoked = revocations_in(crl)
    return {
        "issuer": crl.issuer.rfc4514_string(),
        "number": number_of(crl),
        "this_update": time_text(crl.last_update_utc),
        "next_update": time_text(crl.next_update_utc) if crl.next_update_utc else "",
        "revoked_count": len(revoked),
        "revoked": [
            {"serial": serial, "revoked_at": time_text(each.at), "reason": each.name}
            for serial, each in revoked.items()
        ],
    }


def crl_info(*, path: str, authority_path: str | None) -> dict[str, Any]:
    """Return the result of the module x509_crl_info; raise PkiError when the list is another authority's."""
    file = absolute(path)
    if not file.exists():
        return {"changed": False, "crl": None}
    crl = read_crl(file)
    if authority_path:
        tree = AuthorityTree(absolute(authority_path), "issuing")
        certificate = read_certificate(tree.certificate)
        if certificate is None or not is_signed_by(crl, certificate):
            raise PkiError(f"{file} is not signed by the CA in {tree.path}: have that CA make it (x509_crl)")
    return {"changed": False, "crl": {"path": str(file), **describe_crl(crl)}}


def ensure_crl(
    *, authority_path: str, days: int, renew_before: int, renew: bool, passphrase: str | None, check_mode: bool
) -> dict[str, Any]:
    """Make the authority's revocation list say what its ledger says; return the result of the module x509_crl.

    Raises PkiError when there is no such authority, or its key or its files are of no use.
    """
    if days < 1 or not 0 <= renew_before < days:
        raise PkiError(f"days={days}, renew_before={renew_before}: renew a list within its days")
    tree = AuthorityTree(absolute(authority_path), "issuing")
    if check_mode:
        crl, reason = _state(Authority(tree), timedelta(days=renew_before), renew=renew)
        return _result(tree, crl, reason)
    with open_authority(tree, passphrase=passphrase) as authority:
        crl, reason = _state(authority, timedelta(days=renew_before), renew=renew)
        if reason:
            crl = _make(authority, crl, timedelta(days=days))
            write_atomic(_der(tree), crl.public_bytes(Encoding.DER))
            write_atomic(crl_file(tree), crl.public_bytes(Encoding.PEM))
    return _result(tree, crl, reason)


def _der(tree: AuthorityTree) -> Path:
    return crl_file(tree).with_suffix("")


def _state(authority: Authority, renew_before: timedelta, *, renew: bool) -> tuple[Crl | None, str]:
    """Return the list that is there, and why another one is to be made; empty when it is not."""
    file = crl_file(authority.tree)
    if not file.exists():
        return None, "missing"
    crl = read_crl(file)
    if not is_signed_by(crl, authority.certificate):
        return None, "signed by another CA"
    if renew:
        return crl, "to be renewed"
    if revocations_in(crl) != _in_ledger(authority.ledger):
        return crl, "not what the ledger says"
    if crl.next_update_utc is None or crl.next_update_utc <= datetime.now(UTC) + renew_before:
        return crl, "due"
    der = _der(authority.tree)
    if not der.exists() or der.read_bytes() != crl.public_bytes(Encoding.DER):
        return crl, "missing in DER"
    return crl, ""


def _in_ledger(ledger: Ledger) -> dict[str, Revocation]:
    return {entry.serial: Revocation.of(entry) for entry in ledger.entries() if entry.status == "R"}


def _make(authority: Authority, former: Crl | None, lifetime: timedelta) -> Crl:
    signer, revoked = authority.signer, _in_ledger(authority.ledger)
    numbers = authority.tree.path / "crlnumber"
    (number,) = take_serials(numbers, 1)
    if former is not None and number <= (number_of(former) or -1):
        raise PkiError(
            f"number {serial_text(number)} of the next revocation list is not above {number_of(former):X}, "
            f"that of the last one: write a higher one into {numbers}"
        )
    now = datetime.now(UTC)
    # Entries are given at once: added one by one, each would copy those before it.
    builder = x509.CertificateRevocationListBuilder(revoked_certificates=list(_entries(revoked)))
    return (
        builder.issuer_name(signer.name)
        .last_update(now)
        .next_update(now + lifetime)
        .add_extension(signer.key_identifier, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
        .sign(signer.key, signer.digest)
    )


def _entries(revoked: dict[str, Revocation]) -> Iterable[x509.RevokedCertificate]:
    for serial, revocation in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(revocation.at)
        # RFC 5280, 5.3.1: no reason is better than an unspecified one.
        if revocation.reason is not x509.ReasonFlags.unspecified:
            entry = entry.add_extension(x509.CRLReason(revocation.reason), critical=False)
        if revocation.invalid_since:
            entry = entry.add_extension(x509.InvalidityDate(revocation.invalid_since), critical=False)
        yield entry.build()


def _result(tree: AuthorityTree, crl: Crl | None, reason: str) -> dict[str, Any]:
    described = describe_crl(crl) if crl is not None else {}
    return {
        "changed": bool(reason),
        "crl": {"path": str(crl_file(tree)), "der_path": str(_der(tree)), **described},
        "diff": difference([f"{crl_file(tree)}: {reason}"] if reason else []),
    }


__all__ = ["crl_file", "crl_info", "describe_crl", "ensure_crl", "is_signed_by", "read_crl", "revocations_in"]
