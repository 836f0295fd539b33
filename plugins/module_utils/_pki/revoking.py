# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are meant by names, serial numbers, ids or a revocation list, and revoking them in the ledgers."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import (
    Authority,
    absolute,
    difference,
    open_authority,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import time_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.crl import is_signed_by, read_crl, revocations_in
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.revocation import (
    Reason,
    Revocation,
    flag_of,
    mark_revoked,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree


@dataclass(frozen=True, kw_only=True)
class Meant:
    """What an operator named; `crl` is the path of a revocation list, `keys` are those of the registry."""

    names: Sequence[str]
    serials: Sequence[str]
    certificate_ids: Sequence[str]
    keys: Sequence[str]
    crl: str | None
    reason: Reason


@dataclass
class Found:
    """What is meant of one authority: to be revoked in its ledger, unknown to it, only on hold, named one by one."""

    authority: Authority
    fresh: dict[str, Revocation] = field(default_factory=dict)
    unknown: dict[str, Revocation] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    @property
    def fingerprint(self) -> str:
        """What the registry calls the authority."""
        return self.authority.certificate.fingerprint(hashes.SHA256()).hex()

    def add(self, serial: str, revocation: Revocation) -> None:
        """Add a certificate unless it is revoked; one on hold is left as it is."""
        entry = self.authority.ledger.find(serial)
        if not revocation.is_final:
            self.held.add(serial)
        elif entry is None:
            self.unknown[serial] = revocation
        elif entry.status != "R":
            self.fresh[serial] = revocation

    def name(self, serial: str, revocation: Revocation) -> None:
        """Add a certificate that the operator named."""
        self.named.add(serial)
        self.add(serial, revocation)


def ensure_revoked(
    *,
    authorities: Sequence[str],
    names: Sequence[str],
    serials: Sequence[str],
    certificate_ids: Sequence[str],
    keys: Sequence[str],
    crl: str | None,
    reason: str,
    check_mode: bool,
) -> dict[str, Any]:
    """Revoke in the ledgers what is named; return the result of the module x509_revocation.

    Raises PkiError, before anything is changed, for a serial number or a list of which the CA is not known.
    """
    meant = Meant(
        names=names,
        serials=[_serial(each) for each in serials],
        certificate_ids=[_certificate_id(each) for each in certificate_ids],
        keys=keys,
        crl=crl,
        reason=Reason.parse(reason),
    )
    trees = [AuthorityTree(absolute(path), "issuing") for path in dict.fromkeys(authorities)]
    with ExitStack() as locks:
        opened = [Authority(each) if check_mode else locks.enter_context(open_authority(each)) for each in trees]
        all_found, strange_ids = _find(opened, meant)
        for found in all_found if not check_mode else []:
            if found.fresh:
                found.authority.ledger = mark_revoked(found.authority.tree, found.fresh)
        return _result(all_found, strange_ids, meant)


def _serial(text: str) -> str:
    """Return a serial number as the ledger has it; colons, a leading 0x and any case are understood."""
    try:
        return serial_text(int(text.replace(":", "").strip(), 16))
    except ValueError as error:
        raise PkiError(f"serial number {text!r} is not hexadecimal: copy it from the ledger") from error


def _certificate_id(text: str) -> str:
    plain = text.strip().lower()
    if len(plain) != 64 or not set(plain) <= set("0123456789abcdef"):
        raise PkiError(f"certificate id {text!r} is none: it is the SHA-256 of the certificate, 64 hexadecimal digits")
    return plain


def _find(authorities: list[Authority], meant: Meant) -> tuple[list[Found], list[str]]:
    now = datetime.now(UTC).replace(microsecond=0)
    revocation = Revocation(now, flag_of(meant.reason.code))
    all_found = [Found(each) for each in authorities]
    strange_ids = set(meant.certificate_ids)
    for found in all_found:
        for name in meant.names:
            for entry in found.authority.ledger.live(name, now):
                found.name(entry.serial, revocation)
        for certificate_id, serial in _with_ids(found.authority, strange_ids):
            strange_ids.discard(certificate_id)
            found.name(serial, revocation)
        prefix = f"serial:{found.fingerprint}:"
        for serial in (_serial(key.removeprefix(prefix)) for key in meant.keys if key.startswith(prefix)):
            if found.authority.ledger.find(serial):
                found.add(serial, revocation)
    for serial in meant.serials:
        _of_serial(all_found, serial).name(serial, revocation)
    if meant.crl:
        _add_list(all_found, absolute(meant.crl))
    return all_found, sorted(strange_ids)


def _with_ids(authority: Authority, certificate_ids: set[str]) -> Iterator[tuple[str, str]]:
    """Yield id and serial number of those that this authority issued, the latest ones first."""
    left = set(certificate_ids)
    for entry in reversed(authority.ledger.entries()) if left else ():
        found = _id_of(authority.tree.issued(entry.serial))
        if found in left:
            left.discard(found)
            yield found, entry.serial
        if not left:
            return


def _id_of(path: Path) -> str:
    """Return AWS IoT's certificateId of the certificate in a file, empty when there is none."""
    try:
        text = path.read_text(encoding="latin-1")
    except FileNotFoundError:
        return ""
    begin = text.find("-----BEGIN CERTIFICATE-----")  # openssl ca may write the certificate in words before it
    if begin < 0:
        return ""
    end = text.find("-----END CERTIFICATE-----", begin)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{text[begin:end]}-----END CERTIFICATE-----")).hexdigest()


def _of_serial(all_found: list[Found], serial: str) -> Found:
    """Return the one whose certificate it is; a number that nobody issued is taken for the only CA's."""
    candidates = [found for found in all_found if found.authority.ledger.find(serial)] or all_found
    if len(candidates) != 1:
        raise PkiError(
            f"serial number {serial} could be a certificate of {len(candidates)} issuing CAs: "
            "name the CA (fleet_revoke_authorities), or the certificate by its id (fleet_certificates)"
        )
    return candidates[0]


def _add_list(all_found: list[Found], path: Path) -> None:
    crl = read_crl(path)
    found = next((each for each in all_found if is_signed_by(crl, each.authority.certificate)), None)
    if found is None:
        raise PkiError(
            f"{path} is signed by none of the issuing CAs, although it names {crl.issuer.rfc4514_string()}: "
            "give a list that one of them signed"
        )
    for serial, revocation in revocations_in(crl).items():
        found.add(serial, revocation)


def _result(all_found: list[Found], strange_ids: list[str], meant: Meant) -> dict[str, Any]:
    certificates = [each for found in all_found for each in _certificates(found, meant.reason)]
    strange = {**_described("", "", None, meant.reason), "named": True}
    changes = [f"{found.authority.tree.ledger}: {serial} revoked" for found in all_found for serial in found.fresh]
    return {
        "changed": bool(changes),
        "certificates": certificates + [{**strange, "certificate_id": each} for each in strange_ids],
        "held": sorted({serial for found in all_found for serial in found.held}),
        "diff": difference(changes),
    }


def _certificates(found: Found, reason: Reason) -> Iterator[dict[str, Any]]:
    """All that is revoked of an authority or is going to be, without what has expired since."""
    now, issuer = datetime.now(UTC), found.fingerprint
    for entry in found.authority.ledger.entries():
        fresh = found.fresh.get(entry.serial)
        revocation = fresh or (Revocation.of(entry) if entry.status == "R" else None)
        if revocation is None or (entry.expires <= now and entry.serial not in found.named | found.fresh.keys()):
            continue
        if not revocation.is_final:
            found.held.add(entry.serial)
            continue
        yield {
            **_described(issuer, entry.serial, revocation, reason if fresh else Reason()),
            "name": entry.common_name,
            "certificate_id": _id_of(found.authority.tree.issued(entry.serial)),
            "named": entry.serial in found.named,
        }
    for serial, revocation in found.unknown.items():
        yield {**_described(issuer, serial, revocation, reason), "named": serial in found.named}


def _described(issuer: str, serial: str, revocation: Revocation | None, reason: Reason) -> dict[str, Any]:
    code = (revocation.name if revocation else "") or reason.code
    return {
        "name": "",
        "serial": serial,
        "key": f"serial:{issuer}:{int(serial, 16):x}" if serial else "",
        "certificate_id": "",
        "reason": str(Reason(code, reason.text)) or "revoked",
        "revoked_at": time_text(revocation.at) if revocation else "",
    }


__all__ = ["ensure_revoked"]
