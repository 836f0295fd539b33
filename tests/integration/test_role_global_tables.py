# SPDX-License-Identifier: GPL-3.0-or-later
"""The role global_tables over several regions: what it asks of the home region, and what it adopts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox

HOME, OTHER, THIRD = "eu-west-1", "us-west-2", "ap-southeast-2"
ROOT = Path.cwd()
READS = ("Describe", "Get", "List")


class Fleet:
    """A fleet of its own in the shared sandbox: an inventory of three regions and a play of one role."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        self.application = f"t{uuid.uuid4().hex[:10]}"
        shutil.copytree(ROOT / "inventories/sandbox", folder / "inventory")
        hosts = {"regions": {"hosts": {region: {} for region in (HOME, OTHER, THIRD)}}}
        (folder / "inventory/hosts.yml").write_text(json.dumps(hosts), encoding="utf-8")

    def play(self, *arguments: str, limit: str = f"{HOME},{OTHER}", task: str = "main") -> tuple[int, str]:
        """Exit code and output of a run of the role."""
        role = {"name": "iotops.fleet.global_tables", "tasks_from": task}
        play = {
            "hosts": "regions",
            "gather_facts": False,
            "module_defaults": {"group/iotops.fleet.aws": "{{ fleet_aws }}"},
            "tasks": [{"ansible.builtin.include_role": role}],
        }
        (self.folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
        command = ["ansible-playbook", "--inventory", str(self.folder / "inventory"), "--limit", limit]
        extra = ["--extra-vars", f"fleet_application={self.application}", str(self.folder / "play.yml")]
        environment = {**os.environ, "IOTOPS_SANDBOX_DIR": str(self.sandbox.directory), "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            [*command, *arguments, *extra], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def run(self, *arguments: str, **options: str) -> tuple[str, list[dict[str, Any]]]:
        """Output of a run that must not fail, and the calls that it made."""
        before = self.sandbox.now()
        code, output = self.play(*arguments, **options)
        assert code == 0, output
        return output, self.sandbox.journal(before)

    def replicas(self, region: str) -> set[str]:
        """The regions of the inventory besides ``region``."""
        name = f"{self.application}-device-inventory"
        table = self.sandbox.client("dynamodb", region).describe_table(TableName=name)["Table"]
        return {replica["RegionName"] for replica in table.get("Replicas", [])} - {region}


@pytest.fixture
def fleet(sandbox: Sandbox, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(sandbox, tmp_path)
    yield made
    sandbox.client("cloudformation", HOME).delete_stack(StackName=f"{made.application}-global")


def writes(calls: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(c["region"], c["operation"]) for c in calls if not c["operation"].startswith(READS)]


@pytest.mark.long  # in short: tests/e2e/test_site.py
@pytest.mark.defect("D-16")
def test_regions_come_one_after_the_other_and_only_what_is_missing_is_asked_of_the_home_region(fleet: Fleet):
    _, calls = fleet.run("--check", "--diff")
    assert writes(calls) == []

    _, calls = fleet.run()
    assert writes(calls) == [(HOME, "CreateStack")]
    assert fleet.replicas(HOME) == {OTHER}

    output, calls = fleet.run(limit=OTHER)
    assert "changed=0" in output
    assert {call["region"] for call in calls} == {OTHER}

    _, calls = fleet.run(limit=THIRD)
    assert writes(calls) == [(HOME, "UpdateStack")]
    assert fleet.replicas(THIRD) == {HOME, OTHER}

    output, calls = fleet.run("--check", "--diff")
    assert "changed=0" in output
    assert writes(calls) == []


@pytest.mark.long
def test_a_fitting_table_is_adopted_and_outlives_the_stack(fleet: Fleet, sandbox: Sandbox):
    client, name = sandbox.client("dynamodb", HOME), f"{fleet.application}-revocations"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "Key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "Key", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    fleet.run(limit=HOME)
    output, _ = fleet.run(limit=HOME)
    assert "changed=0" in output

    code, output = fleet.play()
    assert code != 0
    assert f"Table {name} was made outside stack" in " ".join(output.split())

    fleet.run(task="absent", limit=HOME)
    assert client.describe_table(TableName=name)["Table"]["TableStatus"] == "ACTIVE"
    client.delete_table(TableName=name)


def test_a_table_that_does_not_fit_is_refused_before_anything_is_made(fleet: Fleet, sandbox: Sandbox):
    client, name = sandbox.client("dynamodb", HOME), f"{fleet.application}-device-inventory"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "ThingName", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "ThingName", "KeyType": "HASH"}],
    )
    before = sandbox.now()
    code, output = fleet.play()
    assert code != 0
    assert f"Table {name} in {HOME} cannot be adopted" in " ".join(output.split())
    assert writes(sandbox.journal(before)) == []
    client.delete_table(TableName=name)
