# SPDX-License-Identifier: GPL-3.0-or-later
"""converge-device on the sandbox: a region's registry becomes what the row says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.deployment import Deployment, eventually

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)


@pytest.fixture(autouse=True)
def _calm(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.sandbox.clear_faults()
    for region in BOTH:
        deployment.dead_letters(region)


def settled_everywhere(deployment: Deployment, thing: str) -> None:
    eventually(lambda: deployment.row(HOME, thing) == deployment.row(AWAY, thing))
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, thing))


def test_a_suspended_device_is_out_everywhere_and_comes_back_when_it_is_resumed(deployment: Deployment) -> None:
    device = deployment.issue("suspended")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "suspended")
    deployment.write(HOME, "suspended", State="SUSPENDED")
    settled_everywhere(deployment, "suspended")
    assert [deployment.certificate(region, device) for region in BOTH] == ["INACTIVE", "INACTIVE"]
    assert not deployment.knock(device, AWAY)
    deployment.write(AWAY, "suspended", State="ACTIVE")
    settled_everywhere(deployment, "suspended")
    for region in BOTH:
        deployment.connected(device, region).close()


def test_a_revoked_device_stays_out_of_every_region_and_cannot_come_back(deployment: Deployment) -> None:
    device = deployment.issue("revoked")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "revoked")
    deployment.write(HOME, "revoked", State="REVOKED")
    settled_everywhere(deployment, "revoked")
    for region in BOTH:
        assert deployment.certificate(region, device) == "REVOKED"
        assert not deployment.knock(device, region)


def test_a_revoked_certificate_that_a_region_never_saw_is_registered_there_as_revoked(deployment: Deployment) -> None:
    device = deployment.issue("unseen")
    deployment.sandbox.replication(delay=3)
    try:
        deployment.admit(device, HOME)
        deployment.write(HOME, "unseen", State="REVOKED")
    finally:
        deployment.sandbox.replication(delay=0.2)
    settled_everywhere(deployment, "unseen")
    assert [deployment.certificate(region, device) for region in BOTH] == ["REVOKED", "REVOKED"]
    assert not deployment.knock(device, AWAY)


def test_a_revocation_beats_the_row(deployment: Deployment) -> None:
    device = deployment.issue("beaten")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "beaten")
    deployment.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{deployment.application}-revocations", Item={"Key": {"S": f"id:{device.id}"}}
    )
    time.sleep(0.5)
    deployment.write(HOME, "beaten", State="ACTIVE")
    settled_everywhere(deployment, "beaten")
    assert [deployment.certificate(region, device) for region in BOTH] == ["REVOKED", "REVOKED"]


def test_a_deleted_device_is_revoked_and_detached(deployment: Deployment) -> None:
    device = deployment.issue("deleted")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "deleted")
    deployment.write(HOME, "deleted", State="DELETED")
    settled_everywhere(deployment, "deleted")
    for region in BOTH:
        assert deployment.certificate(region, device) == "REVOKED"
        assert deployment.things_of(region, device) == []
        assert deployment.policies_of(region, device) == []


def test_a_thing_that_exists_is_adopted_with_what_it_has(deployment: Deployment) -> None:
    device = deployment.issue("handmade")
    for region in BOTH:
        deployment.sandbox.client("iot", region).create_thing(
            thingName="handmade", attributePayload={"attributes": {"room": "7"}}
        )
    deployment.admit(device, AWAY)
    settled_everywhere(deployment, "handmade")
    for region in BOTH:
        thing = deployment.sandbox.client("iot", region).describe_thing(thingName="handmade")
        assert thing["attributes"] == {"room": "7", "certificateId": device.id}
        assert thing["thingTypeName"] == f"{deployment.application}-device"
        assert deployment.status(region, "handmade")["ThingId"] == thing["thingId"]
        deployment.connected(device, region).close()


def test_a_region_whose_ca_is_not_active_takes_the_certificate_without_it(deployment: Deployment) -> None:
    device = deployment.issue("caless")
    iot, ca = deployment.sandbox.client("iot", AWAY), deployment.ca_ids[AWAY]
    iot.update_ca_certificate(certificateId=ca, newStatus="INACTIVE")
    try:
        deployment.admit(device, HOME)
        settled_everywhere(deployment, "caless")
    finally:
        iot.update_ca_certificate(certificateId=ca, newStatus="ACTIVE")
    assert deployment.certificate(AWAY, device) == "ACTIVE"
    deployment.connected(device, AWAY).close()


def test_waking_it_again_costs_reads_and_no_registry_call(deployment: Deployment) -> None:
    device = deployment.issue("awake")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "awake")
    applied, began = deployment.status(HOME, "awake"), deployment.sandbox.now()
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: deployment.start(HOME, "converge-device", {"ThingName": "awake"}), range(5)))
    leases = {"since": began, "region": HOME, "service": "dynamodb", "operation": "UpdateItem"}
    eventually(lambda: len(deployment.sandbox.journal(**leases)) > 5)  # five wakes, and one lease at least given back
    eventually(lambda: deployment.settled(HOME, "awake"))
    calls = deployment.sandbox.journal(since=began, region=HOME, service="iot")
    assert [call for call in calls if "assumed-role" in str(call["caller"])] == []
    assert deployment.status(HOME, "awake") == applied


def test_a_device_without_a_row_leaves_no_trace(deployment: Deployment) -> None:
    began = deployment.sandbox.now()
    deployment.start(HOME, "converge-device", {"ThingName": "nobody"})
    eventually(lambda: deployment.sandbox.journal(since=began, service="dynamodb", operation="DeleteItem"))
    eventually(lambda: deployment.status(HOME, "nobody") == {})
    assert deployment.dead_letters(HOME) == []


def test_what_changes_while_the_lease_is_held_is_applied_by_its_holder(deployment: Deployment) -> None:
    device = deployment.issue("changing")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "changing")
    fault = deployment.sandbox.fault(region=HOME, service="iot", operation="CreateThing", effect="delay", delay=1.5)
    deployment.write(HOME, "changing", State="SUSPENDED")
    eventually(lambda: "LeaseOwner" in deployment.status(HOME, "changing"))
    deployment.write(HOME, "changing", State="ACTIVE")
    deployment.sandbox.clear_faults(fault)
    settled_everywhere(deployment, "changing")
    assert deployment.certificate(HOME, device) == "ACTIVE"


@pytest.mark.parametrize("operation", ["CreateThing", "AttachThingPrincipal", "AttachPolicy"])
def test_what_fails_never_leaves_an_active_certificate_and_is_finished_by_the_next_attempt(
    deployment: Deployment, operation: str
) -> None:
    thing = f"fails-{operation}"
    device = deployment.issue(thing)
    fault = deployment.sandbox.fault(
        region=HOME, service="iot", operation=operation, effect="error", error="InvalidRequestException", status=400
    )
    assert not deployment.knock(device, HOME)
    error = eventually(lambda: deployment.status(HOME, thing).get("Error"))
    assert error.startswith("Iot.InvalidRequestException")
    assert "LeaseOwner" not in deployment.status(HOME, thing)
    letter = eventually(lambda: deployment.dead_letters(HOME))[0]
    assert letter["Machine"] == f"{deployment.application}-converge-device"
    assert letter["Input"] == {"ThingName": thing, "CertificateId": device.id}
    assert letter["Error"] == "Iot.InvalidRequestException"
    assert deployment.certificate(HOME, device) == "PENDING_ACTIVATION"
    deployment.sandbox.clear_faults(fault)
    deployment.start(HOME, "converge-device", letter["Input"])
    settled_everywhere(deployment, thing)
    assert "Error" not in deployment.status(HOME, thing)
    deployment.connected(device, HOME).close()
