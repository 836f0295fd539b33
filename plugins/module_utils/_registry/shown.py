# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the registry as modules return them: AWS's names in snake_case, certificates without PEM. Private."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils.aws import snake

_KEPT = ("Attributes", "Certificates")  # their keys are no names of ours


def shown_row(row: Row) -> dict[str, Any]:
    """A row of ``device-inventory``; ``certificates`` by their ids, times as they stand in the row (RFC 3339)."""
    plain = {name: value for name, value in row.items() if name not in _KEPT}
    return {
        **snake(plain),
        "attributes": dict(row.get("Attributes") or {}),
        "certificates": {
            certificate_id: snake({name: value for name, value in certificate.items() if name != "Pem"})
            for certificate_id, certificate in row["Certificates"].items()
        },
    }


def compared_row(row: Row) -> dict[str, Any]:
    """What an operator decides of a row, for a diff."""
    names = ("state", "reason", "thing_type_name", "thing_groups", "policy_names", "attributes", "expires_at")
    shown = shown_row(row)
    return {
        **{name: shown[name] for name in names if name in shown},
        "certificates": {key: certificate["status"] for key, certificate in shown["certificates"].items()},
    }


__all__ = ["compared_row", "shown_row"]
