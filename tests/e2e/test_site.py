"""What a user relies on in ``site.yml``: it ends, it repeats, it previews, and it keeps to its regions."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from tests.e2e.fleet import ROOT, Fleet
from tests.e2e.listing import resources

REGIONS = ["eu-west-1", "us-west-2"]
READS = ("Describe", "Get", "List", "Query", "Scan", "Head", "BatchGet", "Search", "Lookup", "Validate")
HOME_READS = {
    ("dynamodb", operation)
    for operation in ("DescribeTable", "DescribeContinuousBackups", "DescribeTimeToLive", "ListTagsOfResource")
}
GLOBAL_SERVICES = {"iam", "route53", "sts"}


def writes(fleet: Fleet, since: datetime) -> list[str]:
    """Calls by an operator that change something, as ``region service operation``."""
    return [
        f"{call['region']} {call['service']} {call['operation']}"
        for call in fleet.sandbox.journal(since=since)
        if not call["operation"].startswith(READS)
    ]


@pytest.mark.long
def test_check_on_the_finished_state_shows_no_change_and_writes_nothing(fleet: Fleet) -> None:
    since = fleet.sandbox.now()
    check = fleet.run("site.yml", "--check", "--diff").ok()
    assert check.changes == []
    assert check.changed == dict.fromkeys(REGIONS, 0)
    assert writes(fleet, since) == []


def test_check_on_an_empty_account_writes_nothing_anywhere(empty_fleet: Fleet) -> None:
    before = resources(empty_fleet.sandbox, REGIONS)
    since = empty_fleet.sandbox.now()
    check = empty_fleet.run("site.yml", "--check", "--diff", "--limit", REGIONS[0]).ok()
    assert all(changed > 0 for changed in check.changed.values())
    assert writes(empty_fleet, since) == []
    assert resources(empty_fleet.sandbox, REGIONS) == before
    assert not empty_fleet.pki.exists()


def inventory_with(fleet: Fleet, directory: Path, *regions: str) -> Fleet:
    """The sandbox inventory with more regions, in a directory of its own."""
    shutil.copytree(fleet.inventory, directory)
    hosts = directory / "hosts.yml"
    content = yaml.safe_load(hosts.read_text())
    content["regions"]["hosts"].update(dict.fromkeys(regions))
    hosts.write_text(yaml.safe_dump(content))
    return Fleet(fleet.sandbox, directory)


def calls_elsewhere(fleet: Fleet, since: datetime, here: str) -> set[tuple[str, str]]:
    """Service and operation of the calls to other regions than ``here``."""
    return {
        (call["service"], call["operation"])
        for call in fleet.sandbox.journal(since=since)
        if call["region"] != here and call["service"] not in GLOBAL_SERVICES
    }


@pytest.mark.long  # in short: the next one
def test_a_limited_run_calls_no_other_region(empty_fleet: Fleet) -> None:
    empty_fleet.run("playbooks/build_pki.yml").ok()
    empty_fleet.run("playbooks/deploy_tables.yml").ok()
    since = empty_fleet.sandbox.now()
    empty_fleet.run("site.yml", "--limit", "us-west-2").ok()
    assert calls_elsewhere(empty_fleet, since, "us-west-2") <= HOME_READS
    empty_fleet.run("playbooks/verify.yml", "--limit", "us-west-2").ok()


@pytest.mark.defect("S1-29", "S1-31", "D-16")
@pytest.mark.long  # in short: tests/integration/test_regions.py
def test_a_third_region_needs_one_change_at_home(fleet: Fleet, tmp_path: Path) -> None:
    wider = inventory_with(fleet, tmp_path / "inventory", "ap-southeast-2")
    since = fleet.sandbox.now()
    wider.run("playbooks/deploy_tables.yml", "--limit", "ap-southeast-2").ok()
    at_home = [call for call in writes(wider, since) if call.startswith("eu-west-1 cloudformation")]
    assert at_home == ["eu-west-1 cloudformation UpdateStack"]
    assert not [call for call in writes(wider, since) if call.startswith("us-west-2 cloudformation")]
    since = fleet.sandbox.now()
    wider.run("site.yml", "--limit", "ap-southeast-2").ok()
    assert calls_elsewhere(wider, since, "ap-southeast-2") <= HOME_READS
    verified = wider.run("playbooks/verify.yml", "-e", "verify_device=dev-third").ok()
    assert "ap-southeast-2" in verified.output
    # Of the rest no region depends on the others.
    tables = wider.run("playbooks/deploy_tables.yml").ok()
    assert tables.changed == dict.fromkeys([*REGIONS, "ap-southeast-2"], 0)


def test_site_runs_by_path_from_the_root_only_with_its_configuration() -> None:
    assert (ROOT / "ansible.cfg").is_file()
    assert (ROOT / "collections/ansible_collections/iotops/fleet/roles").resolve() == ROOT / "roles"
