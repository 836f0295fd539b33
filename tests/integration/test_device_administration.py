# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator makes, lists, disables, enables and deletes devices.

That check mode says what each command then does shows test_device_administration_large.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued

MADE = "made-[1:3]"
NAMES = ["made-1", "made-2", "made-3"]
ALL = [*NAMES, "several"]


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("administration"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


def devices(fleet: Revocable, action: str, names: str, *more: str, code: int = 0) -> str:
    """The output of playbooks/devices.yml, which must end so, on one line."""
    wanted = [f"fleet_action={action}", f"fleet_devices='{names}'", "device_administration_quota_share=1", *more]
    ended, output = fleet.playbook(*wanted, name="devices")
    assert ended == code, output
    return re.sub(r"\s+", " ", output)


def decide(fleet: Revocable, state: str) -> dict[str, Any]:
    """What is said of a decision on all."""
    states: dict[str, Any] = at(fleet.deployment).run(
        "fleet_device_states",
        application=fleet.deployment.application,
        names=ALL,
        state=state,
        reason="test",
        regions=list(BOTH),
        quota_share=1.0,
    )["states"]
    return states


@pytest.fixture(scope="module")
def made(fleet: Revocable) -> list[Issued]:
    """Devices that the playbook made."""
    done = devices(fleet, "create", MADE)
    assert "create: 3 devices, 3 new, 0 in the registry already, 0 left alone" in done
    return fleet.issue(*NAMES)


@pytest.fixture(scope="module")
def several(fleet: Revocable, made: list[Issued]) -> list[Issued]:
    """A device with two certificates, the last of which a thing that somebody made by hand has, too."""
    deployment = fleet.deployment
    certificates = [deployment.issue("several") for _each in range(2)]
    for each in certificates:
        deployment.admit(each, HOME)
        eventually(lambda each=each: deployment.certificate(AWAY, each) == "ACTIVE")
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, "several"))
    at(deployment, HOME).run("iot_thing", thing_name="by-hand", principals=[certificates[1].id])
    return certificates


@pytest.fixture
def claim(fleet: Revocable) -> Iterator[str]:
    """The id of a claim certificate of the home region."""
    iot, policy = fleet.deployment.sandbox.client("iot", HOME), f"{fleet.deployment.application}-claim"
    iot.create_policy(policyName=policy, policyDocument='{"Version": "2012-10-17", "Statement": []}')
    made = iot.create_keys_and_certificate(setAsActive=False)
    iot.attach_policy(policyName=policy, target=made["certificateArn"])
    yield str(made["certificateId"])
    iot.detach_policy(policyName=policy, target=made["certificateArn"])
    iot.delete_certificate(certificateId=made["certificateId"])
    iot.delete_policy(policyName=policy)


@pytest.mark.defect("S3-13")
def test_all_certificates_of_all_things_are_listed_also_of_those_without_a_row(
    fleet: Revocable, several: list[Issued], claim: str
) -> None:
    here, there = (
        at(fleet.deployment, region).run(
            "fleet_devices_info", application=fleet.deployment.application, quota_share=1.0
        )
        for region in BOTH
    )
    for region in (here, there):
        by_name = {each["thing_name"]: each for each in region["devices"]}
        assert {*NAMES, "several"} <= set(by_name)
        assert ("by-hand" in by_name) is (region is here)
        statuses = {each["certificate_id"]: each["status"] for each in by_name["several"]["certificates"]}
        assert statuses == dict.fromkeys([each.id for each in several], "ACTIVE")
    assert {"certificate_id": claim, "status": "INACTIVE", "claim": True} in here["loose_certificates"]
    [by_hand] = [each for each in here["devices"] if each["thing_name"] == "by-hand"]
    [shared] = by_hand["certificates"]
    assert (by_hand["state"], shared["in_row"]) == ("", False)
    assert (shared["certificate_id"], shared["other_things"]) == (several[1].id, ["several"])


@pytest.mark.defect("S3-19")
def test_disabled_devices_lose_their_session_and_enabled_ones_come_back(
    fleet: Revocable, made: list[Issued], several: list[Issued]
) -> None:
    deployment = fleet.deployment
    sessions = [deployment.connected(made[0], HOME), deployment.connected(several[1], AWAY)]
    assert decide(fleet, "SUSPENDED")["written"] == 4
    for session in sessions:
        assert session.lost.wait(10), "its connection was left open"
        session.close()
    for region in BOTH:
        assert {deployment.row(region, name)["State"] for name in ALL} == {"SUSPENDED"}
        assert {deployment.certificate(region, each) for each in (*made, *several)} == {"INACTIVE"}
        assert not deployment.knock(made[0], region)
    assert decide(fleet, "ACTIVE")["written"] == 4
    for region in BOTH:
        deployment.connected(made[0], region).close()
        deployment.connected(several[0], region).close()


@pytest.mark.defect("S3-12")
def test_deletion_leaves_nothing_behind_and_takes_nobody_along(
    fleet: Revocable, made: list[Issued], several: list[Issued]
) -> None:
    deployment, wanted = fleet.deployment, f"{MADE},several"
    # A region that cannot be read.
    lost = json.dumps({"device_administration_threads": f"{{{{ 0 if inventory_hostname == '{AWAY}' else 8 }}}}"})
    refused = devices(fleet, "delete", wanted, lost, code=2)
    assert f"certificate {several[1].id} of several in {HOME} is that of by-hand, too" in refused
    assert f"{AWAY} could not be looked at (threads=0 is less than 1: set 1 or more): run this again when" in refused
    assert {deployment.row(HOME, name)["State"] for name in ALL} == {"ACTIVE"}
    at(deployment, HOME).run("iot_thing", thing_name="by-hand", state="absent")
    done = devices(fleet, "delete", wanted)
    assert "delete: 4 devices, 4 change to DELETED, 0 were that already, 0 left alone" in done
    assert "4 rows were written, and every region of the run has applied all of them" in done
    for region in BOTH:
        pages = deployment.sandbox.client("iot", region).get_paginator("list_things").paginate()
        assert not {each["thingName"] for page in pages for each in page["things"]} & set(ALL)
        for certificate in (*made, *several):
            assert deployment.certificate(region, certificate) == "REVOKED"
            assert (deployment.things_of(region, certificate), deployment.policies_of(region, certificate)) == ([], [])
