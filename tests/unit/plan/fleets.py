# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets to plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import ALL_QUOTAS, Fleet
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas, defaults_of

MILLION = 1_000_000
BILLION_A_MONTH = 1000 / (365 / 12)  # messages a day of each of a million devices


def fleet(
    devices: int = MILLION,
    shares: Mapping[str, float] | None = None,
    given: Mapping[str, float] | None = None,
    **inputs: Any,
) -> Fleet:
    """A fleet in two regions at AWS's default quotas, but for those that are given for all of its regions."""
    shares = shares or {"eu-west-1": 0.5, "us-west-2": 0.5}
    quotas = {
        region: Quotas(region, {**defaults_of(region, ALL_QUOTAS.values()), **(given or {})}, "AWS's defaults")
        for region in shares
    }
    return Fleet(devices=devices, shares=shares, quotas=quotas, **inputs)
