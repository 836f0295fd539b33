# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is shown before and after a revocation, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Row = dict[str, Any]

SHORT_ID = 12


def revocation_rows(revocations: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return what ``fleet_revocations`` would revoke, one row for each certificate."""
    return [
        {
            "device": each["thing_name"] or None,
            "certificate": each["certificate_id"] or None,
            "serial": _serial(each["key"]),
            "revokes": "the device and its name" if each["device"] else "this certificate",
            "now": _now(each),
            "reason": each["reason"] or None,
        }
        for each in revocations
    ]


def refusal_rows(refusals: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the answers of ``fleet_revocations_info``, what is not refused first, then by device and region."""
    return [
        {
            "device": each["thing_name"] or None,
            "region": each["region"],
            "certificate": each["certificate_id"][:SHORT_ID] or _serial(each["key"]),
            "row": each["state"] or None,
            "status": each["status"] or None,
            "connection": each["attempt"],
            "seconds": each["seconds"],
            "outcome": "refused" if each["refused"] else f"NOT REFUSED: {each['why']}",
        }
        for each in sorted(refusals, key=lambda each: (each["refused"], each["thing_name"], each["region"]))
    ]


def _serial(key: str) -> str | None:
    return key.rpartition(":")[2] or None


def _now(revocation: Mapping[str, Any]) -> str:
    if not revocation["pending"]:
        return "revoked already"
    return "in the registry" if revocation["seen"] else "no region has seen it"


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {each.__name__: each for each in (revocation_rows, refusal_rows)}
