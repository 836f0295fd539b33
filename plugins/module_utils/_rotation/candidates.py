# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices have to rotate, by the rows of one region's replica. Private to the collection."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._registry.ends import End, end_of
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.jobs import number

ROW = ("ThingName", "State", "CertificateId", "Certificates")
# Of the devices that cannot rotate so many are named.
NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Which devices are meant, in one of three ways.

    ``names``; or those that use a certificate of ``issuer`` (SHA-256 of the CA's DER); or those whose certificate
    ends within ``days``.
    """

    names: Collection[str] = ()
    issuer: str = ""
    days: int = 0

    def means(self, row: Item, end: End, now: datetime) -> bool:
        """Whether the device with this row, which uses the certificate ``end``, is meant."""
        if self.names:
            return row["ThingName"] in self.names
        if self.issuer:
            return bool(row["Certificates"][end.certificate_id]["IssuerFingerprint"] == self.issuer)
        return end.not_after <= now + timedelta(days=self.days)


@dataclass(frozen=True)
class Ledgers:
    """Finds the certificates that functions signed and that the ledger of their CA does not have.

    ``by_issuer``: ledgers by the SHA-256 of the CA's DER. ``missing``: certificates in PEM by the same.
    """

    by_issuer: Mapping[str, Ledger] = field(default_factory=dict)
    missing: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def take(self, row: Item) -> None:
        """Look at the certificates of a row that rotation jobs made; from one thread at a time."""
        for each in row["Certificates"].values():
            ledger = self.by_issuer.get(each["IssuerFingerprint"])
            if ledger and "JobId" in each and ledger.find(serial_text(int(each["Serial"], 16))) is None:
                self.missing[each["IssuerFingerprint"]].append(each["Pem"])


@dataclass
class Candidates:
    """Collects rows from any thread; of a million devices it holds those whose certificates end first.

    ``due`` counts those that are meant, ``left_out`` says of the first ones why they get no job, by name. ``last`` is
    the highest number of a wave that any row names. ``exclude``: devices that have a job.
    """

    application: str
    wish: Wish
    now: datetime
    limit: int
    exclude: Collection[str] = ()
    ledgers: Ledgers = field(default_factory=Ledgers)
    due: int = 0
    last: int = 0
    excluded: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    left_out_count: int = 0
    seen: set[str] = field(default_factory=set)
    _soonest: list[End] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, row: Item) -> None:
        """Look at a row with the attributes ``ROW``."""
        waves = [number(self.application, each.get("JobId", "")) for each in row["Certificates"].values()]
        end = end_of(row, self.now)
        with self._lock:
            self.last = max(self.last, *waves, 0)
            self.ledgers.take(row)
            if row["ThingName"] in self.wish.names:
                self.seen.add(row["ThingName"])
            if why := self._hindrance(row, end):
                self._leave_out(row["ThingName"], why)
            elif end is not None and self.wish.means(row, end, self.now):
                self._add(end)

    def chosen(self) -> list[End]:
        """Those that are meant and can rotate, at most ``limit``, the soonest end first."""
        return sorted(self._soonest)[: self.limit]

    def _hindrance(self, row: Item, end: End | None) -> str:
        """Why a device that is meant cannot rotate; "" when it can, or when it is not meant."""
        named = row["ThingName"] in self.wish.names
        if end is None or row["State"] != "ACTIVE":
            meant = named or (end is not None and self.wish.means(row, end, self.now))
            return f"is {row['State']}, without a certificate to connect with" if meant else ""
        if end.not_after <= self.now and self.wish.means(row, end, self.now):
            return f"its certificate has expired at {end.not_after:%Y-%m-%dT%H:%M:%SZ}: it cannot connect"
        return ""

    def _leave_out(self, name: str, why: str) -> None:
        self.left_out_count += 1
        if len(self.left_out) < NAMED:
            self.left_out[name] = why

    def _add(self, end: End) -> None:
        if end.thing_name in self.exclude:
            self.excluded += 1
            return
        self.due += 1
        self._soonest.append(end)
        if len(self._soonest) > 2 * self.limit:
            self._soonest = self.chosen()


def waves_of(chosen: list[End], *, size: int, canary: int, canaries: Collection[str]) -> list[tuple[bool, list[End]]]:
    """The canary wave and those that follow: the named canaries, or the first ``canary``; then ``size`` each."""
    first = [each for each in chosen if each.thing_name in canaries] if canaries else chosen[:canary]
    rest = [each for each in chosen if each not in first] if canaries else chosen[canary:]
    waves = [(True, first)] if first else []
    return waves + [(False, rest[start : start + size]) for start in range(0, len(rest), size)]


__all__ = ["ROW", "Candidates", "Ledgers", "Wish", "waves_of"]
