# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rotation of the issuing CA stands, and what may be done next: from what the regions answer alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# The answers of fleet_issuers_info by region; one that has ``msg`` instead is of a region that cannot be reached.
Answers = Mapping[str, Mapping[str, Any]]
Issuer = Mapping[str, Any]

PLAYBOOK = "ansible-playbook playbooks/rotate_issuing_ca.yml"
RENEW = "ansible-playbook playbooks/rotate_devices.yml -e fleet_rotate_generation"
GROUP_VARS = "in group_vars of the inventory"
NOT_THERE: dict[str, Any] = {"state": "ABSENT", "common_name": "", "waiting": 0, "certificates": 0, "issued": 0}
# Phases in which each action may be taken.
ALLOWED = {
    "introduce": ("none", "introducing", "introduced", "switched", "retiring", "retired", "deleting", "deleted"),
    "switch": ("introduced", "switched"),
    "retire": ("switched", "retiring", "retired"),
    "delete": ("retired", "deleting", "deleted"),
    "abort": ("none", "introducing", "introduced"),
}


def ca_rotation(answers: Answers, listed: Iterable[int], issuing: int) -> dict[str, Any]:
    """Return where the rotation stands.

    ``answers``: of fleet_issuers_info by region. ``listed``: fleet_ca_generations. ``issuing``: fleet_ca_generation.

    ``phase``; ``old`` and ``new`` generation; ``generations``, both of them; ``old_name`` and ``new_name`` of the CAs;
    ``unreached`` regions; ``waiting``, how many wait for the old one in the region where most do; ``next``, what an
    operator does next; ``refusals`` by action, "" for one that may be taken.
    """
    reached = {region: _by_generation(answer) for region, answer in answers.items() if "issuers" in answer}
    listed, issuing = sorted({int(each) for each in listed}), int(issuing)
    live = _live(reached, listed, issuing)
    old, new = (live[0], live[-1]) if len(live) > 1 else (live[0], live[0] + 1)
    found = {
        "old": old,
        "new": new,
        "generations": [old, new],
        "phase": _phase(_states(reached, old), _states(reached, new), issuing, (old, new), rotating=len(live) > 1),
        "old_name": _name(reached, old),
        "new_name": _name(reached, new) or f"generation {new}",
        "unreached": [region for region in answers if region not in reached],
        "waiting": max((issuers.get(old, NOT_THERE)["waiting"] for issuers in reached.values()), default=0),
    }
    found["next"] = _next(found, listed)
    found["refusals"] = {action: _refusal(action, found, reached) for action in ALLOWED}
    return found


def ca_rotation_rows(answers: Answers) -> list[dict[str, Any]]:
    """Return one row for each region and generation; what waits for the last one is of no interest."""
    columns = ("state", "devices", "late", "retiring", "left_behind", "waiting")
    rows = []
    for region, answer in answers.items():
        if "issuers" not in answer:
            failure = f"not reached: {answer.get('msg', 'no answer')}"
            rows.append({"region": region, "generation": None, **dict.fromkeys(columns), "error": failure})
        last = max(_by_generation(answer), default=0)
        for issuer in answer.get("issuers", []):
            generation, waits = issuer["generation"], ("left_behind", "waiting")
            shown = {name: None if generation == last and name in waits else issuer[name] for name in columns}
            error = None if issuer["fingerprint"] else "not made"
            rows.append({"region": region, "generation": f"G{generation}", **shown, "error": error})
    return rows


def ca_rotation_waiting(answers: Answers, generation: int) -> list[dict[str, str]]:
    """Return what waits for a generation as rows, by name; a region is named where only one says so."""
    told: dict[tuple[str, str], list[str]] = {}
    for region, answer in answers.items():
        for each in _by_generation(answer).get(generation, {}).get("named", []):
            told.setdefault((each["name"], each["why"]), []).append(region)
    everywhere = sum(1 for answer in answers.values() if "issuers" in answer)
    return [
        {"name": name, "why": why, "regions": "all" if len(regions) == everywhere else ", ".join(regions)}
        for (name, why), regions in sorted(told.items())
    ]


def ca_generation_problems(answer: Mapping[str, Any], region: str, listed: Iterable[int], issuing: int) -> list[str]:
    """Return why the inputs do not fit what a region knows, one line each: they would undo a rotation.

    ``answer``: of fleet_issuers_info in that region.
    """
    states = {number: issuer["state"] for number, issuer in _by_generation(answer).items()}
    listed, issuing = sorted({int(each) for each in listed}), int(issuing)
    if issuing not in listed:
        return [f"fleet_ca_generation is {issuing}, and fleet_ca_generations {listed}: list it there"]
    found = []
    for generation, state in sorted(states.items()):
        if generation not in listed and state in ("ACTIVE", "CLOSED"):
            found.append(
                f"generation {generation} of the issuing CA is registered in {region}, and fleet_ca_generations is "
                f"{listed}: set fleet_ca_generations: {sorted({*listed, generation})} {GROUP_VARS}, "
                f"or take it back ({PLAYBOOK})"
            )
        elif generation in listed and generation < issuing and _was_given_up(state, states.get(issuing)):
            rest = [each for each in listed if each != generation]
            found.append(
                f"generation {generation} of the issuing CA was retired in {region}, and fleet_ca_generations is "
                f"{listed}: set fleet_ca_generations: {rest} {GROUP_VARS}, or go back ({PLAYBOOK} --tags introduce)"
            )
    return found


def _was_given_up(state: str, state_of_issuing: str | None) -> bool:
    # A region that has no CA yet is a new one.
    return state == "INACTIVE" or (state == "ABSENT" and state_of_issuing not in (None, "ABSENT"))


def _by_generation(answer: Mapping[str, Any]) -> dict[int, Issuer]:
    return {issuer["generation"]: issuer for issuer in answer.get("issuers", [])}


def _live(reached: Mapping[str, Mapping[int, Issuer]], listed: Sequence[int], issuing: int) -> list[int]:
    """Generations that are trusted somewhere, or that were made to be."""
    registered = {
        number
        for issuers in reached.values()
        for number, issuer in issuers.items()
        if issuer["state"] != "ABSENT" or (issuer["fingerprint"] and number > issuing)
    }
    return sorted(registered.union(listed)) or [issuing]


def _states(reached: Mapping[str, Mapping[int, Issuer]], generation: int) -> set[str]:
    return {issuers.get(generation, NOT_THERE)["state"] for issuers in reached.values()}


def _name(reached: Mapping[str, Mapping[int, Issuer]], generation: int) -> str:
    return next((found for each in reached.values() if (found := each.get(generation, NOT_THERE)["common_name"])), "")


def _phase(old: set[str], new: set[str], issuing: int, pair: tuple[int, int], *, rotating: bool) -> str:
    if not rotating:
        return "none"
    if issuing != pair[1]:
        return "introduced" if new == {"ACTIVE"} else "introducing"
    if old == {"ABSENT"}:
        return "deleted"
    if old <= {"INACTIVE", "ABSENT"}:
        return "retired" if old == {"INACTIVE"} else "deleting"
    return "switched" if old == {"ACTIVE"} else "retiring"


def _next(found: Mapping[str, Any], listed: Sequence[int]) -> str:
    """What an operator does next: an input to set, or a command."""
    old, new, phase = found["old"], found["new"], found["phase"]
    confirm = f"""-e '{{"fleet_ca_confirm": "{found["old_name"]}"}}'"""
    to_list = {"introduced": [old, new], "switched": [old, new], "retired": [new], "deleting": [new], "deleted": [new]}
    steps = []
    if phase in to_list and list(listed) != to_list[phase]:
        steps.append(f"set fleet_ca_generations: {to_list[phase]} {GROUP_VARS}")
    match phase:
        case "none":
            steps.append(f"to begin a rotation: {PLAYBOOK} --tags introduce")
        case "introducing":
            steps.append(f"{PLAYBOOK} --tags introduce")
        case "introduced":
            steps.append(f"set fleet_ca_generation: {new} {GROUP_VARS} to issue from G{new}; {PLAYBOOK} --tags switch")
        case "switched" | "retiring" if found["waiting"]:
            steps.append(f"{RENEW}={old} renews the devices that wait, or name them in fleet_ca_leave_behind")
        case "switched" | "retiring":
            steps.append(f"{PLAYBOOK} --tags retire {confirm}")
        case "retired" | "deleting":
            steps.append(f"{PLAYBOOK} --tags delete {confirm}")
        case _:
            pass
    return "; ".join(steps) or "nothing is left to do"


def _refusal(action: str, found: Mapping[str, Any], reached: Mapping[str, Mapping[int, Issuer]]) -> str:
    """Why an action may not be taken now; "" when it may."""
    old, new, phase = found["old"], found["new"], found["phase"]
    if found["unreached"]:
        return f"{', '.join(found['unreached'])} was not reached: {action} needs every region of the run"
    if phase not in ALLOWED[action]:
        return f"the rotation from G{old} to G{new} is {phase}, {action} comes at another time; next: {found['next']}"
    if action in ("retire", "delete") and phase != "deleted" and found["waiting"]:
        return (
            f"{found['waiting']} devices or certificates wait for G{old} (the table names them): renew them "
            f"({RENEW}={old}) or delete them, or name them in fleet_ca_leave_behind"
        )
    newer = [issuers.get(new, NOT_THERE) for issuers in reached.values()]
    if action == "abort" and any(each["certificates"] or each["issued"] or each["waiting"] for each in newer):
        return f"G{new} has issued certificates: revoke them in its ledger first, or go on"
    return ""


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        filters = (ca_rotation, ca_rotation_rows, ca_rotation_waiting, ca_generation_problems)
        return {each.__name__: each for each in filters}
