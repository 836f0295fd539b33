# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that sign for devices. Private to the collection."""

from __future__ import annotations

from typing import Any

# As plugins/doc_fragments/issuing.py documents them.
ISSUING: dict[str, dict[str, Any]] = {
    "authority": {"type": "path"},
    "passphrase": {"type": "str", "no_log": True},
    "days": {"type": "int", "default": 365},
    "present_within": {"type": "int", "default": 86400},
}

__all__ = ["ISSUING"]
