# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as a person is shown it: rows for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._plan.durations import duration

Row = dict[str, Any]


def plan_tables(plan: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Return the rows of each table of a plan, which is what ``fleet_plan`` returns.

    These are ``work``, ``requests``, ``loads``, ``fixed``, ``designs``, ``once``, ``monthly``, ``ways``, ``sources``.
    """
    return {
        "work": [_work(each) for each in plan["work"]],
        "requests": [_request(each) for each in plan["requests"]],
        "loads": [_load(each) for each in plan["loads"]],
        "fixed": [_fixed(each) for each in plan["fixed"]],
        "designs": [_design(each) for each in plan["designs"]],
        "once": [
            _line(each, bill) for bill in ("onboarding", "backfill") for each in plan[bill]["lines"] if each["usd"]
        ],
        "monthly": [_line(each, "monthly") for each in plan["monthly"]["lines"] if each["usd"]],
        "ways": [{"messages of a month": each["way"], "USD": f"{each['usd']:,.2f}"} for each in plan["ways"]],
        "sources": _sources(plan),
    }


def _sources(plan: Mapping[str, Any]) -> list[Row]:
    """Where the values of all quotas that are shown are known from."""
    found: dict[str, list[str]] = {}
    for each in (*plan["work"], *plan["requests"], *plan["loads"], *plan["fixed"]):
        names = found.setdefault(each["from"], [])
        if each["quota"] not in names:
            names.append(each["quota"])
    return [{"known from": source, "quotas": ", ".join(sorted(names))} for source, names in found.items()]


def _work(each: Mapping[str, Any]) -> Row:
    rate = each["devices_per_second"]
    enough = each["wanted"] <= each["value"]
    return {
        "what": each["name"],
        "takes": duration(each["seconds"]),
        "devices/s": _count(rate) if each["seconds"] >= 1 else None,
        "decided by": f"{each['quota']} in {each['region']}",
        "which is": f"{_count(each['value'])} {each['unit']}",
        "for": duration(each["hours"] * 3600),
        "it has to be": "as it is" if enough else _count(each["wanted"]),
    }


def _request(each: Mapping[str, Any]) -> Row:
    return {
        "region": each["region"],
        "ask for": each["ask_for"],
        "is": _count(each["value"]),
        "wanted": _count(each["wanted"]) if each["adjustable"] else "cannot be raised",
        "for": ", ".join(each["for"]),
    }


def _load(each: Mapping[str, Any]) -> Row:
    return {
        "region": each["region"],
        "quota": each["quota"],
        "used": _count(each["now"]),
        "when another is lost": _count(each["without_another"]),
        "is": f"{_count(each['value'])} {each['unit']}",
        "enough": "yes" if each["enough"] else "no",
    }


def _fixed(each: Mapping[str, Any]) -> Row:
    return {
        "cannot be raised": each["title"],
        "is": f"{_count(each['value'])} {each['unit']}",
        "used": _count(each["used"]),
        "enough": "yes" if each["enough"] else "no",
    }


def _design(each: Mapping[str, Any]) -> Row:
    return {
        "design": each["design"],
        "machines": each["machine_type"],
        "devices/s": _count(each["devices_per_second"]),
        "takes": duration(each["seconds"]),
        "decided by": each["quota"],
        "USD": f"{each['usd']:,.2f}",
    }


def _line(each: Mapping[str, Any], bill: str) -> Row:
    return {
        "for": bill,
        "service": each["service"],
        "what": each["what"],
        "units": f"{_count(each['units'])} {each['unit']}",
        "USD": f"{each['usd']:,.2f}",
        "price": each["source"],
    }


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"plan_tables": plan_tables}
