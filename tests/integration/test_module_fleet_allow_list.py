# SPDX-License-Identifier: GPL-3.0-or-later
"""Which new devices may come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.modules import Region
from tests.integration.operators import four_times

APPLICATION = "allowing"
TABLE = f"{APPLICATION}-allow-list"
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture(scope="module", autouse=True)
def _table(region: Region) -> None:
    region.client("dynamodb").create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "ThingName", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "ThingName", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )


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
    item = {name: {"S": value} for name, value in {"ThingName": "claimed", **claim}.items()}
    region.client("dynamodb").put_item(TableName=TABLE, Item=item)

    def entry() -> dict[str, str]:
        found = region.run("fleet_allow_list_info", application=APPLICATION)["devices"]
        return next(each for each in found if each["thing_name"] == "claimed")

    assert not region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"])["changed"]
    region.run("fleet_allow_list", application=APPLICATION, devices=[f"claimed,{OTHER}"])
    region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"])
    assert (entry()["claimed_by"], entry()["claimed_in"], entry()["certificate_id"]) == (ONE, region.name, "")
    real = four_times(
        lambda check: region.run(
            "fleet_allow_list", check=check, application=APPLICATION, devices=["claimed"], again=True
        ),
        entry,
    )
    assert real["allow_list"] == {"named": 1, "written": 1, "removed": 0}
    assert (entry()["claimed_by"], bool(entry()["given_again_at"])) == ("", True)
    region.run("fleet_allow_list", application=APPLICATION, devices=["claimed"], state="absent")


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
