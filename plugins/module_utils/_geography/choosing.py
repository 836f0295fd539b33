# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which region a device belongs to: the nearest one, or as the rules have it (docs/architecture.md).

Plain values in, plain values out. Of the standard library only: this file is packed into a Lambda function too.
Private to the collection.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, ItemsView, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

try:
    from ansible_collections.iotops.fleet.plugins.module_utils._geography.countries import CONTINENTS, COUNTRIES
    from ansible_collections.iotops.fleet.plugins.module_utils._geography.regions import REGIONS
except ImportError:  # beside a handler
    from countries import CONTINENTS, COUNTRIES  # type: ignore[import-not-found,no-redef]
    from regions import REGIONS  # type: ignore[import-not-found,no-redef]

# Of a sphere as large as the Earth (IUGG); it is at most 0.6 % wrong, which is less than data centres are apart.
RADIUS_KM = 6371.0088


class NoRegionAllowedError(Exception):
    """The rules leave no region for where the device is."""


class NoHealthyRegionError(Exception):
    """None of the regions that the device may be in is healthy."""


@dataclass(frozen=True)
class Location:
    """Where a device is, as far as it is known.

    Degrees north and east; ``country`` and ``continent`` are the two letters of countries.py, "" for unknown.

    Raises:
        ValueError: no place on Earth.

    """

    latitude: float | None
    longitude: float | None
    country: str = ""
    continent: str = ""

    def __post_init__(self) -> None:
        if self.latitude is None and self.longitude is None:
            return
        if self.latitude is None or self.longitude is None:
            raise ValueError("a position has a latitude and a longitude")
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(f"{self.latitude}, {self.longitude} is no place on Earth")


@dataclass(frozen=True)
class Rules:
    """What an operator wants.

    ``weights`` of regions: a distance counts as distance / weight (1 where none is given), and with 0 the region is
    never offered. ``continents``: regions that are preferred while one of them is healthy. ``countries``: law, the only
    regions for a country; none for nowhere. ``default_region`` is for devices that nobody can locate.
    """

    regions: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    continents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    countries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_region: str = ""

    @classmethod
    def from_json(cls, text: str) -> Rules:
        """Read an object with the members of this class; weights, continents and countries may be missing.

        Raises:
            ValueError: it is none, or a member is of another shape.

        """
        members = json.loads(text)
        if not isinstance(members, dict):
            raise ValueError("rules: not an object; write regions, default_region and, by choice, the others")
        unknown = sorted(members.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ValueError(f"rules: {', '.join(unknown)} is none of {', '.join(cls.__dataclass_fields__)}")
        return cls(
            regions=_names("regions", members.get("regions")),
            weights={name: _number(f"weights: {name}", each) for name, each in _object(members, "weights")},
            continents={code: _names(f"continents: {code}", each) for code, each in _object(members, "continents")},
            countries={code: _names(f"countries: {code}", each) for code, each in _object(members, "countries")},
            default_region=_name("default_region", members.get("default_region")),
        )

    def weight(self, region: str) -> float:
        """What the region's distance is divided by."""
        return self.weights.get(region, 1)


@dataclass(frozen=True)
class Choice:
    """A region for the device; ``reason`` is nearest, continent, country or default.

    ``distance_km`` is None where nobody knows where the device is.
    """

    region: str
    distance_km: int | None
    reason: str


def choose(location: Location | None, rules: Rules, healthy: Container[str]) -> list[Choice]:
    """All regions that the device may be offered, the best one first.

    Raises:
        NoRegionAllowedError: the rules leave none, healthy or not.
        NoHealthyRegionError: they leave some, but none of them is healthy.

    """
    device = location or Location(None, None)
    allowed = [name for name in _allowed(device, rules) if name in rules.regions and rules.weight(name) > 0]
    if not allowed:
        raise NoRegionAllowedError(f"no region may have devices of {device.country or 'an unknown country'}")
    offered = [name for name in allowed if name in healthy]
    if not offered:
        raise NoHealthyRegionError(f"none of {', '.join(sorted(allowed))} is healthy")
    choices = [_choice(name, device, rules) for name in offered]
    return sorted(choices, key=lambda choice: _rank(choice, device, rules))


def _allowed(device: Location, rules: Rules) -> tuple[str, ...]:
    """What the law leaves; a device of an unknown country may be one of any country that has a law."""
    if device.country in rules.countries:
        return rules.countries[device.country]
    if rules.countries and device.country not in COUNTRIES:
        return (rules.default_region,)
    return rules.regions


def _preferred(device: Location, rules: Rules) -> tuple[str, ...]:
    if device.country in rules.countries:
        return ()
    return rules.continents.get(COUNTRIES.get(device.country, device.continent), ())


def _choice(name: str, device: Location, rules: Rules) -> Choice:
    distance = _distance_km(name, device)
    if device.country in rules.countries:
        reason = "country"
    elif name in _preferred(device, rules):
        reason = "continent"
    else:
        reason = "default" if distance is None else "nearest"
    return Choice(name, None if distance is None else round(distance), reason)


def _rank(choice: Choice, device: Location, rules: Rules) -> tuple[bool, float, str]:
    """Smallest for the best; the names of regions break ties."""
    distance = _distance_km(choice.region, device)
    if distance is None:
        distance = 0 if choice.region == rules.default_region else 1
    return choice.reason != "continent", distance / rules.weight(choice.region), choice.region


def _distance_km(name: str, device: Location) -> float | None:
    if device.latitude is None or device.longitude is None:
        return None
    region = REGIONS[name]
    return great_circle_km(device.latitude, device.longitude, region.latitude, region.longitude)


def great_circle_km(a_lat: float, a_lon: float, b_lat: float, b_lon: float) -> float:
    """The shortest way over the Earth between two places in degrees, by the haversine formula."""
    north, east = math.radians(b_lat - a_lat), math.radians(b_lon - a_lon)
    parallels = math.cos(math.radians(a_lat)) * math.cos(math.radians(b_lat))
    haversine = math.sin(north / 2) ** 2 + parallels * math.sin(east / 2) ** 2
    return 2 * RADIUS_KM * math.asin(min(1, math.sqrt(haversine)))


def problems(rules: Rules) -> list[str]:
    """What is wrong with the rules, a line for each: input, value, remedy."""
    return [
        *_of_regions(rules),
        *_of_weights(rules),
        *_of_groups("continents", "continent", rules.continents, CONTINENTS, rules),
        *_of_groups("countries", "country", rules.countries, COUNTRIES, rules),
        *_of_empty(rules),
    ]


def _of_regions(rules: Rules) -> Iterator[str]:
    if not rules.regions:
        yield "regions: there is none; name those of the fleet"
    for name in rules.regions:
        if name not in REGIONS:
            yield f"regions: {name} is no region of AWS IoT Core ({', '.join(sorted(REGIONS))}); correct it"
    if rules.default_region not in rules.regions:
        yield f"default_region: {rules.default_region!r} is none of regions; {_one_of(rules.regions)}"
    elif rules.weight(rules.default_region) == 0:
        yield f"default_region: {rules.default_region} has the weight 0; raise it, or take another region"


def _of_weights(rules: Rules) -> Iterator[str]:
    for name, weight in rules.weights.items():
        if name not in rules.regions:
            yield f"weights: {name} is none of regions; {_one_of(rules.regions)}"
        if not (weight >= 0 and math.isfinite(weight)):
            yield f"weights: {weight} of {name} is no weight; give 0 or more"


def _of_groups(
    option: str, kind: str, groups: Mapping[str, tuple[str, ...]], codes: Container[str], rules: Rules
) -> Iterator[str]:
    for code, names in groups.items():
        if code not in codes:
            yield f"{option}: {code!r} is no {kind}; give its two capital letters, in quotes (YAML reads NO as false)"
        for name in names:
            if name not in rules.regions:
                yield f"{option}: {name} of {code} is none of regions; {_one_of(rules.regions)}"


def _of_empty(rules: Rules) -> Iterator[str]:
    for code, names in rules.continents.items():
        if not names:
            yield f"continents: {code} prefers no region; name one, or leave the rule out"
    for code, names in rules.countries.items():
        if names and all(rules.weight(name) == 0 for name in names):
            yield f"countries: all regions of {code} have the weight 0; raise one, or write [] for nowhere"


def _one_of(regions: tuple[str, ...]) -> str:
    return f"give one of {', '.join(regions)}"


def _object(members: Mapping[str, Any], name: str) -> ItemsView[str, Any]:
    value = members.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"{name}: {value!r} is no object")
    return value.items()


def _names(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: {value!r} is no list of regions")
    return tuple(_name(name, each) for each in value)


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: {value!r} is no name of a region")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: {value!r} is no number")
    return value


__all__ = [
    "Choice",
    "Location",
    "NoHealthyRegionError",
    "NoRegionAllowedError",
    "Rules",
    "choose",
    "great_circle_km",
    "problems",
]
