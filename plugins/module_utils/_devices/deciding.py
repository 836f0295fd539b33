# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One decision on many devices, written no faster than the regions follow. Private to the collection."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower, Written, written
from ansible_collections.iotops.fleet.plugins.module_utils._registration.pacing import WritersPace
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted, changes
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, change
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import READ_AT_ONCE, existing, parts
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# Calls that converge-device makes in every region for each certificate of a device whose state changes.
CALLS = {
    "ACTIVE": {"UpdateCertificate": 1},
    "SUSPENDED": {"UpdateCertificate": 1},
    "DELETED": {"UpdateCertificate": 1, "DetachPolicy": 1, "DetachThingPrincipal": 1, "DeleteThing": 1},
}
_NAMED = 5  # so many devices are named in an error; the rest is counted


@dataclass(frozen=True)
class Change:
    """A device whose state changes: ``certificates`` are those that convergence has to touch."""

    name: str
    before: str
    certificates: int


@dataclass
class Outlook:
    """What a decision does: who is ``changing``, the rows that say it ``already``, why others are left alone."""

    changing: list[Change] = field(default_factory=list)
    already: dict[str, Written] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def certificates(self) -> int:
        """Certificates of all that are changing; a device without one counts as one."""
        return sum(each.certificates for each in self.changing)


@dataclass
class Decider:
    """Writes through one replica, ``threads`` calls at a time; ``report`` is told how far it is."""

    replica: Replica
    wanted: Wanted
    threads: int
    report: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def outlook(self, names: Sequence[str], *, ignore_unknown: bool = False) -> Outlook:
        """Look at every device; nothing is written.

        Raises:
            FleetError: one of them has no row, unless those are ignored.

        """
        found, unknown = Outlook(), list[str]()
        with ThreadPoolExecutor(self.threads) as pool:
            for part, rows in pool.map(self._read, list(parts(names, READ_AT_ONCE))):
                for name in part:
                    if name in rows:
                        self._sort(rows[name], found)
                    else:
                        unknown.append(name)
        if unknown and not ignore_unknown:
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise FleetError(
                f"{', '.join(unknown[:_NAMED])}{more}: no row in {self.replica.inventory} of {self.replica.region}, "
                "and nothing was changed; correct the names (devices.yml with fleet_action=list shows what there is)"
            )
        return found

    def _read(self, part: Sequence[str]) -> tuple[Sequence[str], dict[str, Row]]:
        rows = existing(self.replica.client, self.replica.inventory, "ThingName", part)
        return part, {row["ThingName"]: row for row in rows}

    def _sort(self, row: Row, found: Outlook) -> None:
        name, state = row["ThingName"], row["State"]
        if state == self.wanted.state:
            found.already[name] = written(row)
            return
        try:
            changes(row, self.wanted, datetime.now(UTC))
        except FleetError as error:
            found.refused[name] = str(error)
            return
        alive = sum(entry["Status"] != "REVOKED" for entry in row["Certificates"].values())
        found.changing.append(Change(name, state, max(1, alive)))

    def write(self, outlook: Outlook, budget: Budget, followers: Sequence[Follower], timeout: float) -> int:
        """Write the rows of those that are changing, and return how many.

        Who was changed by somebody else meanwhile, so that the decision cannot be, is added to those refused.

        Raises:
            FleetError: a region does not answer, or none of its rows was applied for ``timeout`` seconds.

        """
        pace = WritersPace(self, budget, followers, timeout, total=len(outlook.changing))
        pace.expect(outlook.already)
        with ThreadPoolExecutor(self.threads) as pool:
            for chunk in parts(outlook.changing, max(1, min(self.threads, int(budget.rate)))):
                pace.admit(sum(each.certificates for each in chunk))
                done = list(pool.map(self._put, chunk))
                outlook.refused |= {each.name: why for each, (_row, why) in zip(chunk, done, strict=True) if why}
                pace.wrote({row["ThingName"]: written(row) for row, _why in done if row})
        return pace.written

    def _put(self, device: Change) -> tuple[Row, str]:
        try:
            _before, after, _keys = change(self.replica, device.name, self.wanted, check_mode=False)
        except FleetError as error:
            return {}, str(error)
        return after, ""


__all__ = ["CALLS", "Change", "Decider", "Outlook"]
