# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet that is planned, and whether its inputs make sense. Private to the collection."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

try:
    import botocore.session
except ImportError:  # AnsibleAWSModule tells the user
    botocore = None

from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.limits import LIMITS
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

ALL_QUOTAS = {**OPERATIONS, **LIMITS}
STORES = ("TABLE", "EXPRESS", "STANDARD")
MACHINE_TYPES = ("EXPRESS", "STANDARD")
# What can be planned, by input.
BOUNDS = {
    "devices": (1, 100_000_000),
    "revoked": (0, 100_000_000),
    "messages_per_day": (0, 100 * 86_400),  # of a connection AWS takes 100 a second, and that cannot be raised
    "message_bytes": (1, 128 * 1024),
    "connects_per_day": (0, 86_400),  # of a client ID AWS takes one a second
    "peak": (1, 1000),
    "quota_share": (0.01, 1),
    "hours": (0.1, 8760),
    "reconnect_minutes": (0.1, 1440),
    "months": (1, 120),
}
SHARES_SUM_TO = 0.001  # this near to 1


@dataclass(frozen=True)
class Fleet:
    """Inputs of a plan; ``shares`` are parts of the devices by region, ``quotas`` what AWS takes in each region."""

    devices: int
    shares: Mapping[str, float]
    quotas: Mapping[str, Quotas]
    revoked: int = 0
    messages_per_day: float = 24
    message_bytes: int = 512
    connects_per_day: float = 1
    peak: float = 1
    design: str = "rows"
    machine_type: str = "EXPRESS"
    store: str = "TABLE"
    indexing: bool = False
    quota_share: float = 1
    hours: float = 24
    reconnect_minutes: float = 10
    months: int = 1

    @property
    def regions(self) -> list[str]:
        """The regions, in the order they were given."""
        return list(self.shares)

    @property
    def messages_a_second(self) -> float:
        """Messages of the whole fleet when it is busiest."""
        return self.devices * self.messages_per_day / 86_400 * self.peak

    def origin(self, region: str, quota: str) -> str:
        """Where the value of a quota is known from."""
        default = ALL_QUOTAS[quota]
        return self.quotas[region].sources.get(quota, f"{default.source}, {default.date}")


def require_sense(params: Mapping[str, Any], known_regions: Collection[str]) -> None:
    """Refuse what cannot be planned.

    Raises:
        FleetError: names the input, its value and what it may be.

    """
    for name, (low, high) in BOUNDS.items():
        if not low <= params[name] <= high:  # which also refuses what is not a number
            raise FleetError(f"{name} is {params[name]:,.12g}: give {low:,} to {high:,}")
    most = BOUNDS["messages_per_day"][1]
    if params["messages_per_day"] * params["peak"] > most:
        product = params["messages_per_day"] * params["peak"]
        raise FleetError(f"messages_per_day x peak is {product:,.12g}: give at most {most:,}, a connection's quota")
    _require_regions(params["regions"], known_regions)
    _require_shares(params["region_shares"], params["regions"])
    _require_quotas(params["quotas"], params["regions"])
    for name, choices in (("design", DESIGNS), ("machine_type", MACHINE_TYPES), ("store", STORES)):
        if params[name] not in choices:
            raise FleetError(f"{name} is {params[name]}: choose one of {', '.join(choices)}")


def _require_regions(regions: list[str], known: Collection[str]) -> None:
    if not regions:
        raise FleetError("regions is empty: name at least one")
    if len(set(regions)) < len(regions):
        raise FleetError(f"regions is {', '.join(regions)}: name each once")
    for region in regions:
        if region not in known:
            raise FleetError(f"regions has {region}, which AWS IoT does not know: choose of {', '.join(sorted(known))}")


def _require_shares(shares: Mapping[str, Any], regions: list[str]) -> None:
    if not shares:
        return
    if set(shares) != set(regions):
        raise FleetError(f"region_shares names {', '.join(shares)}: name each of {', '.join(regions)}, and no other")
    values = {region: _number(f"region_shares of {region}", value) for region, value in shares.items()}
    if min(values.values()) < 0 or abs(sum(values.values()) - 1) > SHARES_SUM_TO:
        listed = ", ".join(f"{value:g}" for value in values.values())
        raise FleetError(f"region_shares is {listed}: give parts of 1 that add up to it, for example 0.6 and 0.4")


def _require_quotas(quotas: Mapping[str, Any], regions: list[str]) -> None:
    for region, values in quotas.items():
        if region not in regions:
            raise FleetError(f"quotas names {region}: name one of {', '.join(regions)}")
        if not isinstance(values, Mapping):
            raise FleetError(f"quotas of {region} is {values}: give a value by name, for example {{AttachPolicy: 150}}")
        for name, value in values.items():
            if name not in ALL_QUOTAS:
                raise FleetError(f"quotas of {region} names {name}: name an operation of AWS IoT or one of "
                                 f"{', '.join(LIMITS)}")  # fmt: skip
            if not ALL_QUOTAS[name].adjustable:
                raise FleetError(f"quotas of {region} has {name}, which AWS does not raise: leave it out")
            if not 0 < _number(f"quotas of {region}, {name},", value) <= 1e9:
                raise FleetError(f"quotas of {region} has {name} {value}: give more than 0, at most 1,000,000,000")


def _number(what: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise FleetError(f"{what} is {value}: give a number") from None


def fleet_of(params: Mapping[str, Any], quotas: Mapping[str, Quotas]) -> Fleet:
    """The fleet that parameters describe which make sense; without shares each region has the same."""
    regions = params["regions"]
    shares = {region: float(params["region_shares"].get(region, 1 / len(regions))) for region in regions}
    names = {field.name for field in fields(Fleet)} - {"shares", "quotas"}
    return Fleet(shares=shares, quotas=quotas, **{name: params[name] for name in names})


def known_regions() -> set[str]:
    """Regions that have AWS IoT, by botocore's own list; no call."""
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    return {region for partition in partitions for region in session.get_available_regions("iot", partition)}


__all__ = ["ALL_QUOTAS", "BOUNDS", "MACHINE_TYPES", "STORES", "Fleet", "fleet_of", "known_regions", "require_sense"]
