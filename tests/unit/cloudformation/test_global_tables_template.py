# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.filter.global_table_definitions import global_table_definitions
from ansible_collections.iotops.fleet.plugins.filter.replica_steps import replica_removal_steps, replica_steps

TEMPLATE = Path("files/cloudformation/global.yaml").read_text(encoding="utf-8")
HOME = "eu-west-1"


def regions(step: dict[str, Any]) -> list[str]:
    """The regions of a step, the same for all of its tables."""
    tables = [item["Properties"] for item in step["Resources"].values() if "GlobalTable" in item["Type"]]
    listed = [[HOME if isinstance(r["Region"], dict) else r["Region"] for r in t["Replicas"]] for t in tables]
    assert len(tables) == 7
    assert all(entry == listed[0] for entry in listed)
    return listed[0]


def test_a_new_stack_lists_all_regions_at_once() -> None:
    steps = replica_steps(TEMPLATE, [], ["us-west-2", HOME, "ap-southeast-2"], HOME)
    assert [regions(step) for step in steps] == [[HOME, "ap-southeast-2", "us-west-2"]]


def test_nothing_missing_is_one_step() -> None:
    steps = replica_steps(TEMPLATE, [HOME, "us-west-2"], [HOME, "us-west-2"], HOME)
    assert [regions(step) for step in steps] == [[HOME, "us-west-2"]]


def test_each_missing_region_is_a_step_of_its_own() -> None:
    steps = replica_steps(TEMPLATE, [HOME], [HOME, "us-west-2", "ap-southeast-2"], HOME)
    assert [regions(step) for step in steps] == [[HOME, "ap-southeast-2"], [HOME, "ap-southeast-2", "us-west-2"]]


def test_a_region_that_is_not_wanted_keeps_its_replica() -> None:
    steps = replica_steps(TEMPLATE, [HOME, "us-west-2"], [HOME, "ap-southeast-2"], HOME)
    assert [regions(step) for step in steps] == [[HOME, "ap-southeast-2", "us-west-2"]]


def test_replicas_are_made_like_the_home_regions() -> None:
    [step] = replica_steps(TEMPLATE, [], [HOME, "us-west-2"], HOME)
    home, other = step["Resources"]["Inventory"]["Properties"]["Replicas"]
    assert {**home, "Region": None} == {**other, "Region": None}


def test_each_replica_has_the_tags() -> None:
    [step] = replica_steps(TEMPLATE, [], [HOME, "us-west-2"], HOME, {"b": 2, "a": "1"})
    tags = [replica["Tags"] for replica in step["Resources"]["Data"]["Properties"]["Replicas"]]
    assert tags == [[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]] * 2


def test_a_region_that_is_removed_is_one_step_and_the_others_stay() -> None:
    present = ["ap-southeast-2", HOME, "us-west-2"]
    steps = replica_removal_steps(TEMPLATE, present, "ap-southeast-2", HOME)
    assert steps == replica_steps(TEMPLATE, [HOME, "us-west-2"], [], HOME)


def test_a_region_without_a_replica_is_no_step() -> None:
    assert replica_removal_steps(TEMPLATE, [HOME, "us-west-2"], "ap-southeast-2", HOME, protected=True) == []


def test_only_the_replica_that_goes_loses_its_protection_before() -> None:
    lifted, removed = replica_removal_steps(
        TEMPLATE, [HOME, "us-west-2", "ap-southeast-2"], "us-west-2", HOME, {}, True
    )
    assert (regions(lifted), regions(removed)) == ([HOME, "ap-southeast-2", "us-west-2"], [HOME, "ap-southeast-2"])
    home, kept, going = lifted["Resources"]["Inventory"]["Properties"]["Replicas"]
    assert going["DeletionProtectionEnabled"] is False
    assert home["DeletionProtectionEnabled"] == kept["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}


def test_the_home_regions_replica_is_not_removed_from_its_stack() -> None:
    with pytest.raises(AnsibleFilterError, match=f"{HOME} has the stack itself"):
        replica_removal_steps(TEMPLATE, [HOME, "us-west-2"], HOME, HOME)


@pytest.mark.parametrize("text", ["", "a: [", "Resources: {A: {Type: 'AWS::DynamoDB::GlobalTable'}}"])
def test_what_is_no_such_template_is_refused(text: str) -> None:
    with pytest.raises(AnsibleFilterError, match="not a template of global tables"):
        replica_steps(text, [], [HOME], HOME)
    with pytest.raises(AnsibleFilterError, match="not a template of global tables"):
        global_table_definitions(text, "fleet")


def test_definitions_have_the_form_of_the_info_module() -> None:
    tables = {table["condition"]: table for table in global_table_definitions(TEMPLATE, "fleet")}
    assert tables["CreateInventory"] == {
        "name": "fleet-device-inventory",
        "condition": "CreateInventory",
        "key_schema": {"HASH": "ThingName"},
        "global_secondary_indexes": {"CertificateId": {"HASH": "CertificateId"}},
        "stream_view_type": "NEW_AND_OLD_IMAGES",
    }
    assert tables["CreateData"]["key_schema"] == {"HASH": "PK", "RANGE": "SK"}
    names = ("AllowList", "Data", "Definitions", "Inventory", "Rejections", "Revocations", "Shadows")
    assert sorted(tables) == [f"Create{name}" for name in names]
