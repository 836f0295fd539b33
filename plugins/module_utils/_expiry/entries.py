# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of what can expire. Private to this collection."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.iotops.fleet.plugins.module_utils._aws.values import iso

if TYPE_CHECKING:
    from cryptography.x509 import Name

Entry = dict[str, Any]

CONTROLLER = "controller"  # the place of what is no region's


def entry(
    kind: str, name: str, place: str, *, not_after: datetime | None = None, note: str = "", severity: str = ""
) -> Entry:
    """A line: ``kind``, ``name``, ``place``, ``not_after`` (RFC 3339, or None), ``note``, ``severity``.

    ``severity`` is that of the note, whenever the end may be: "", ``warn`` or ``error``.
    """
    ends = iso(not_after) if not_after else None
    return {"kind": kind, "name": name, "place": place, "not_after": ends, "note": note, "severity": severity}


def common_name(name: Name) -> str:
    """The common name, or all of the name where there is none."""
    from cryptography.x509 import NameOID

    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


__all__ = ["CONTROLLER", "Entry", "common_name", "entry"]
