# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a region has made of its registry what the row says. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row, descends
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import read_row, read_status


def lag(row: Row | None, status: Item | None) -> str:
    """Why the region has not applied its row; "" when it has. Both are the region's own."""
    if row is None:
        return "there is no row"
    status = status or {}
    if status.get("Error"):
        return f"failed: {status['Error']}"
    if status.get("AppliedWriteId") == row.get("WriteId"):
        return ""
    return f"version {row.get('Version')} is not applied, {status.get('AppliedVersion', 'none')} is"


def lag_behind(client: Any, written: Row, *, inventory_table: str, status_table: str) -> str:
    """Why the region has not applied ``written`` or what descends from it; "" when it has."""
    row = read_row(client, inventory_table, written["ThingName"])
    if row is None or not descends(row, written):
        return f"version {written['Version']} of the row has not arrived"
    return lag(row, read_status(client, status_table, written["ThingName"]))


__all__ = ["lag", "lag_behind"]
