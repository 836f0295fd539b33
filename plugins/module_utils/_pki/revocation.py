# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a ledger says of a revocation, and revoking in it, in the words of `openssl ca -revoke`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, Ledger
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree

# openssl-ca(1), -crl_reason, -crl_compromise, -crl_CA_compromise and -crl_hold; RFC 5280, 5.3.1.
_IN_LEDGER = {
    "unspecified": x509.ReasonFlags.unspecified,
    "keyCompromise": x509.ReasonFlags.key_compromise,
    "CACompromise": x509.ReasonFlags.ca_compromise,
    "affiliationChanged": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessationOfOperation": x509.ReasonFlags.cessation_of_operation,
    "certificateHold": x509.ReasonFlags.certificate_hold,
    "removeFromCRL": x509.ReasonFlags.remove_from_crl,
    "keyTime": x509.ReasonFlags.key_compromise,
    "CAkeyTime": x509.ReasonFlags.ca_compromise,
    "holdInstruction": x509.ReasonFlags.certificate_hold,
}
_BY_LOWER_NAME = {name.lower(): flag for name, flag in _IN_LEDGER.items()}
_NAMES = {flag: name for name, flag in reversed(_IN_LEDGER.items())}
# Reasons of a device's certificate; a hold could be lifted, which nothing here can.
CHOSEN = ("unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation")
_NOT_FINAL = (x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl)
_TIMES = {13: "%y%m%d%H%M%SZ", 15: "%Y%m%d%H%M%SZ"}


@dataclass(frozen=True)
class Reason:
    """Why: one of ``CHOSEN`` or empty, and the operator's words."""

    code: str = ""
    text: str = ""

    @classmethod
    def parse(cls, said: str) -> Reason:
        """Return the reason in ``keyCompromise``, ``keyCompromise: lost at the depot`` or ``lost at the depot``.

        Raises PkiError for a code of RFC 5280 that cannot be chosen for a device.
        """
        first, _colon, rest = said.strip().partition(":")
        code = next((each for each in CHOSEN if each.lower() == first.strip().lower()), "")
        if code:
            return cls(code, rest.strip())
        if re.sub(r"\W", "", first).lower() in {flag.value.lower() for flag in x509.ReasonFlags}:
            raise PkiError(f"reason {first!r} is not one of a device: use {', '.join(CHOSEN)}, or other words")
        return cls("", said.strip())

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.text) if part)


@dataclass(frozen=True)
class Revocation:
    """When a certificate was revoked and why; `invalid_since` is when its key is thought to have leaked."""

    at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified
    invalid_since: datetime | None = None

    @classmethod
    def of(cls, entry: Entry) -> Revocation:
        """Return what the ledger says of a revoked entry; raise PkiError when that cannot be understood."""
        time, _comma, why = entry.revocation.partition(",")
        name, _comma, detail = why.partition(",")
        try:
            reason = _BY_LOWER_NAME[name.lower()] if name else x509.ReasonFlags.unspecified
            return cls(_time(time), reason, _time(detail) if name.lower().endswith("keytime") else None)
        except (KeyError, ValueError) as error:
            raise PkiError(
                f"the ledger says {entry.revocation!r} of the revocation of serial number {entry.serial}: "
                "correct its third column (time, comma, reason)"
            ) from error

    @property
    def is_final(self) -> bool:
        """Whether it can never be lifted."""
        return self.reason not in _NOT_FINAL

    @property
    def name(self) -> str:
        """The reason in OpenSSL's words, empty for none."""
        return "" if self.reason is x509.ReasonFlags.unspecified else _NAMES.get(self.reason, "")

    def text(self) -> str:
        """Return it as `openssl ca -revoke` writes it into the ledger."""
        time = self.at.astimezone(UTC)
        written = time.strftime(_TIMES[13] if time.year < 2050 else _TIMES[15])
        return f"{written},{self.name}" if self.name else written


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIMES.get(len(text), "")).replace(tzinfo=UTC)


def flag_of(code: str) -> x509.ReasonFlags:
    """Return the flag of one of ``CHOSEN``, or of an empty code."""
    return _IN_LEDGER[code or "unspecified"]


def mark_revoked(tree: AuthorityTree, revocations: Mapping[str, Revocation]) -> Ledger:
    """Mark entries of the ledger as revoked, by serial number; return the ledger as it is then.

    Whoever calls holds the authority's lock. Entries that are revoked already stay as they are.
    """
    entries = [
        replace(entry, status="R", revocation=revocations[entry.serial].text())
        if entry.serial in revocations and entry.status != "R"
        else entry
        for entry in Ledger(tree.ledger).entries()
    ]
    write_atomic(tree.ledger, "".join(f"{entry.line()}\n" for entry in entries).encode("latin-1"))
    return Ledger(tree.ledger)


__all__ = ["CHOSEN", "Reason", "Revocation", "flag_of", "mark_revoked"]
