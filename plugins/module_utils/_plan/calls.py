# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls of AWS IoT some work makes in a region, and how long quotas let it take. Private to the collection.

What does not grow with the fleet (a few calls for policies, CAs, rules and the like) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS

PAGE = 250  # the most that ListThings, ListCertificates, ListTargetsForPolicy and ListThingsInThingGroup return
DEPTHS = ("rows", "registry", "full", "digest")

# What converge-device calls for a certificate that is REVOKED and was never registered in the region.
REVOKED = {"UpdateCertificate": 1, "RegisterCertificate": 1}


def check_calls(devices: int, certificates: int, depth: str, policies: int = 1, groups: int = 0) -> dict[str, int]:
    """Return calls by operation with which each region is checked.

    ``certificates`` are those of all devices together, each of which may carry each of the ``policies``; each device is
    in one of the ``groups``. ``depth``: "rows" reads tables only and calls AWS IoT not at all; "registry" lists what
    there is; "full" asks for each thing's certificates, too; "digest" compares sums of the fleet index.

    Raises:
        ValueError: another depth.

    """
    if depth not in DEPTHS:
        raise ValueError(f"depth={depth}: choose one of {', '.join(DEPTHS)}")
    if depth == "rows":
        return {}
    if depth == "digest":
        return {"GetStatistics": 1}
    calls = {
        "ListThings": _pages(devices),
        "ListCertificates": _pages(certificates),
        "ListTargetsForPolicy": policies * _pages(certificates),
        "ListThingsInThingGroup": _pages(devices) + groups - 1 if groups else 0,
        "ListThingPrincipals": devices if depth == "full" else 0,
    }
    return {operation: count for operation, count in calls.items() if count}


def backfill_calls(
    active: int, revoked: int = 0, certificates: int = 1, policies: int = 1, groups: int = 0
) -> dict[str, int]:
    """Return calls by operation with which a region that has nothing yet gets everything.

    ``active``: devices that are ACTIVE or SUSPENDED, each with so many ``certificates``, ``policies`` for each of them,
    and ``groups``; ``revoked``: those that are REVOKED, or DELETED and not expired.
    """
    of_certificates = active * certificates
    calls = {
        "CreateThing": active * CALLS["CreateThing"],
        "RegisterCertificate": of_certificates * CALLS["RegisterCertificate"]
        + revoked * certificates * REVOKED["RegisterCertificate"],
        "AttachThingPrincipal": of_certificates * CALLS["AttachThingPrincipal"],
        "AttachPolicy": of_certificates * policies * CALLS["AttachPolicy"],
        "UpdateCertificate": revoked * certificates * REVOKED["UpdateCertificate"],
        "AddThingToThingGroup": active * groups,
    }
    return {operation: count for operation, count in calls.items() if count}


def seconds(calls: Mapping[str, float], quotas: Quotas, share: float = 1.0) -> tuple[float, str]:
    """Return how long the calls take at a ``share`` of the quotas, and which operation decides; of several the first.

    An operation whose quota is not known does not count. Nothing to do takes 0 seconds and is decided by nobody ("").
    """
    each = {
        operation: count / (quotas.per_second[operation] * share)
        for operation, count in calls.items()
        if operation in quotas.per_second
    }
    binding = max(each, key=lambda operation: each[operation], default="")
    return each.get(binding, 0.0), binding


def _pages(count: int) -> int:
    """Pages of a list; an empty one is asked for, too."""
    return max(1, math.ceil(count / PAGE))


__all__ = ["CALLS", "DEPTHS", "PAGE", "REVOKED", "backfill_calls", "check_calls", "seconds"]
