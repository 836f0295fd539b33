# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that turn generations of the issuing CA into paths, and a PKI into its generations and issuing CAs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._pki.generations import (
    issuing_authorities,
    issuing_ca,
    issuing_generations,
)


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "issuing_authorities": issuing_authorities,
            "issuing_ca": issuing_ca,
            "issuing_generations": issuing_generations,
        }
