# SPDX-License-Identifier: GPL-3.0-or-later
"""Which region a device gets: distance, weights, the continent's preference, the country's law, and what is healthy."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._geography.choosing import (
    Choice,
    Location,
    NoHealthyRegionError,
    NoRegionAllowedError,
    Rules,
    choose,
    great_circle_km,
    problems,
)
from ansible_collections.iotops.fleet.plugins.module_utils._geography.countries import CONTINENTS, COUNTRIES
from ansible_collections.iotops.fleet.plugins.module_utils._geography.regions import REGIONS

FLEET = ("ap-southeast-2", "eu-central-1", "eu-west-1", "us-east-1")
GEOGRAPHY = Path(__file__).parents[3] / "plugins/module_utils/_geography"
BERLIN = Location(52.52, 13.40, "DE", "EU")
NEW_YORK = Location(40.71, -74.01, "US", "NA")
SYDNEY = Location(-33.87, 151.21, "AU", "OC")

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
places = st.builds(Location, latitudes, longitudes, st.sampled_from(["", *COUNTRIES]), st.just(""))
subsets = st.lists(st.sampled_from(FLEET), unique=True)


def rules(**members: Any) -> Rules:
    return Rules(**{"regions": FLEET, "default_region": "eu-west-1", **members})


def names(location: Location | None, wanted: Rules | None = None, healthy: tuple[str, ...] = FLEET) -> list[str]:
    return [choice.region for choice in choose(location, wanted or rules(), healthy)]


# --- distance


def test_all_regions_are_offered_the_nearest_first() -> None:
    assert choose(NEW_YORK, rules(), FLEET) == [
        Choice("us-east-1", 350, "nearest"),
        Choice("eu-west-1", 5116, "nearest"),
        Choice("eu-central-1", 6203, "nearest"),
        Choice("ap-southeast-2", 15989, "nearest"),
    ]


def test_only_healthy_regions_are_offered() -> None:
    assert names(NEW_YORK, healthy=("eu-central-1", "ap-southeast-2")) == ["eu-central-1", "ap-southeast-2"]


def test_a_region_that_is_healthy_but_not_of_the_fleet_is_not_offered() -> None:
    assert names(NEW_YORK, healthy=("us-east-2", "eu-west-1")) == ["eu-west-1"]


def test_without_a_healthy_region_there_is_none() -> None:
    with pytest.raises(NoHealthyRegionError, match="none of ap-southeast-2, eu-central-1, eu-west-1, us-east-1 is"):
        choose(NEW_YORK, rules(), ())


@pytest.mark.parametrize(
    ("here", "there", "km"),
    [
        ((51.51, -0.13), (51.51, -0.13), 0),
        ((51.51, -0.13), (48.86, 2.35), 344),  # London to Paris
        ((40.71, -74.01), (51.51, -0.13), 5570),  # New York to London
        ((-33.87, 151.21), (-33.45, -70.67), 11340),  # Sydney to Santiago, across the date line
        ((0, 179.9), (0, -179.9), 22),
        ((90, 0), (90, 123), 0),
        ((90, 0), (-90, 55), 20015),
        ((0, 0), (0, 180), 20015),
        ((89, 0), (89, 180), 222),  # over the pole
    ],
)
def test_distances_are_those_of_the_globe(here: tuple[float, float], there: tuple[float, float], km: float) -> None:
    assert great_circle_km(*here, *there) == pytest.approx(km, rel=0.003, abs=0.5)


@given(latitudes, longitudes, latitudes, longitudes)
def test_a_distance_is_the_same_both_ways_and_at_most_half_way_round(a: float, b: float, c: float, d: float) -> None:
    distance = great_circle_km(a, b, c, d)
    assert 0 <= distance <= math.pi * 6371.01
    assert distance == pytest.approx(great_circle_km(c, d, a, b), abs=1e-3)


@given(places, subsets, subsets, st.dictionaries(st.sampled_from(["DE", "US", "AU"]), subsets.map(tuple)))
def test_whatever_the_rules_the_offer_is_healthy_lawful_and_has_each_region_once(
    place: Location, healthy: list[str], idle: list[str], countries: dict[str, tuple[str, ...]]
) -> None:
    wanted = rules(weights=dict.fromkeys(idle, 0), countries=countries, continents={"EU": ("eu-west-1",)})
    try:
        offered = [choice.region for choice in choose(place, wanted, healthy)]
    except NoHealthyRegionError:
        return
    except NoRegionAllowedError:
        assert idle or place.country in countries
        return
    assert offered
    assert len(set(offered)) == len(offered)
    assert set(offered) <= set(healthy) - set(idle)
    assert set(offered) <= set(countries.get(place.country, FLEET))


def test_of_two_as_far_the_first_by_name_is_taken() -> None:
    """The two regions of Ohio are one place in our table."""
    wanted = Rules(regions=("us-gov-east-1", "us-east-2"), default_region="us-gov-east-1")
    assert names(NEW_YORK, wanted, wanted.regions) == ["us-east-2", "us-gov-east-1"]


@pytest.mark.parametrize(("longitude", "km"), [(179.9, 3418), (180, 3427), (-180, 3427), (-179.9, 3435)])
def test_the_date_line_is_no_border(longitude: float, km: int) -> None:
    assert choose(Location(-17.0, longitude, "FJ"), rules(), FLEET)[0] == Choice("ap-southeast-2", km, "nearest")


@pytest.mark.parametrize(("latitude", "region"), [(90, "eu-west-1"), (-90, "ap-southeast-2")])
def test_at_a_pole_the_longitude_makes_no_difference(latitude: float, region: str) -> None:
    offers = {tuple(names(Location(latitude, longitude, "AQ"))) for longitude in (-180, -90, 0, 77.7, 180)}
    assert [offer[0] for offer in offers] == [region]


# --- weights


def test_a_weight_makes_a_region_reach_further() -> None:
    dublin_to_frankfurt = Location(52.0, 1.0, "GB")  # 520 km from Dublin, 570 km from Frankfurt
    assert names(dublin_to_frankfurt)[0] == "eu-west-1"
    assert names(dublin_to_frankfurt, rules(weights={"eu-central-1": 1.5}))[0] == "eu-central-1"
    assert names(dublin_to_frankfurt, rules(weights={"eu-west-1": 0.5}))[0] == "eu-central-1"


def test_the_distance_that_is_told_is_the_true_one() -> None:
    assert choose(NEW_YORK, rules(weights={"us-east-1": 10}), FLEET)[0].distance_km == 350


def test_a_region_of_weight_0_is_never_offered() -> None:
    wanted = rules(weights={"us-east-1": 0})
    assert "us-east-1" not in names(NEW_YORK, wanted)
    assert "us-east-1" not in names(None, wanted)
    with pytest.raises(NoHealthyRegionError):
        choose(NEW_YORK, wanted, ("us-east-1",))


# --- the continent's preference


def test_a_continent_prefers_its_regions_and_falls_back_to_the_nearest() -> None:
    wanted = rules(continents={"NA": ("eu-central-1", "eu-west-1")})
    assert [(choice.region, choice.reason) for choice in choose(NEW_YORK, wanted, FLEET)] == [
        ("eu-west-1", "continent"),
        ("eu-central-1", "continent"),
        ("us-east-1", "nearest"),
        ("ap-southeast-2", "nearest"),
    ]
    assert names(NEW_YORK, wanted, ("us-east-1", "ap-southeast-2")) == ["us-east-1", "ap-southeast-2"]
    assert names(SYDNEY, wanted)[0] == "ap-southeast-2", "another continent"


def test_the_continent_follows_from_the_country_and_else_from_the_source() -> None:
    wanted = rules(continents={"AS": ("ap-southeast-2",)})
    assert names(Location(41.0, 29.0, "TR", "EU"), wanted)[0] == "ap-southeast-2", "in our table Turkey is in Asia"
    assert names(Location(41.0, 29.0, "", "AS"), wanted)[0] == "ap-southeast-2"
    assert names(Location(41.0, 29.0), wanted)[0] == "eu-central-1"


def test_a_country_without_coordinates_gets_its_continents_region_and_else_the_default() -> None:
    wanted = rules(continents={"OC": ("ap-southeast-2",)})
    assert choose(Location(None, None, "AU"), wanted, FLEET)[0] == Choice("ap-southeast-2", None, "continent")
    assert choose(Location(None, None, "JP"), wanted, FLEET)[0] == Choice("eu-west-1", None, "default")


# --- the country's law


def test_a_country_gets_only_what_its_law_allows() -> None:
    wanted = rules(countries={"DE": ("us-east-1", "eu-west-1")}, continents={"EU": ("eu-central-1",)})
    assert [(choice.region, choice.reason) for choice in choose(BERLIN, wanted, FLEET)] == [
        ("eu-west-1", "country"),
        ("us-east-1", "country"),
    ]
    assert names(NEW_YORK, wanted) == names(NEW_YORK), "another country"


def test_a_law_without_coordinates_puts_the_default_first() -> None:
    wanted = rules(countries={"DE": ("eu-central-1", "eu-west-1", "us-east-1")})
    assert choose(Location(None, None, "DE"), wanted, FLEET) == [
        Choice("eu-west-1", None, "country"),
        Choice("eu-central-1", None, "country"),
        Choice("us-east-1", None, "country"),
    ]


def test_an_empty_law_means_nowhere() -> None:
    with pytest.raises(NoRegionAllowedError, match="no region may have devices of DE"):
        choose(BERLIN, rules(countries={"DE": ()}), FLEET)


def test_the_law_holds_when_its_region_is_evacuated() -> None:
    healthy = tuple(name for name in FLEET if name != "eu-central-1")
    with pytest.raises(NoHealthyRegionError, match="none of eu-central-1 is healthy"):
        choose(BERLIN, rules(countries={"DE": ("eu-central-1",)}), healthy)


def test_a_law_that_names_only_a_region_of_weight_0_leaves_none() -> None:
    with pytest.raises(NoRegionAllowedError):
        choose(BERLIN, rules(countries={"DE": ("eu-central-1",)}, weights={"eu-central-1": 0}), FLEET)


@pytest.mark.parametrize(
    "location", [None, Location(None, None), Location(52.52, 13.40), Location(52.52, 13.40, "ZZ"), Location(1, 1, "no")]
)
def test_where_countries_have_laws_an_unknown_country_gets_the_default_region_alone(location: Location | None) -> None:
    wanted = rules(countries={"DE": ("eu-central-1",)}, continents={"EU": ("eu-central-1",)})
    assert names(location, wanted) == ["eu-west-1"]
    with pytest.raises(NoHealthyRegionError):
        choose(location, wanted, ("eu-central-1", "us-east-1"))


def test_without_laws_an_unknown_country_gets_the_nearest() -> None:
    assert names(Location(52.52, 13.40, "ZZ"))[0] == "eu-central-1"


# --- nobody knows where it is


@pytest.mark.parametrize("location", [None, Location(None, None)])
def test_a_device_that_nobody_can_locate_gets_the_default_and_else_the_others_by_name(
    location: Location | None,
) -> None:
    assert choose(location, rules(), FLEET) == [
        Choice("eu-west-1", None, "default"),
        Choice("ap-southeast-2", None, "default"),
        Choice("eu-central-1", None, "default"),
        Choice("us-east-1", None, "default"),
    ]
    assert names(location, healthy=("us-east-1", "eu-central-1")) == ["eu-central-1", "us-east-1"]


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(90.1, 0), (-91, 0), (0, 180.5), (0, -181), (math.nan, 0), (0, math.nan), (math.inf, 0), (None, 0), (0, None)],
)
def test_what_is_no_place_on_earth_is_no_location(latitude: float | None, longitude: float | None) -> None:
    with pytest.raises(ValueError, match=r"place on Earth|a latitude and a longitude"):
        Location(latitude, longitude)


# --- rules


def test_rules_are_read_from_json() -> None:
    text = json.dumps({
        "regions": FLEET,
        "weights": {"eu-west-1": 2, "us-east-1": 0.5},
        "continents": {"EU": ["eu-west-1"]},
        "countries": {"DE": ["eu-central-1"], "CN": []},
        "default_region": "eu-west-1",
    })  # fmt: skip
    read = Rules.from_json(text)
    assert read == Rules(
        FLEET,
        {"eu-west-1": 2, "us-east-1": 0.5},
        {"EU": ("eu-west-1",)},
        {"DE": ("eu-central-1",), "CN": ()},
        "eu-west-1",
    )
    assert problems(read) == []
    assert Rules.from_json('{"regions": ["eu-west-1"], "default_region": "eu-west-1"}').countries == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "rules: not an object"),
        ('{"region": []}', "rules: region is none of regions, weights, continents, countries, default_region"),
        ('{"default_region": "eu-west-1"}', "regions: None is no list of regions"),
        ('{"regions": "eu-west-1", "default_region": "eu-west-1"}', "regions: 'eu-west-1' is no list"),
        ('{"regions": ["eu-west-1"]}', "default_region: None is no name of a region"),
        ('{"regions": [1], "default_region": "x"}', "regions: 1 is no name of a region"),
        ('{"regions": ["x"], "weights": [1], "default_region": "x"}', r"weights: \[1\] is no object"),
        ('{"regions": ["x"], "weights": {"x": "1"}, "default_region": "x"}', "weights: x: '1' is no number"),
        ('{"regions": ["x"], "weights": {"x": true}, "default_region": "x"}', "weights: x: True is no number"),
        ('{"regions": ["x"], "countries": {"DE": "x"}, "default_region": "x"}', "countries: DE: 'x' is no list"),
    ],
)
def test_json_that_is_no_rules_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules.from_json(text)


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({}, []),
        ({"regions": ()}, ["regions: there is none", "default_region: 'eu-west-1' is none of regions"]),
        ({"regions": (*FLEET, "eu-west-9")}, ["regions: eu-west-9 is no region of AWS IoT Core"]),
        ({"default_region": "us-east-2"}, ["default_region: 'us-east-2' is none of regions"]),
        ({"weights": {"eu-west-1": 0}}, ["default_region: eu-west-1 has the weight 0"]),
        ({"weights": {"us-east-1": -1}}, ["weights: -1 of us-east-1 is no weight"]),
        ({"weights": {"us-east-1": math.nan}}, ["weights: nan of us-east-1 is no weight"]),
        ({"weights": {"us-east-1": math.inf}}, ["weights: inf of us-east-1 is no weight"]),
        ({"weights": {"us-east-2": 1}}, ["weights: us-east-2 is none of regions"]),
        ({"continents": {"EA": ("eu-west-1",)}}, ["continents: 'EA' is no continent"]),
        ({"continents": {"EU": ()}}, ["continents: EU prefers no region"]),
        ({"continents": {"EU": ("us-east-2",)}}, ["continents: us-east-2 of EU is none of regions"]),
        ({"countries": {"UK": ("eu-west-1",)}}, ["countries: 'UK' is no country"]),
        ({"countries": {"False": ("eu-west-1",)}}, ["countries: 'False' is no country"]),
        ({"countries": {"DE": ("us-east-2",)}}, ["countries: us-east-2 of DE is none of regions"]),
        ({"countries": {"DE": ()}}, []),
        (
            {"countries": {"DE": ("us-east-1",)}, "weights": {"us-east-1": 0}},
            ["countries: all regions of DE have the weight 0"],
        ),
    ],
)
def test_problems_of_rules_are_named_with_a_remedy(members: dict[str, Any], found: list[str]) -> None:
    lines = problems(rules(**members))
    assert [line.startswith(start) for line, start in zip(lines, found, strict=True)] == [True] * len(found)
    assert all("; " in line for line in lines)


def test_choosing_works_beside_a_handler_without_the_collection(tmp_path: Path) -> None:
    for name in ("regions.py", "countries.py", "choosing.py"):
        (tmp_path / name).write_text((GEOGRAPHY / name).read_text())
    text = json.dumps({"regions": FLEET, "default_region": "eu-west-1"})
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from choosing import Location, Rules, choose\n"
        f"print(choose(Location(52.5, 13.4, 'DE'), Rules.from_json({text!r}), {FLEET!r})[0].region)\n"
        "assert 'ansible_collections' not in sys.modules\n"
    )
    # -I and -S: the standard library only
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("eu-central-1\n", "")


def test_the_fleet_of_these_tests_is_one_of_known_regions_and_continents() -> None:
    assert set(FLEET) <= REGIONS.keys()
    assert {region.continent for region in REGIONS.values()} <= CONTINENTS
