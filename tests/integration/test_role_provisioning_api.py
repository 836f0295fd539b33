# SPDX-License-Identifier: GPL-3.0-or-later
"""The role provisioning_api refuses what would only be found out half way through a deployment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox

HOME, OTHER = "eu-west-1", "us-west-2"
ROOT = Path.cwd()
NAME, CERTIFICATE = "provisioning.iot.example.com", "arn:aws:acm:us-east-1:123456789012:certificate/one"
TABLE = "asking-refusals"
EDGE = {
    "provisioning_api_edge_domain": NAME,
    "provisioning_api_edge_certificate_arn": CERTIFICATE,
    "provisioning_api_location_sources": ["edge", "database"],
}
# Exit code and output of a run.
Answer = tuple[int, str]


@pytest.fixture
def refuse(sandbox: Sandbox, tmp_path: Path) -> Any:
    """Run what judges the input with variables for both regions, or for each."""

    def run(both: dict[str, Any], each: dict[str, dict[str, Any]] | None = None) -> Answer:
        shutil.copytree(ROOT / "inventories/sandbox", tmp_path / "inventory", dirs_exist_ok=True)
        hosts = {"regions": {"hosts": {HOME: {}, OTHER: {}, **(each or {})}}}
        (tmp_path / "inventory/hosts.yml").write_text(json.dumps(hosts), encoding="utf-8")
        play = {
            "hosts": "regions",
            "gather_facts": False,
            "module_defaults": {"group/iotops.fleet.aws": "{{ fleet_aws }}"},
            "vars": {"fleet_provisioning_table": TABLE, **both},
            "tasks": [
                {"ansible.builtin.include_role": {"name": "iotops.fleet.provisioning_api", "tasks_from": "refuse"}}
            ],
        }
        (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
        done = subprocess.run(
            ["ansible-playbook", "--inventory", str(tmp_path / "inventory"), str(tmp_path / "play.yml")],
            cwd=ROOT,
            env={**os.environ, "IOTOPS_SANDBOX_DIR": str(sandbox.directory), "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


@pytest.fixture
def table(sandbox: Sandbox) -> Any:
    """Make the table with what is given; it goes again."""
    dynamodb = sandbox.client("dynamodb", HOME)

    def make(**given: Any) -> None:
        dynamodb.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": "thing_name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "thing_name", "KeyType": "HASH"}],
            **given,
        )

    yield make
    dynamodb.delete_table(TableName=TABLE)


def test_nothing_or_a_distribution_of_its_own_name_in_each_region_is_right(refuse: Any) -> None:
    assert refuse({})[0] == 0
    each = {region: {**EDGE, "provisioning_api_edge_domain": f"{region}.{NAME}"} for region in (HOME, OTHER)}
    code, output = refuse({}, each)
    assert code == 0, output


@pytest.mark.long
@pytest.mark.parametrize("missing", EDGE)
def test_a_distribution_is_its_name_its_certificate_and_its_use_together(refuse: Any, missing: str) -> None:
    code, output = refuse({}, {HOME: {name: value for name, value in EDGE.items() if name != missing}})
    assert code != 0
    assert "set all three, or none" in output


def test_two_regions_cannot_have_one_name(refuse: Any) -> None:
    code, output = refuse(EDGE)
    assert code != 0
    assert f"provisioning_api_edge_domain is {NAME} in {HOME} and {OTHER}: give each region's" in output


def test_the_table_of_another_application_is_refused(refuse: Any, table: Any) -> None:
    table(BillingMode="PAY_PER_REQUEST", Tags=[{"Key": "Application", "Value": "another"}])
    code, output = refuse({})
    assert code != 0
    assert f"provisioning_api_table: {TABLE} in {HOME} has the tag Application=another, so it is not of" in output


@pytest.mark.long
@pytest.mark.parametrize("tags", [[], [{"Key": "Application", "Value": "multi-region-iot"}]], ids=["none", "ours"])
def test_a_table_without_that_tag_or_of_this_application_is_used(refuse: Any, table: Any, tags: Any) -> None:
    table(BillingMode="PAY_PER_REQUEST", Tags=tags)
    code, output = refuse({})
    assert (code, "WARNING" in output) == (0, False), output


@pytest.mark.parametrize(("units", "is_warned_of"), [(5, True), (25, False)])
def test_a_table_that_a_crowd_will_find_too_slow_is_warned_of(
    refuse: Any, table: Any, units: int, is_warned_of: bool
) -> None:
    table(ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": units})
    code, output = refuse({})
    assert code == 0, output
    assert (f"WARNING: {TABLE} takes {units} writes a second" in output) is is_warned_of
