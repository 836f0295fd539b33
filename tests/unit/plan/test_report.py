# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as data, as tables and as a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from ansible_collections.iotops.fleet.plugins.filter.plan import plan_tables
from ansible_collections.iotops.fleet.plugins.filter.report import table
from ansible_collections.iotops.fleet.plugins.module_utils._plan.chart import chart, duration
from ansible_collections.iotops.fleet.plugins.module_utils._plan.report import plan
from tests.unit.plan.fleets import MILLION, fleet

WORK = ["onboard", "backfill eu-west-1", "check rows", "check registry", "check full",
        "reconnect after the loss of eu-west-1", "reconnect all in eu-west-1"]  # fmt: skip


def requests(planned: dict[str, Any], region: str) -> dict[str, dict[str, Any]]:
    return {each["quota"]: each for each in planned["requests"] if each["region"] == region}


def test_a_plan_is_json_and_names_for_each_work_what_decides() -> None:
    planned = json.loads(json.dumps(plan(fleet())))
    assert [each["name"] for each in planned["work"]] == WORK
    first = planned["work"][0]
    assert (first["seconds"], first["quota"], first["value"]) == (66_666.7, "AttachPolicy", 15)
    assert first["from"] == "AWS IoT Core endpoints and quotas, AWS General Reference, 2023-07-27"
    assert first["wanted"] == 12  # a million in 24 hours
    assert planned["usd"] == pytest.approx(planned["onboarding"]["usd"] + planned["months"][0], abs=0.011)


def test_a_value_that_is_not_a_default_says_where_it_is_known_from() -> None:
    planned = fleet()
    told = replace(planned.quotas["eu-west-1"], sources={"AttachPolicy": "Service Quotas"})
    shown = plan(replace(planned, quotas={**planned.quotas, "eu-west-1": told}))
    assert shown["work"][0]["from"] == "Service Quotas"
    assert {"quotas": "AttachPolicy", "known from": "Service Quotas"} in plan_tables(shown)["sources"]


def test_the_digest_is_planned_where_the_index_is_on() -> None:
    assert "check digest" in [each["name"] for each in plan(fleet(indexing=True))["work"]]


def test_a_hundred_million_devices_need_these_quotas() -> None:
    planned = plan(fleet(100 * MILLION, hours=24 * 7, reconnect_minutes=60))
    asked = requests(planned, "us-west-2")
    assert asked["AttachPolicy"]["wanted"] == 166  # 165.3 devices a second, in every region
    assert asked["CreateThing"]["wanted"] == 166
    assert asked["DescribeCertificate"]["wanted"] == 83  # half of them enter here
    assert asked["JustInTimeRegistration"]["wanted"] == 83
    assert asked["RegisterCertificate"]["wanted"] == 166  # for the backfill
    assert asked["ListThingPrincipals"]["wanted"] == 166
    assert asked["ConcurrentConnections"]["wanted"] == 100 * MILLION
    assert asked["Connect"]["wanted"] == 27_778  # all of them within an hour
    assert asked["InboundPublish"]["wanted"] == 27_778  # 24 a day each, while the other region is lost
    assert asked["AttachPolicy"]["ask_for"] == "AttachPolicy API TPS (L-CA7D4E3E)"
    assert asked["AttachPolicy"]["for"] == ["onboard", "backfill us-west-2"]
    assert {each["quota"] for each in planned["requests"] if not each["adjustable"]} == set()
    assert [each["quota"] for each in planned["fixed"]] == ["ConnectOfClient", "PublishOfConnection", "MessageSize"]


def test_a_plan_whose_requests_are_granted_has_none_and_meets_the_wishes() -> None:
    planned = plan(fleet(10 * MILLION, hours=8))
    granted: dict[str, float] = {}
    for each in planned["requests"]:
        granted[each["quota"]] = max(granted.get(each["quota"], 0), each["wanted"])
    again = plan(fleet(10 * MILLION, hours=8, given=granted))
    assert again["requests"] == []
    assert all(each["seconds"] <= each["hours"] * 3600 for each in again["work"])
    assert all(each["enough"] for each in again["loads"])


def test_one_region_has_nobody_to_lose() -> None:
    names = [each["name"] for each in plan(fleet(shares={"eu-west-1": 1.0}))["work"]]
    assert "reconnect all in eu-west-1" in names
    assert not [name for name in names if "loss" in name]


def test_a_region_without_devices_can_be_lost() -> None:
    assert plan(fleet(shares={"eu-west-1": 1.0, "us-west-2": 0.0}))["work"]


def test_the_smallest_fleet_has_a_plan() -> None:
    planned = plan(fleet(1, shares={"eu-west-1": 1.0}, messages_per_day=0, connects_per_day=0))
    assert planned["requests"] == []
    assert plan_tables(planned)["work"]


def test_designs_are_compared() -> None:
    found = {(each["design"], each["machine_type"]): each for each in plan(fleet())["designs"]}
    assert found["rows", "EXPRESS"]["usd"] == pytest.approx(28.03, abs=0.01)
    assert found["lookup", "STANDARD"]["usd"] == pytest.approx(565.92)
    assert found["lookup, filtered pipe", "STANDARD"]["usd"] == pytest.approx(489.52)
    assert found["lookup, filtered pipe", "EXPRESS"]["usd"] == pytest.approx(22.25)
    assert found["group", "EXPRESS"]["devices_per_second"] == 20


def test_tables_say_it_in_words() -> None:
    tables = plan_tables(plan(fleet()))
    assert tables["work"][0] == {
        "what": "onboard",
        "takes": "18.5 h",
        "devices/s": "15",
        "decided by": "AttachPolicy in eu-west-1",
        "which is": "15 a second",
        "for": "24.0 h",
        "it has to be": "as it is",
    }
    assert {
        "region": "us-west-2",
        "ask for": "Maximum concurrent client connections per account (L-75CAB723)",
        "is": "500,000",
        "wanted": "1,000,000",
        "for": "run without another region",
    } in tables["requests"]
    assert {
        "for": "monthly",
        "service": "AWS IoT Core",
        "what": "connectivity",
        "units": "43,800,000,000 connection minute",
        "USD": "3,504.00",
        "price": "AWS price list, 2026-09",
    } in tables["monthly"]
    shown = {name for row in tables["sources"] for name in row["quotas"].split(", ")}
    assert {"AttachPolicy", "Connect", "ConcurrentConnections", "TableReads"} <= shown
    for rows in tables.values():
        assert len(table(rows).splitlines()) == len(rows) + 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0667, "0.0667 s"),
        (333.33, "333 s"),
        (1999, "33 min"),
        (10_000, "2.8 h"),
        (66_667, "18.5 h"),
        (100_000, "27.8 h"),
        (6_666_667, "77 days"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_chart_shows_every_work_and_its_time() -> None:
    drawn = chart(plan(fleet()))
    root = ElementTree.fromstring(drawn)  # noqa: S314  # our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = {element.text for element in root.iter() if element.text}
    assert {*WORK, "18.5 h", "27.8 h", "13.9 h", "333 s"} <= texts
    assert any(text.startswith("1,000,000 devices in eu-west-1, us-west-2: USD 28 once") for text in texts)


@pytest.mark.parametrize(("devices", "words"), [(1, "0.0667 s"), (100 * MILLION, "77 days")])
def test_the_chart_has_room_for_the_smallest_and_the_largest_fleet(devices: int, words: str) -> None:
    drawn = chart(plan(fleet(devices, given={"AttachPolicy": 15})))
    assert words.encode() in drawn


def test_the_same_plan_is_the_same_picture_without_scripts() -> None:
    drawn = chart(plan(fleet()))
    assert drawn == chart(plan(fleet()))
    assert b"http://kozea" not in drawn
    assert b".js" not in drawn
