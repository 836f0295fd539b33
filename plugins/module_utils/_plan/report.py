# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as data: how long things take, what to ask AWS for, what it costs. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._plan import load, monthly, once, work
from ansible_collections.iotops.fleet.plugins.module_utils._plan.bill import Line, by_service, total
from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import ALL_QUOTAS, MACHINE_TYPES, Fleet
from ansible_collections.iotops.fleet.plugins.module_utils._plan.work import Request, Work

FASTEST_KNOCKS = 0.5  # a second: a device that is refused pauses two seconds at least


def plan(fleet: Fleet) -> dict[str, Any]:
    """The plan; every time in seconds, every price in USD."""
    works = all_work(fleet)
    shown = [max(kind, key=lambda each: each.pace(fleet).seconds) for kind in works]
    seconds = shown[0].pace(fleet).seconds
    onboarding, backfill = once.onboarding(fleet, seconds), once.backfill(fleet)
    months = [total(monthly.monthly(fleet, month)) for month in range(1, fleet.months + 1)]
    return {
        "devices": fleet.devices,
        "regions": dict(fleet.shares),
        "quotas": {region: quotas.source for region, quotas in fleet.quotas.items()},
        "work": [_work(each, fleet) for each in shown],
        "requests": _requests(fleet, [each for kind in works for each in kind]),
        "loads": [_load(each, fleet) for each in load.loads(fleet)],
        "fixed": _fixed(fleet),
        "designs": _designs(fleet),
        "ways": [{"way": way, "usd": _usd(usd)} for way, usd in monthly.ways(fleet)],
        "onboarding": _bill(onboarding),
        "backfill": _bill(backfill),
        "monthly": _bill(monthly.monthly(fleet)),
        "months": [_usd(usd) for usd in months],
        "usd": _usd(total(onboarding) + sum(months)),
    }


def all_work(fleet: Fleet) -> list[list[Work]]:
    """What is planned, by kind: first that all devices join; what concerns one region is there for each of them."""
    regions = fleet.regions
    depths = ("rows", "registry", "full", "digest") if fleet.indexing else ("rows", "registry", "full")
    kinds = [
        [work.onboarding(fleet)],
        [work.backfill(fleet, region) for region in regions],
        *([work.check(fleet, depth)] for depth in depths),
        [work.reconnect(fleet, lost) for lost in regions if len(regions) > 1],
        [work.reconnect_all(fleet, region) for region in regions],
    ]
    return [kind for kind in kinds if kind]


def _work(each: Work, fleet: Fleet) -> dict[str, Any]:
    pace = each.pace(fleet)
    quota = ALL_QUOTAS[pace.quota]
    value = fleet.quotas[pace.region].per_second[pace.quota]
    return {
        "name": each.name,
        "devices": each.devices,
        "seconds": _neat(pace.seconds),
        "devices_per_second": _neat(each.devices / pace.seconds) if pace.seconds else None,
        "region": pace.region,
        "quota": pace.quota,
        "value": value,
        "unit": quota.unit,
        "adjustable": quota.adjustable,
        "from": fleet.origin(pace.region, pace.quota),
        "hours": each.hours,
        "wanted": each.wanted(pace, fleet),
        "calls": {region: _neatly(calls) for region, calls in each.calls.items()},
    }


def _requests(fleet: Fleet, works: Iterable[Work]) -> list[dict[str, Any]]:
    """One of each region and quota: the largest value, and all that it is for."""
    found: dict[tuple[str, str], list[Request]] = {}
    of_works = (request for each in works for request in each.requests(fleet))
    for request in (*load.requests(fleet), *of_works):
        found.setdefault((request.region, request.quota), []).append(request)
    order = {region: index for index, region in enumerate(fleet.regions)}
    return [
        {
            "region": region,
            "quota": name,
            "ask_for": ALL_QUOTAS[name].asked_for,
            "service": ALL_QUOTAS[name].service,
            "code": ALL_QUOTAS[name].code,
            "adjustable": ALL_QUOTAS[name].adjustable,
            "from": fleet.origin(region, name),
            "unit": ALL_QUOTAS[name].unit,
            "value": requests[0].value,
            "wanted": max(request.wanted for request in requests),
            "for": [request.why for request in requests],
        }
        for (region, name), requests in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def _load(each: load.Load, fleet: Fleet) -> dict[str, Any]:
    return {
        "region": each.region,
        "quota": each.quota,
        "unit": ALL_QUOTAS[each.quota].unit,
        "from": fleet.origin(each.region, each.quota),
        "now": _neat(each.now),
        "without_another": _neat(each.later),
        "value": each.value,
        "enough": max(each.now, each.later) <= each.value,
    }


def _fixed(fleet: Fleet) -> list[dict[str, Any]]:
    """What AWS raises for nobody, and how near the fleet comes to it."""
    used = {
        "ConnectOfClient": FASTEST_KNOCKS,
        "PublishOfConnection": fleet.messages_per_day / 86_400 * fleet.peak,
        "MessageSize": fleet.message_bytes,
    }
    quotas = {name: ALL_QUOTAS[name] for name in used}
    return [
        {
            "quota": name,
            "title": quota.title,
            "value": quota.value,
            "unit": quota.unit,
            "from": fleet.origin(fleet.regions[0], name),
            "used": _neat(used[name]),
            "enough": quota.value is not None and used[name] <= quota.value,
        }
        for name, quota in quotas.items()
    ]


def _designs(fleet: Fleet) -> list[dict[str, Any]]:
    """How fast devices join, and for how much, by each way to let them in."""
    found = []
    for design, machine_type in ((design, kind) for design in DESIGNS for kind in MACHINE_TYPES):
        each = work.onboarding(fleet, design, machine_type)
        seconds = each.pace(fleet).seconds
        usd = total(once.onboarding(fleet, seconds, design=design, machine_type=machine_type))
        found.append(_design(design, machine_type, each, fleet, usd))
        if design == "lookup":
            filtered = total(once.lookup(fleet.devices, len(fleet.shares), machine_type, filtered=True))
            found.append(_design("lookup, filtered pipe", machine_type, each, fleet, filtered))
    return found


def _design(name: str, machine_type: str, each: Work, fleet: Fleet, usd: float) -> dict[str, Any]:
    pace = each.pace(fleet)
    return {
        "design": name,
        "means": DESIGNS[name.partition(",")[0]].means,
        "machine_type": machine_type,
        "devices_per_second": _neat(each.devices / pace.seconds),
        "seconds": _neat(pace.seconds),
        "region": pace.region,
        "quota": pace.quota,
        "usd": _usd(usd),
    }


def _bill(lines: Iterable[Line]) -> dict[str, Any]:
    kept = list(lines)
    return {
        "usd": _usd(total(kept)),
        "services": {service: _usd(usd) for service, usd in by_service(kept).items()},
        "lines": [
            {**each._asdict(), "units": _neat(each.units), "usd": _usd(each.usd), "source": each.source}
            for each in kept
        ],
    }


def _usd(value: float) -> float:
    return round(value, 2)


def _neat(value: float) -> float:
    """Six digits that count."""
    return float(f"{value:.6g}")


def _neatly(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _neat(value) for name, value in values.items()}


__all__ = ["all_work", "plan"]
