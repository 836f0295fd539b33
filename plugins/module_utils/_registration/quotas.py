# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of AWS IoT that a new device costs each region, and how many AWS takes. Private to the collection."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._quotas import iot
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas

# Calls that converge-device makes of a row that is new, in every region; a retry is one more.
CALLS = {"CreateThing": 1, "RegisterCertificate": 1, "AttachThingPrincipal": 1, "AttachPolicy": 1}


def read_quotas(client: Any, region: str) -> Quotas:
    """Return the quotas of these calls; ``client`` is boto3's ``service-quotas``."""
    return iot.read_quotas(client, region, CALLS)


def default_quotas(region: str) -> dict[str, float]:
    """AWS's default values of these calls in a region."""
    return iot.default_quotas(region, CALLS)


__all__ = ["CALLS", "Quotas", "default_quotas", "read_quotas"]
