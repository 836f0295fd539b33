# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person is shown: results of modules as rows, rows as an aligned table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = dict[str, str]
Resources = Mapping[str, Sequence[Mapping[str, Any]]]

GAP = "  "
EMPTY = "-"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Return rows as aligned text: a line of column names, then a line for each row, no trailing blanks.

    ``columns`` are the keys to show, in this order; default are the keys of the first row. None and a key that a row
    lacks are shown as a hyphen. No rows give an empty text.
    """
    if not rows:
        return ""
    names = list(columns or rows[0])
    lines = [[name.upper() for name in names], *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(names))]
    return "\n".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def site_rows(resources: Mapping[str, Resources], canary: Mapping[str, Any] | None = None) -> list[Row]:
    """Return what works in each region as rows of ``region``, ``item`` and ``value``.

    ``resources`` is the result of ``fleet_resources_info`` by region, ``canary`` that of ``fleet_canary``.
    """
    visits = {visit["region"]: visit for visit in (canary or {}).get("regions", [])}
    rows: list[Row] = []
    for region, found in resources.items():
        items = [
            *_endpoint(found),
            *_server_certificate(found),
            *_issuing_ca(found),
            *(("stack", f"{stack['name']}: {stack['status']}") for stack in found.get("stacks", [])),
            ("canary", _visit(visits.get(region))),
        ]
        rows += _grouped(region, items)
    return rows


def resource_rows(resources: Mapping[str, Resources]) -> list[Row]:
    """Return all that ``fleet_resources_info`` found, by region, as rows of ``region``, ``item`` and ``value``."""
    rows: list[Row] = []
    for region, found in resources.items():
        items = [(kind.replace("_", " "), _identity(each)) for kind in sorted(found) for each in found[kind]]
        rows += _grouped(region, items)
    return rows


def _grouped(region: str, items: Iterable[tuple[str, str]]) -> list[Row]:
    """Rows in which a region and an item stand only where they begin."""
    rows: list[Row] = []
    last_item = ""
    for item, value in items:
        rows.append({"region": "" if rows else region, "item": "" if item == last_item else item, "value": value})
        last_item = item
    return rows


def _cell(value: Any) -> str:
    return EMPTY if value is None else str(value)


def _endpoint(found: Resources) -> list[tuple[str, str]]:
    records = [each for each in found.get("dns_records", []) if each.get("set_identifier")]
    return [("endpoint", f"{each['name']} -> {', '.join(each['values'])}") for each in records] or [("endpoint", EMPTY)]


def _server_certificate(found: Resources) -> list[tuple[str, str]]:
    imported = [each for each in found.get("server_certificates", []) if each.get("type") == "IMPORTED"]
    rows = [
        row
        for each in imported
        for row in (("server certificate", each["arn"]), ("expires", _expiry(each.get("not_after"))))
    ]
    return rows or [("server certificate", EMPTY)]


def _expiry(not_after: str | None) -> str:
    if not_after is None:
        return EMPTY
    moment = datetime.fromisoformat(not_after)
    return f"{moment:%Y-%m-%d} (in {(moment - datetime.now(UTC)).days} days)"


def _issuing_ca(found: Resources) -> list[tuple[str, str]]:
    rows = [
        ("issuing CA", f"{each['id']} ({each['status']}, auto-registration {each['auto_registration']})")
        for each in found.get("ca_certificates", [])
    ]
    return rows or [("issuing CA", EMPTY)]


def _visit(visit: Mapping[str, Any] | None) -> str:
    if visit is None:
        return "not run"
    refused = f" after {visit['refused']} refused" if visit["refused"] else " at once"
    parts = [f"accepted{refused}, {visit['accepted_seconds']:.2f} s"]
    if visit.get("converged_seconds") is not None:
        parts.append(f"converged {visit['converged_seconds']:.2f} s after the row")
    parts.append(f"message acknowledged {visit['acknowledged_seconds']:.2f} s, stored {visit['stored_seconds']:.2f} s")
    return "; ".join(parts)


def _identity(resource: Mapping[str, Any]) -> str:
    """The shortest text that names a resource: its name, id or ARN, else all that is known."""
    for key in ("name", "id", "arn"):
        if resource.get(key):
            return str(resource[key])
    return ", ".join(f"{value} {key}" for key, value in resource.items())


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"resource_rows": resource_rows, "site_rows": site_rows, "table": table}
