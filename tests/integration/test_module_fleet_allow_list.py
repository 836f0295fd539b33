# SPDX-License-Identifier: GPL-3.0-or-later
"""Which new devices may come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.modules import Region
from tests.integration.operators import four_times

APPLICATION = "allowing"
TABLE, ROWS = f"{APPLICATION}-allow-list", f"{APPLICATION}-device-inventory"
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture(scope="module", autouse=True)
def _table(region: Region) -> None:
    for table in (TABLE, ROWS):
        region.client("dynamodb").create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": "ThingName", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "ThingName", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )


def put(region: Region, table: str, **item: str) -> None:
    """Put an item of texts."""
    region.client("dynamodb").put_item(TableName=table, Item={name: {"S": value} for name, value in item.items()})


def listed(region: Region):
    found = region.run("fleet_allow_list_info", application=APPLICATION)["devices"]
    return {each["thing_name"]: each["certificate_id"] for each in found}


@pytest.mark.parametrize(
    ("wanted", "touched", "left"),
    [
        ({"devices": ["a", f"b,{ONE}"]}, (2, 0), {"a": "", "b": ONE}),
        ({"devices": ["a", f"b,{OTHER.upper()}"]}, (1, 0), {"a": "", "b": OTHER}),
        ({"devices": ["a", "unknown"], "state": "absent"}, (0, 1), {"b": OTHER}),
    ],
    ids=["create", "modify", "delete"],
)
def test_the_list_becomes_what_is_wanted(region: Region, wanted, touched, left) -> None:
    real = four_times(
        lambda check: region.run("fleet_allow_list", check=check, application=APPLICATION, **wanted),
        lambda: listed(region),
    )
    assert (real["allow_list"]["written"], real["allow_list"]["removed"]) == touched
    assert listed(region) == left


def test_a_batch_from_a_file_is_put_on_and_taken_off_although_dynamodb_throttles(
    region: Region, sandbox_only, tmp_path: Path
) -> None:
    batch = tmp_path / "batch.csv"
    names = [f"batch-{number}" for number in range(130)]
    batch.write_text("thing_name,certificate_id\n# made on Monday\n\n" + "\n".join(f"{name}, {ONE}" for name in names))
    before = listed(region)
    sandbox_only.fault(region=region.name, service="dynamodb", operation="BatchWriteItem", effect="throttle", times=2)
    real = region.run("fleet_allow_list", application=APPLICATION, path=str(batch))
    assert real["allow_list"] == {"named": 130, "written": 130, "removed": 0}
    assert listed(region) == {**before, **dict.fromkeys(names, ONE)}
    region.run("fleet_allow_list", application=APPLICATION, path=str(batch), state="absent")
    assert listed(region) == before


def test_a_claim_stays_until_its_name_is_given_again(region: Region) -> None:
    """As it is after the function authorize-claim gave the name away."""
    claim = {"ClaimedBy": ONE, "ClaimedAt": "2026-07-01T12:00:00Z", "ClaimedIn": region.name}
    put(region, TABLE, ThingName="claimed", **claim)

    def entry() -> dict[str, str]:
        found = region.run("fleet_allow_list_info", application=APPLICATION)["devices"]
        return next(each for each in found if each["thing_name"] == "claimed")

    assert not region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"])["changed"]
    region.run("fleet_allow_list", application=APPLICATION, devices=[f"claimed,{OTHER}"])
    region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"])
    assert (entry()["claimed_by"], entry()["claimed_in"], entry()["certificate_id"]) == (ONE, region.name, "")

    def again(check: bool) -> dict[str, Any]:
        done = region.run("fleet_allow_list", check=check, application=APPLICATION, devices=["claimed"], again=True)
        for each in done["diff"]["after"].values():
            each["given_again_at"] = bool(each["given_again_at"])  # the moments differ
        return done

    real = four_times(again, entry)
    assert real["allow_list"] == {"named": 1, "written": 1, "removed": 0}
    assert (entry()["claimed_by"], bool(entry()["given_again_at"])) == ("", True)
    region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"], state="absent")


def test_a_name_is_given_again_only_without_a_device_and_later_than_that_was_deleted(region: Region) -> None:
    again = {"application": APPLICATION, "devices": ["gone", "there"], "again": True}
    put(region, ROWS, ThingName="gone", State="DELETED", UpdatedAt="2099-07-01T12:00:00.500Z")
    put(region, ROWS, ThingName="there", State="SUSPENDED", UpdatedAt="2026-07-01T12:00:00Z")
    before = listed(region)
    assert region.refusal("fleet_allow_list", **again).startswith(
        "again=true: there (SUSPENDED): a name is given again"
    )
    assert listed(region) == before
    region.run("fleet_allow_list", **{**again, "devices": ["gone"]})
    found = region.run("fleet_allow_list_info", application=APPLICATION)["devices"]
    assert [each["given_again_at"] for each in found if each["thing_name"] == "gone"] == ["2099-07-01T12:00:01Z"]
    assert not region.run("fleet_allow_list", **{**again, "devices": ["gone"]})["changed"]
    region.run("fleet_allow_list", application=APPLICATION, devices=["gone"], state="absent")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"devices": ["a", "b c"]}, "devices, line 2: 'b c' is not name or name,certificate_id"),
        ({"devices": ["a,abc"]}, "devices, line 1: 'abc' is no certificate id"),
        ({"devices": ["a", f"a,{ONE}"]}, "devices, line 2: a has another certificate id than before"),
        ({"path": "/nowhere"}, "path: cannot read /nowhere"),
        ({"devices": ["a"], "threads": 0}, "threads=0 is less than 1"),
        ({"devices": ["a"], "state": "absent", "again": True}, "again=true and state=absent exclude each other"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(region: Region, wanted, message: str) -> None:
    assert region.refusal("fleet_allow_list", application=APPLICATION, **wanted).startswith(message)


def test_a_region_without_the_table_has_an_empty_list(region: Region) -> None:
    assert region.run("fleet_allow_list_info", application="nobody")["devices"] == []
