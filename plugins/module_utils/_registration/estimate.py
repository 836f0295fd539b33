# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to register devices, and roughly what AWS charges for it. Private to the collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._plan import prices
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import Quotas

# Of a device in each region; certificates and policies are registered and attached for nothing.
EVERYWHERE: dict[str, float] = {
    "registry operation": 2,  # CreateThing, AttachThingPrincipal
    "write unit": 3 + 1 + 2,  # the row in the replica, its entry in the index, lease and status
    "read unit": 1 + 3 + 1 + 1,  # row and revocations, the row again, and the status by who waits
    "custom event": 1,
    "pipe request": 1,
}
TRANSITIONS = 24  # of converge-device, of a row that is new
MACHINES: dict[str, dict[str, float]] = {
    "EXPRESS": {"express request": 1, "express GB-s": 0.044},  # docs/performance.md
    "STANDARD": {"transition": TRANSITIONS},
}


def estimate(devices: int, budget: Budget, quotas: Sequence[Quotas], machine_type: str) -> dict[str, Any]:
    """What the module says in advance of so many devices."""
    tightest = budget.tightest
    return {
        "devices_per_second": round(budget.rate, 2),
        "bound_by": f"{tightest.operation} in {tightest.region}, {tightest.quota:g} a second",
        "quotas": {each.region: each.source for each in quotas},
        "seconds": round(devices / budget.rate),
        "usd": round(usd(devices, len(quotas), machine_type), 2),
    }


def usd(devices: int, regions: int, machine_type: str) -> float:
    """What so many devices cost in so many regions; ``machine_type`` is that of the state machines."""
    units = {**EVERYWHERE, **MACHINES[machine_type]}
    return sum(prices.usd(unit, devices * regions * count) for unit, count in units.items())


__all__ = ["estimate", "usd"]
