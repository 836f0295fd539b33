# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that an operator names, and what regions have of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

Row = dict[str, Any]
# A module's answer by region; one without ``devices`` is of a region that cannot be reached.
Answers = Mapping[str, Mapping[str, Any]]

SHORT_ID = 8


def device_names(patterns: str | Iterable[str], devices_file: str = "") -> list[str]:
    """Return the names that a list, or one string with commas, stands for; or those in a file of devices."""
    # Every task's process loads every filter: what takes long is imported where it is of use.
    from ansible_collections.iotops.fleet.plugins.module_utils._devices.named import named_devices
    from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

    texts = [text for text in patterns.split(",") if text.strip()] if isinstance(patterns, str) else list(patterns)
    try:
        return named_devices(texts, devices_file or None)
    except FleetError as error:
        raise AnsibleFilterError(str(error)) from error


def listed_devices(answers: Answers) -> list[Row]:
    """Return a row for each device in each region, from the answers of ``fleet_devices_info``, by device.

    Certificates that nobody has come after the devices, and regions that could not be reached last.
    """
    rows = [
        _device(region, device)
        for region, answer in answers.items()
        for device in answer.get("devices", [])
        if _is_known(device)
    ]
    loose = [
        _row(
            region,
            certificates=_certificate(each),
            note="claim certificate" if each["claim"] else "no thing, no row",
        )
        for region, answer in answers.items()
        for each in answer.get("loose_certificates", [])
    ]
    lost = [
        _row(region, note=f"not reached: {_error(answer)}")
        for region, answer in answers.items()
        if "devices" not in answer
    ]
    return sorted(rows, key=lambda row: (row["device"], row["region"])) + loose + lost


def unknown_devices(answers: Answers) -> list[str]:
    """Return the names of which no region that was reached knows anything."""
    seen: dict[str, bool] = {}
    for answer in answers.values():
        for device in answer.get("devices", []):
            seen[device["thing_name"]] = seen.get(device["thing_name"], False) or _is_known(device)
    return [name for name, known in seen.items() if not known]


def deletion_problems(answers: Answers) -> list[str]:
    """Return a line for each certificate that keeps devices from being deleted without leaving something behind.

    One that another thing has, which is not among them, would take that device out, too. One that the row does not
    have would stay, and AWS would refuse to delete the thing. A region that did not answer may have such.
    """
    problems = [
        f"{region} could not be looked at ({_error(answer)}): run this again when it answers, or without it (--limit)"
        for region, answer in answers.items()
        if "devices" not in answer
    ]
    for region, answer in answers.items():
        meant = {device["thing_name"] for device in answer.get("devices", [])}
        for device in answer.get("devices", []):
            for each in device["certificates"]:
                others = sorted(set(each["other_things"]) - meant)
                subject = f"certificate {each['certificate_id']} of {device['thing_name']} in {region}"
                if others:
                    problems.append(
                        f"{subject} is that of {', '.join(others)}, too: delete them together, or detach it from one"
                    )
                if each["attached"] and not each["in_row"]:
                    problems.append(f"{subject} is not in its row: wait until it was taken in, or detach it")
    return problems


def _error(answer: Mapping[str, Any]) -> str:
    return str(answer.get("msg", "no answer"))


def _is_known(device: Mapping[str, Any]) -> bool:
    return bool(device["thing"] or device["state"])


def _device(region: str, device: Mapping[str, Any]) -> Row:
    notes = [
        "" if device["state"] else "no row",
        f"not applied: {device['lag']}" if device["lag"] else "",
        *(
            f"{each['certificate_id'][:SHORT_ID]} is also of {', '.join(each['other_things'])}"
            for each in device["certificates"]
            if each["other_things"]
        ),
    ]
    return {
        "device": device["thing_name"],
        "region": region,
        "state": device["state"] or None,
        "thing": (device["thing_type_name"] or "no type") if device["thing"] else None,
        "certificates": "; ".join(_certificate(each) for each in device["certificates"]) or None,
        "note": "; ".join(note for note in notes if note) or None,
    }


def _row(region: str, **columns: str) -> Row:
    return {"device": None, "region": region, "state": None, "thing": None, "certificates": None, **columns}


def _certificate(certificate: Mapping[str, Any]) -> str:
    detached = "" if certificate.get("attached", True) or not certificate["status"] else ", not attached"
    unknown = "" if certificate.get("in_row", True) else ", not in the row"
    return f"{certificate['certificate_id'][:SHORT_ID]} {certificate['status'] or 'not here'}{detached}{unknown}"


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {each.__name__: each for each in (deletion_problems, device_names, listed_devices, unknown_devices)}
