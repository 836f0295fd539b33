# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of regions and countries, against what botocore and others know."""

from __future__ import annotations

import re
from itertools import combinations

import botocore.session
import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._geography.choosing import great_circle_km
from ansible_collections.iotops.fleet.plugins.module_utils._geography.countries import CONTINENTS, COUNTRIES
from ansible_collections.iotops.fleet.plugins.module_utils._geography.regions import REGIONS, Region

SESSION = botocore.session.get_session()
PARTITIONS = ("aws", "aws-us-gov", "aws-cn")
# Where botocore calls a region after a town, it is this one.
TOWNS = {
    "Bahrain": "Manama", "Ireland": "Dublin", "Ningxia": "Zhongwei", "Ohio": "Columbus", "Oregon": "Boardman",
    "N. Virginia": "Ashburn", "N. California": "San Jose", "Spain": "Zaragoza", "Stockholm": "Eskilstuna",
    "UAE": "Abu Dhabi", "Malaysia": "Kuala Lumpur", "Central": "Montréal", "US-East": "Columbus",
    "US-West": "Boardman",
}  # fmt: skip
# Rough boxes around continents: south, north, west, east.
BOXES = {
    "AS": (-11, 82, 25, 180),
    "EU": (27, 82, -32, 60),
    "NA": (7, 84, -180, -11),
    "OC": (-55, 30, 110, 180),
    "SA": (-57, 13, -93, -26),
}


def descriptions() -> dict[str, str]:
    """Region -> what AWS calls it in parentheses, such as ``N. Virginia``."""
    found = {}
    for partition in SESSION.get_data("endpoints")["partitions"]:
        for name, region in partition["regions"].items():
            match = re.search(r"\((.+)\)", region["description"])
            found[name] = match[1] if match else region["description"]
    return found


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_region_of_iot_core_is_known(partition: str) -> None:
    names = SESSION.get_available_regions("iot", partition)
    assert names
    assert set(names) <= REGIONS.keys()


def test_no_other_region_is_known() -> None:
    assert REGIONS.keys() == {name for each in PARTITIONS for name in SESSION.get_available_regions("iot", each)}


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_a_region_is_where_aws_says_and_names_its_source(region: Region) -> None:
    called = descriptions()[region.name]
    assert region.place.startswith(TOWNS.get(called, called).replace("Sao", "São"))
    assert re.fullmatch(r"GeoNames [1-9]\d+, https://\S+", region.source)
    south, north, west, east = BOXES[region.continent]
    assert south <= region.latitude <= north
    assert west <= region.longitude <= east


def test_regions_are_apart_but_for_those_of_the_government() -> None:
    near = {
        frozenset((a.name, b.name))
        for a, b in combinations(REGIONS.values(), 2)
        if great_circle_km(a.latitude, a.longitude, b.latitude, b.longitude) < 200
    }
    assert near == {frozenset({"us-east-2", "us-gov-east-1"}), frozenset({"us-west-2", "us-gov-west-1"})}


def test_every_country_has_one_continent() -> None:
    # ISO 3166-1 has 249 countries; XK is not one of them.
    assert len(COUNTRIES.keys() - {"XK"}) == 249
    assert all(re.fullmatch("[A-Z]{2}", country) for country in COUNTRIES)
    assert set(COUNTRIES.values()) == CONTINENTS == {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}


def test_no_country_stands_on_two_continents_of_the_table() -> None:
    from ansible_collections.iotops.fleet.plugins.module_utils._geography import countries

    codes = [country for group in countries._CODES.values() for country in group.split()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("country", "continent"),
    [
        ("RU", "EU"), ("TR", "AS"), ("CY", "EU"), ("GE", "AS"), ("KZ", "AS"), ("EG", "AF"), ("GL", "NA"), ("MX", "NA"),
        ("PA", "NA"), ("CO", "SA"), ("TT", "NA"), ("NO", "EU"), ("IL", "AS"), ("ID", "AS"), ("PG", "OC"), ("RE", "AF"),
        ("GF", "SA"), ("HK", "AS"), ("TW", "AS"), ("XK", "EU"), ("AQ", "AN"),
    ],
)  # fmt: skip
def test_countries_that_one_could_argue_about(country: str, continent: str) -> None:
    assert COUNTRIES[country] == continent
