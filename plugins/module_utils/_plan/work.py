# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that a fleet gives each region, how long AWS's quotas let it take, and what to ask AWS for. Private."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import backfill_calls, check_calls, seconds
from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import Fleet

Calls = Mapping[str, Mapping[str, float]]
# Read units of a row and of its status, when all are read in pages; 8 KB each.
ROW_READS = 2 / 8 + 1 / 8


class Pace(NamedTuple):
    """How long work takes, and the region and quota that decide; both empty when nothing does."""

    seconds: float
    region: str
    quota: str


class Request(NamedTuple):
    """A quota that is too small for a wish, and the value that would do."""

    region: str
    quota: str
    value: float
    wanted: float
    why: str


@dataclass(frozen=True)
class Work:
    """``calls`` are what quotas are for, in all, by region and name of the quota; ``hours`` how long it may take."""

    name: str
    devices: int
    calls: Calls
    hours: float

    def pace(self, fleet: Fleet) -> Pace:
        """How long it takes with the quotas that there are."""
        paces = []
        for region, calls in self.calls.items():
            needed, quota = seconds(calls, fleet.quotas[region], fleet.quota_share)
            paces.append(Pace(needed, region, quota))
        return max(paces, key=lambda pace: pace.seconds, default=Pace(0.0, "", ""))

    def wanted(self, pace: Pace, fleet: Fleet) -> int:
        """The value of the quota that decides with which this work would end within its hours."""
        return math.ceil(self.calls[pace.region][pace.quota] / (self.hours * 3600 * fleet.quota_share))

    def requests(self, fleet: Fleet) -> Iterator[Request]:
        """The quotas that do not let it end within its hours."""
        for region, calls in self.calls.items():
            values = fleet.quotas[region].per_second
            for quota, count in calls.items():
                wanted = count / (self.hours * 3600 * fleet.quota_share)
                if quota in values and wanted > values[quota]:
                    yield Request(region, quota, values[quota], math.ceil(wanted), self.name)


def onboarding(fleet: Fleet, design: str = "", machine_type: str = "") -> Work:
    """All devices enter, each through its own region; by default as the fleet's design and type of machine say."""
    chosen = DESIGNS[design or fleet.design]
    here, there = chosen.machines(machine_type or fleet.machine_type)
    calls = {}
    for region, share in fleet.shares.items():
        entered, others = fleet.devices * share, fleet.devices * (1 - share)
        totals: dict[str, float] = {}
        _add(totals, {**chosen.entry, **here}, entered)
        _add(totals, {**chosen.other, **there}, others)
        _add(totals, chosen.lookups, entered * (len(fleet.shares) - 1))
        calls[region] = totals
    return Work("onboard", fleet.devices, calls, fleet.hours)


def backfill(fleet: Fleet, region: str) -> Work:
    """A region that has nothing yet gets every device."""
    calls = backfill_calls(fleet.devices, fleet.revoked)
    return Work(f"backfill {region}", fleet.devices + fleet.revoked, {region: calls}, fleet.hours)


def check(fleet: Fleet, depth: str) -> Work:
    """Every region is compared with its rows, all at the same time."""
    known = fleet.devices + fleet.revoked
    each: dict[str, float] = {**check_calls(fleet.devices, known, depth)}
    if depth != "digest":
        each["TableReads"] = known * ROW_READS
    return Work(f"check {depth}", fleet.devices, dict.fromkeys(fleet.regions, each), fleet.hours)


def reconnect(fleet: Fleet, lost: str) -> Work:
    """The devices of a lost region connect to the others."""
    devices = fleet.devices * fleet.shares[lost]
    calls = {region: {"Connect": devices * part} for region, part in parts_without(fleet, lost).items()}
    return Work(f"reconnect after the loss of {lost}", round(devices), calls, fleet.reconnect_minutes / 60)


def reconnect_all(fleet: Fleet, region: str) -> Work:
    """All devices connect to one region."""
    calls = {region: {"Connect": float(fleet.devices)}}
    return Work(f"reconnect all in {region}", fleet.devices, calls, fleet.reconnect_minutes / 60)


def parts_without(fleet: Fleet, lost: str) -> dict[str, float]:
    """How the devices of a lost region spread over the others: as the others' own do."""
    left = {region: share for region, share in fleet.shares.items() if region != lost}
    total = sum(left.values())
    return {region: share / total if total else 1 / len(left) for region, share in left.items()}


def _add(totals: dict[str, float], each: Mapping[str, float], devices: float) -> None:
    for name, count in each.items():
        totals[name] = totals.get(name, 0.0) + count * devices


__all__ = [
    "Pace",
    "Request",
    "Work",
    "backfill",
    "check",
    "onboarding",
    "parts_without",
    "reconnect",
    "reconnect_all",
]
