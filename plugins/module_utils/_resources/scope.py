# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose resources are listed, and the paging of a listing. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True)
class Scope:
    """One fleet in one region, with a boto3 client for each service that is asked.

    ``ca_fingerprints``, ``domain`` and ``hosted_zone_id`` may be empty; what they identify is then not listed.
    """

    application: str
    region: str
    domain: str
    hosted_zone_id: str
    ca_fingerprints: tuple[str, ...]
    clients: dict[str, Any]

    def owns(self, name: str) -> bool:
        """Whether a name is one of the fleet's: the application, a hyphen, and more."""
        return name.startswith(f"{self.application}-")


def pages(client: Any, operation: str, **arguments: Any) -> Iterable[dict[str, Any]]:
    """Pages of an operation, or its one answer where AWS has no paginator for it."""
    if client.can_paginate(operation):
        return client.get_paginator(operation).paginate(**arguments)
    return [getattr(client, operation)(**arguments)]


def entries(client: Any, operation: str, member: str, **arguments: Any) -> Iterable[Any]:
    """The entries of all pages."""
    return (entry for page in pages(client, operation, **arguments) for entry in page.get(member, []))
