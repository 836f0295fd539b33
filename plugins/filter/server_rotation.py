# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rotation of the server certificate would do in each region, and what forbids it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = dict[str, Any]
Seen = Mapping[str, Any]


def server_rotation_rows(
    regions: Mapping[str, Seen], pair: Mapping[str, Any], domain: str, state: str = "rotated"
) -> list[Row]:
    """Return one row for each region, with ``problem`` where the run has to be refused.

    ``regions`` says of each region: ``arn`` of the certificate in ACM; ``present`` and ``next``, the reasons for which
    acm_imported_certificate would import the present certificate and its successor; ``domains`` and ``served`` as their
    modules return them. ``pair`` is the result of x509_server_certificate_successor.
    """
    return [_row(region, seen, pair, domain, state) for region, seen in regions.items()]


def _row(region: str, seen: Seen, pair: Mapping[str, Any], domain: str, state: str) -> Row:
    holds = _holds(seen, pair)
    served = seen["served"]
    return {
        "region": region,
        "holds": holds,
        "served": " and ".join(each["serial"] for each in served),
        "until": min(each["not_after"] for each in served),
        "status": "; ".join(each["distrust"] for each in served if each["distrust"]) or _status(seen),
        "step": _step(holds, pair, state),
        "problem": _problem(region, seen, holds, pair, domain, state),
    }


def _holds(seen: Seen, pair: Mapping[str, Any]) -> str:
    """What the region's ACM has."""
    if not seen["arn"]:
        return "none"
    if "leaf changed" not in seen["present"]:
        return "present"
    has_successor = "serial" in (pair["successor"] or {}) and "leaf changed" not in seen["next"]
    return "successor" if has_successor else "another"


def _status(seen: Seen) -> str:
    statuses = [each["server_certificate_status"] for found in seen["domains"] for each in found["server_certificates"]]
    return ", ".join(statuses) or "not served"


def _step(holds: str, pair: Mapping[str, Any], state: str) -> str:
    if state == "restored":
        return "prove the present one" if holds == "present" else f"put {pair['current']['serial']} back, prove it"
    if pair["reason"] is None:
        return "nothing is due"
    if holds == "successor":
        return "prove the successor"
    return f"import {(pair['successor'] or {}).get('serial', 'a new one')}, prove it"


def _problem(region: str, seen: Seen, holds: str, pair: Mapping[str, Any], domain: str, state: str) -> str | None:
    if state == "rotated" and pair["reason"] is None:
        return None
    if holds == "none":
        return f"{region}: ACM has no server certificate of this fleet: build the region first (playbooks/site.yml)"
    if holds == "another":
        return (
            f"{region}: {seen['arn']} is neither the present certificate (serial {pair['current']['serial']}) nor its"
            f" successor, and could not be put back: playbooks/site.yml --limit {region} imports the present one, or"
            f" restore its files to {pair['current']['certificate']} and {pair['current']['private_key']}"
        )
    return _domain_problem(region, seen, domain)


def _domain_problem(region: str, seen: Seen, domain: str) -> str | None:
    remedy = f"put that right with playbooks/site.yml --limit {region}"
    if not seen["domains"]:
        return f"{region}: there is no domain configuration: {remedy}"
    found = seen["domains"][0]
    arns = [each["server_certificate_arn"] for each in found["server_certificates"]]
    wrong = {
        f"is for {found['domain_name']}, not for {domain}": found["domain_name"] != domain,
        f"is {found['domain_configuration_status']}": found["domain_configuration_status"] != "ENABLED",
        f"serves {', '.join(arns) or 'no certificate'}, not {seen['arn']}": arns != [seen["arn"]],
    }
    name = found["domain_configuration_name"]
    return next((f"{region}: {name} {what}: {remedy}" for what, applies in wrong.items() if applies), None)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"server_rotation_rows": server_rotation_rows}
