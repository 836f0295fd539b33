# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the certificates that devices use end, by their rows (docs/architecture.md).

Plain values in, plain values out. Of the standard library only: this file is packed into a Lambda function too.
Private to the collection.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

LEAVING = ("RetireAt", "RevokeAt")
# What a reader of whole rows has to ask for.
ATTRIBUTES = ("ThingName", "State", "CertificateId", "Certificates")


class End(NamedTuple):
    """The certificate that a device uses, and when it ends; of two the one that ends sooner is first."""

    not_after: datetime
    thing_name: str
    certificate_id: str


def end_of(row: Mapping[str, Any], now: datetime) -> End | None:
    """The certificate that an ACTIVE or SUSPENDED device uses, expired or not; None when it has none to use.

    It is the current one, or where that is out of use the one that lasts longest of those that it showed up with.
    """
    if row["State"] not in ("ACTIVE", "SUSPENDED"):
        return None
    usable = {
        certificate_id: datetime.fromisoformat(certificate["NotAfter"])
        for certificate_id, certificate in row["Certificates"].items()
        if certificate["Status"] == "ACTIVE"
        and not ("PresentBy" in certificate and "PresentedAt" not in certificate)
        and not any(datetime.fromisoformat(certificate[name]) <= now for name in LEAVING if name in certificate)
    }
    if not usable:
        return None
    current = row.get("CertificateId", "")
    used = current if current in usable else max(usable, key=lambda each: (usable[each], each))
    return End(usable[used], row["ThingName"], used)


class Tally:
    """Devices counted by when their certificates end; of a million rows it holds the ``named`` soonest ends.

    ``within[d]`` is the number of devices whose certificate ends within ``d`` days, for each of ``days``; ``within[0]``
    that of the expired ones.
    """

    def __init__(self, *, now: datetime, days: Iterable[int], named: int) -> None:
        self.in_use = 0
        self._now, self._named = now, named
        self._limits = {each: now + timedelta(days=each) for each in days}
        self.within = dict.fromkeys(sorted(self._limits), 0)
        self._soonest: list[End] = []
        self._lock = threading.Lock()

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row; from any thread."""
        end = end_of(row, self._now)
        if end is None:
            return
        with self._lock:
            self.in_use += 1
            for days, limit in self._limits.items():
                self.within[days] += end.not_after <= limit
            self._soonest.append(end)
            if len(self._soonest) > 2 * self._named:
                self._soonest = self.soonest()

    def soonest(self) -> list[End]:
        """The ``named`` certificates that end first, the soonest first."""
        return sorted(self._soonest)[: self._named]


def days_until(end: datetime, now: datetime) -> float:
    """Days with two decimals, rounded down; negative when it is past."""
    return (end.astimezone(UTC) - now) // timedelta(seconds=864) / 100


__all__ = ["ATTRIBUTES", "End", "Tally", "days_until", "end_of"]
