# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can expire as one report: results of modules by region, sorted and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleFilterError

Entry = dict[str, Any]
# A module's answer by place; one without ``certificates`` is of a region that could not be read.
Answers = Mapping[str, Mapping[str, Any]]
Days = Mapping[str, int]

KINDS = ("root", "issuing", "server", "acm", "validation", "crl", "device")
LEVELS = ("ok", "warn", "error")
NO_END = float("inf")
SHORT_ID = 8


def expiry_report(answers: Answers, warn_days: Days, error_days: Days, now: str = "") -> dict[str, Any]:
    """Judge and sort what was found, the soonest end first.

    ``now`` is RFC 3339; empty for the time it is.

    Raises:
        AnsibleFilterError: a kind without its number of days.

    """
    for name, days in (("warn_days", warn_days), ("error_days", error_days)):
        missing = sorted(set(KINDS) - set(days))
        if missing:
            raise AnsibleFilterError(f"{name} has no days for {', '.join(missing)}: give a number for each kind")
    moment = datetime.fromisoformat(now) if now else datetime.now(UTC)
    judged = [_judged(each, warn_days, error_days, moment) for each in _entries(answers)]
    judged.sort(key=lambda each: (_order(each), each["kind"], each["name"], each["place"]))
    counts = Counter(each["level"] for each in judged)
    return {
        "checked_at": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "level": max(counts, key=LEVELS.index, default="ok"),
        "levels": {level: counts[level] for level in LEVELS},
        "warn_days": {kind: int(warn_days[kind]) for kind in KINDS},
        "error_days": {kind: int(error_days[kind]) for kind in KINDS},
        "entries": judged,
        "devices": next(
            ({"place": place, **answer["devices"]} for place, answer in answers.items() if "devices" in answer), None
        ),
    }


def _entries(answers: Answers) -> Iterator[Entry]:
    for place, answer in answers.items():
        if "certificates" not in answer:
            note = f"not reached: {answer.get('msg', 'no answer')}"
            yield {"kind": "region", "name": "", "place": place, "not_after": None, "note": note, "severity": "error"}
        yield from map(dict, answer.get("certificates", []))
        for device in answer.get("devices", {}).get("soonest", []):
            note, end = f"certificate {device['certificate_id'][:SHORT_ID]}", device["not_after"]
            about = {"kind": "device", "name": device["thing_name"], "place": place}
            yield {**about, "not_after": end, "note": note, "severity": ""}


def _judged(each: Entry, warn_days: Days, error_days: Days, now: datetime) -> Entry:
    """The entry with ``days`` that are left and its ``level``, in the order in which a person reads it."""
    days, level = None, each["severity"] or "ok"
    if each["not_after"]:
        days = (datetime.fromisoformat(each["not_after"]) - now).days
        limits = {"error": error_days[each["kind"]], "warn": warn_days[each["kind"]]}
        by_end = next((name for name, limit in limits.items() if days < int(limit)), "ok")
        level = max(level, by_end, key=LEVELS.index)
    shown = {"level": level, "days": days, "ends": each["not_after"]}
    return {**shown, **{name: each[name] for name in ("kind", "name", "place", "note")}}


def _order(each: Entry) -> float:
    """What is wrong without an end comes first, what is well without one last."""
    if each["ends"]:
        return datetime.fromisoformat(each["ends"]).timestamp()
    return NO_END if each["level"] == "ok" else -NO_END


def expiry_devices(devices: Mapping[str, Any] | None) -> str:
    """Return the report's ``devices`` as one line for a person."""
    if devices is None:
        return "Devices: the registry was not read."
    within: Sequence[tuple[int, int]] = sorted((int(days), count) for days, count in devices["within"].items())
    parts = [f"{count} within {days} days" if days else f"{count} expired" for days, count in within]
    return f"Devices: {devices['in_use']} use a certificate, {', '.join(parts)} ({devices['place']})."


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {each.__name__: each for each in (expiry_report, expiry_devices)}
