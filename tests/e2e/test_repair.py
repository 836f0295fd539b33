# SPDX-License-Identifier: GPL-3.0-or-later
"""One command makes the regions what the registry says, by the runbook's words."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import REGIONS, Fleet, Run
from tests.processes import kill

pytestmark = pytest.mark.long  # in short: molecule's replication_repair, tests/integration/test_replication_repair.py
APPLICATION = "multi-region-iot"
HOME, AWAY = REGIONS
RULE = "multi_region_iot_register_device"
DEVICES = 8
# Nothing has to settle on the sandbox, and the devices are as young as the fleet.
AT_ONCE = (
    "-e",
    "replication_check_settling=0",
    "-e",
    "replication_repair_settling=0",
    "-e",
    "replication_check_share=1",
)
PLAYBOOK = "playbooks/repair_replication.yml"


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet with some devices, in which nothing is wrong."""
    sandbox = Sandbox(tmp_path_factory.mktemp("seeded") / "sandbox").start()
    fleet = Fleet(sandbox)
    fleet.run("site.yml").ok()
    sandbox.seed(devices=DEVICES, regions=REGIONS, application=APPLICATION)
    yield fleet
    sandbox.stop()


def iot(fleet: Fleet, region: str) -> Any:
    return fleet.sandbox.client("iot", region)


def certificate_of(fleet: Fleet, region: str, thing: str) -> str:
    """The ARN of the one that is attached."""
    return str(iot(fleet, region).list_thing_principals(thingName=thing)["principals"][0])


def spoil(fleet: Fleet, region: str, *things: str) -> None:
    """Take the policy from devices."""
    for thing in things:
        arn = certificate_of(fleet, region, thing)
        iot(fleet, region).detach_policy(policyName=f"{APPLICATION}-device", target=arn)


def policies(fleet: Fleet, region: str, thing: str) -> list[str]:
    attached = iot(fleet, region).list_attached_policies(target=certificate_of(fleet, region, thing))["policies"]
    return [policy["policyName"] for policy in attached]


def repair(fleet: Fleet, *arguments: str) -> Run:
    return fleet.run(PLAYBOOK, *AT_ONCE, *arguments)


def test_devices_and_regions_are_repaired_and_a_second_run_changes_nothing(seeded: Fleet) -> None:
    spoil(seeded, HOME, "seed-1")
    spoil(seeded, AWAY, "seed-1", "seed-2")
    iot(seeded, HOME).disable_topic_rule(ruleName=RULE)
    iot(seeded, HOME).update_event_configurations(eventConfigurations={"CERTIFICATE": {"Enabled": False}})
    [authority] = [each["certificateId"] for each in iot(seeded, AWAY).list_ca_certificates()["certificates"]]
    iot(seeded, AWAY).update_ca_certificate(certificateId=authority, newAutoRegistrationStatus="DISABLE")

    foreseen = repair(seeded, "--check", "--diff").ok()
    assert "+seed-2: converge-device, exactly" in foreseen.output
    assert policies(seeded, AWAY, "seed-2") == []
    assert iot(seeded, HOME).get_topic_rule(ruleName=RULE)["rule"]["ruleDisabled"]

    done = repair(seeded).ok()
    assert "2 devices, 2 repaired, 0 failed" in done.output
    assert f"put back: topic_rule {RULE}" in done.output
    for region, thing in ((HOME, "seed-1"), (AWAY, "seed-1"), (AWAY, "seed-2")):
        assert policies(seeded, region, thing) == [f"{APPLICATION}-device"]
    assert not iot(seeded, HOME).get_topic_rule(ruleName=RULE)["rule"]["ruleDisabled"]
    described = iot(seeded, AWAY).describe_ca_certificate(certificateId=authority)["certificateDescription"]
    assert described["autoRegistrationStatus"] == "ENABLE"
    configurations = iot(seeded, HOME).describe_event_configurations()["eventConfigurations"]
    assert configurations["CERTIFICATE"]["Enabled"]

    assert repair(seeded).ok().changed == {HOME: 0, AWAY: 0}


def test_the_other_region_is_left_alone_when_one_is_named(seeded: Fleet) -> None:
    for region in REGIONS:
        spoil(seeded, region, "seed-3")
    began = seeded.sandbox.now()
    repair(seeded, "--limit", AWAY, "-e", "fleet_repair_kinds=policy_missing,topic_rule").ok()
    assert [policies(seeded, region, "seed-3") for region in REGIONS] == [[], [f"{APPLICATION}-device"]]
    here = [call for call in seeded.sandbox.journal(since=began, region=HOME) if call["service"] == "iot"]
    assert [call for call in here if "assumed-role" in str(call["caller"])] == []
    repair(seeded, "--limit", HOME).ok()


def test_a_repair_that_was_killed_is_finished_by_the_next_one(seeded: Fleet) -> None:
    spoil(seeded, HOME, "seed-4", "seed-5", "seed-6")
    seeded.sandbox.fault(region=HOME, service="iot", operation="AttachPolicy", effect="delay", delay=3, times=3)
    began, process = seeded.sandbox.now(), seeded.start(PLAYBOOK, *AT_ONCE, output=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not seeded.sandbox.journal(since=began, region=HOME, operation="AttachPolicy"):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    kill(process)
    seeded.sandbox.clear_faults()
    repair(seeded).ok()
    for thing in ("seed-4", "seed-5", "seed-6"):
        assert policies(seeded, HOME, thing) == [f"{APPLICATION}-device"]
