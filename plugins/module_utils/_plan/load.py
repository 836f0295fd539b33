# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet that runs asks of each region all the time, also when another one is lost. Private."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import Fleet
from ansible_collections.iotops.fleet.plugins.module_utils._plan.work import Request, parts_without

KEYS_BYTES = 160  # of a stored message: keys, region and topic


class Load(NamedTuple):
    """What is used of a quota: ``now``, and ``later``, when the largest other region is lost."""

    region: str
    quota: str
    now: float
    later: float
    value: float


def write_units(fleet: Fleet) -> int:
    """Write units of a stored message, in each replica."""
    return math.ceil((fleet.message_bytes + KEYS_BYTES) / 1024)


def loads(fleet: Fleet) -> list[Load]:
    """The loads of every region, of what the fleet uses."""
    found = []
    for region, share in fleet.shares.items():
        now, later = _used(fleet, share), _used(fleet, share_after(fleet, region))
        values = fleet.quotas[region].per_second
        found += [Load(region, quota, used, later[quota], values[quota]) for quota, used in now.items()]
    return [load for load in found if load.now or load.later]


def requests(fleet: Fleet) -> Iterator[Request]:
    """The quotas that are too small for what is asked all the time, before or after a loss."""
    for load in loads(fleet):
        if max(load.now, load.later) > load.value:
            why = "run" if load.now > load.value else "run without another region"
            yield Request(load.region, load.quota, load.value, math.ceil(max(load.now, load.later)), why)


def share_after(fleet: Fleet, region: str) -> float:
    """The part of the devices that a region has when the largest other one is lost."""
    others = {each: share for each, share in fleet.shares.items() if each != region}
    if not others:
        return fleet.shares[region]
    lost = max(others, key=lambda each: others[each])
    return fleet.shares[region] + fleet.shares[lost] * parts_without(fleet, lost)[region]


def _used(fleet: Fleet, share: float) -> dict[str, float]:
    """By quota. Every replica takes every message, also those of other regions."""
    messages = fleet.messages_a_second * share
    used = {
        "ConcurrentConnections": fleet.devices * share,
        "Connect": fleet.devices * share * fleet.connects_per_day / 86_400 * fleet.peak,
        "InboundPublish": messages,
        "RuleEvaluations": messages,
        "TableWrites": fleet.messages_a_second * write_units(fleet),
    }
    if fleet.store == "EXPRESS":
        used["StartExecutionExpress"] = messages
    elif fleet.store == "STANDARD":
        used |= {"StartExecutionStandard": messages, "StateTransition": 2 * messages}
    return used


__all__ = ["KEYS_BYTES", "Load", "loads", "requests", "share_after", "write_units"]
