# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is shown of devices and dead letters: results of modules by region, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]
# A module's answer by region; one that has ``msg`` and not what was asked for is of a region that cannot be reached.
Answers = Mapping[str, Mapping[str, Any]]

SHORT_ID = 8
ID_IS_SHORT = 12


def device_rows(answers: Answers) -> list[Row]:
    """Return one row for each region from the answers of ``fleet_device_info`` on one device."""
    return [_device(region, answer) for region, answer in answers.items()]


def fleet_rows(answers: Answers) -> list[Row]:
    """Return one row for each region from the answers of ``fleet_status_info``."""
    return [_fleet(region, answer) for region, answer in answers.items()]


def late_rows(answers: Answers) -> list[Row]:
    """Return the devices that have not applied their row, from the answers of ``fleet_status_info``."""
    return [
        {"region": region, "device": late["thing_name"], "since": late["since"], "why": late["lag"]}
        for region, answer in answers.items()
        for late in answer.get("fleet", {}).get("late", [])
    ]


def letter_rows(answers: Answers) -> list[Row]:
    """Return the letters in answers of ``fleet_dead_letters`` and ``fleet_dead_letters_info``, what was kept last."""
    return [
        {"region": region, **{name: letter.get(name) or None for name in ("sent_at", "kind", "source", "device")}}
        | ({"outcome": _outcome(letter, kept=kind == "kept")} if "outcome" in letter else {})
        | {"error": letter["error"] or None}
        for region, answer in answers.items()
        for kind in ("letters", "replayed", "kept")
        for letter in answer.get(kind, [])
    ]


def _outcome(letter: Mapping[str, Any], *, kept: bool) -> str:
    return f"{'kept' if kept else 'replayed'}: {letter['outcome']}".removesuffix(": ")


def _failure(answer: Mapping[str, Any]) -> str:
    return f"not reached: {answer.get('msg', 'no answer')}"


def _device(region: str, answer: Mapping[str, Any]) -> Row:
    columns = ("state", "version", "applied", "applied_at", "in_sync", "thing", "certificates", "policies", "error")
    if "devices" not in answer:
        return {"region": region, **dict.fromkeys(columns[:-1]), "error": _failure(answer)}
    found = answer["devices"][0]
    row, status, thing = found["row"] or {}, found["status"] or {}, found["thing"]
    certificates = found["certificates"]
    policies = {name for each in certificates.values() for name in each["policy_names"]}
    return {
        "region": region,
        "state": row.get("state"),
        "version": row.get("version"),
        "applied": status.get("applied_version"),
        "applied_at": status.get("applied_at"),
        "in_sync": "yes" if found["in_sync"] else "no",
        "thing": _thing(thing) if thing else None,
        "certificates": "; ".join(_certificate(key, each) for key, each in certificates.items()) or None,
        "policies": ", ".join(sorted(policies)) or None,
        "error": status.get("error") or found["lag"] or None,
    }


def _thing(thing: Mapping[str, Any]) -> str:
    groups = f" in {', '.join(thing['thing_groups'])}" if thing["thing_groups"] else ""
    return f"{thing['thing_type_name'] or 'no type'}{groups}"


def _certificate(certificate_id: str, certificate: Mapping[str, Any]) -> str:
    shown = certificate_id if len(certificate_id) <= ID_IS_SHORT else certificate_id[:SHORT_ID]
    status, wanted = certificate["status"] or "not here", certificate["wanted"] or "unknown"
    detached = "" if certificate["attached"] or not certificate["status"] else ", not attached"
    return f"{shown} {status}{'' if status == wanted else f' (wanted {wanted})'}{detached}"


def _fleet(region: str, answer: Mapping[str, Any]) -> Row:
    columns = ("rows", "states", "applied", "behind", "failed", "dead_letters", "rejections")
    if "fleet" not in answer:
        return {"region": region, **dict.fromkeys(columns), "error": _failure(answer)}
    fleet = answer["fleet"]
    unfinished = fleet["unfinished_certificates"]
    return {
        "region": region,
        **{name: fleet[name] for name in columns},
        "states": ", ".join(f"{count} {state}" for state, count in fleet["states"].items()) or None,
        "error": f"{unfinished} registrations failed" if unfinished else None,
    }


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {each.__name__: each for each in (device_rows, fleet_rows, late_rows, letter_rows)}
