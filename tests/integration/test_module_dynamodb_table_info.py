# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.replica_steps import replica_steps
from tests.integration.modules import Region

MODULE = "dynamodb_table_info"
TEMPLATE = Path("files/cloudformation/global.yaml").read_text(encoding="utf-8")


def keep(home: Region, application: str, **params: Any) -> dict[str, Any]:
    return home.run("cloudformation_stack", stack_name=f"{application}-global", **params)


@pytest.fixture
def application(region: Region) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    keep(region, name, state="absent")


def test_a_table_that_does_not_exist_is_no_error(region: Region):
    [table] = region.run(MODULE, names=["no-such-table"])["tables"]
    assert table["exists"] is False
    assert table["status"] == "ABSENT"
    assert table["stream_arn"] is None


def test_waiting_ends_with_the_names_of_what_is_missing(region: Region):
    message = region.refusal(MODULE, names=["no-such-table"], wait_active=True, wait_timeout=0)
    assert message == f"Timed out after 0 s waiting for table no-such-table (ABSENT) in {region.name}"


def test_nothing_is_waited_for_in_check_mode(region: Region):
    assert region.run(MODULE, check=True, names=["no-such-table"], wait_active=True)["tables"]


def test_throughput_and_tags_are_told(region: Region):
    dynamodb, names = region.client("dynamodb"), [f"t{uuid.uuid4().hex[:10]}" for _ in range(2)]
    key = {"AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
           "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}]}  # fmt: skip
    units = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 5}
    tags = [{"Key": "Application", "Value": "another"}]
    dynamodb.create_table(TableName=names[0], BillingMode="PAY_PER_REQUEST", **key)
    dynamodb.create_table(TableName=names[1], ProvisionedThroughput=units, Tags=tags, **key)
    plain, provisioned = region.run(MODULE, names=names, wait_active=True, with_tags=True)["tables"]
    assert (plain["write_capacity_units"], plain["tags"]) == (None, {})
    assert (provisioned["write_capacity_units"], provisioned["tags"]) == (5, {"Application": "another"})
    assert region.run(MODULE, names=[names[1], "none"])["tables"][0]["tags"] == {}
    for name in names:
        dynamodb.delete_table(TableName=name)


@pytest.mark.defect("S1-31")
def test_both_regions_tell_of_the_same_global_table(region: Region, other_region: Region, application: str):
    regions = sorted([region.name, other_region.name])
    [template] = replica_steps(TEMPLATE, [], regions, region.name)
    keep(region, application, template_body=template, template_parameters={"Application": application})

    name = f"{application}-device-inventory"
    here, there = (each.run(MODULE, names=[name], wait_active=True)["tables"][0] for each in (region, other_region))
    for table in (here, there):
        assert table["active"]
        assert table["key_schema"] == {"HASH": "ThingName"}
        assert table["global_secondary_indexes"] == {"CertificateId": {"HASH": "CertificateId"}}
        assert table["stream_view_type"] == "NEW_AND_OLD_IMAGES"
        assert [replica["region"] for replica in table["replicas"]] == regions
    assert region.name in here["stream_arn"]
    assert other_region.name in there["stream_arn"]


def test_a_region_is_added_by_one_more_update(region: Region, other_region: Region, application: str):
    for present in ([], [region.name]):
        wanted = [region.name, *([other_region.name] if present else [])]
        for template in replica_steps(TEMPLATE, present, wanted, region.name):
            keep(region, application, template_body=template, template_parameters={"Application": application})
    names = [f"{application}-{table}" for table in ("data", "revocations", "rejections")]
    tables = other_region.run(MODULE, names=names, wait_active=True)["tables"]
    assert [table["name"] for table in tables] == names
    assert all(table["active"] for table in tables)
