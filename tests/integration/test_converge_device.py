# SPDX-License-Identifier: GPL-3.0-or-later
"""converge-device on the sandbox: a region's registry becomes what the row says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    OWN_ATTRIBUTES,
    digest,
    fleet_number,
    following,
    timestamp,
)
from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.fleet import ALLOW
from tests.integration.sandbox.mqtt import Issued

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


@pytest.mark.defect("S1-22")
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


@pytest.mark.defect("S1-25", "D-3")
def test_a_revoked_certificate_that_a_region_never_saw_is_registered_there_as_revoked(deployment: Deployment) -> None:
    device = deployment.issue("unseen")
    with deployment.apart():
        deployment.admit(device, HOME)
        deployment.write(HOME, "unseen", State="REVOKED")
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
        iot = deployment.sandbox.client("iot", region)
        with pytest.raises(iot.exceptions.ResourceNotFoundException):
            iot.describe_thing(thingName="deleted")
        assert not deployment.knock(device, region), "kept as REVOKED, it cannot register itself again"


def test_a_certificate_that_aws_signed_is_deleted_with_its_device(deployment: Deployment) -> None:
    device = deployment.issue("of-aws")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "of-aws")
    created = deployment.sandbox.client("iot", HOME).create_keys_and_certificate(setAsActive=True)
    certificates = deployment.row(HOME, "of-aws")["Certificates"]
    certificates[created["certificateId"]] = {
        **certificates[device.id],
        "Pem": created["certificatePem"],
        "IssuerFingerprint": "aws",
        "Serial": None,
    }
    del certificates[created["certificateId"]]["Serial"]
    deployment.write(HOME, "of-aws", Certificates=certificates)
    settled_everywhere(deployment, "of-aws")
    iot = deployment.sandbox.client("iot", AWAY)
    described = iot.describe_certificate(certificateId=created["certificateId"])
    assert described["certificateDescription"]["status"] == "ACTIVE"
    deployment.write(AWAY, "of-aws", State="DELETED")
    settled_everywhere(deployment, "of-aws")
    for region in BOTH:
        iot = deployment.sandbox.client("iot", region)
        with pytest.raises(iot.exceptions.ResourceNotFoundException):
            iot.describe_certificate(certificateId=created["certificateId"])
        assert deployment.certificate(region, device) == "REVOKED"


@pytest.mark.defect("S1-22", "D-14")
def test_attributes_groups_and_policies_follow_the_row_and_go_with_it(deployment: Deployment) -> None:
    device = deployment.issue("furnished")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "furnished")
    own = f"{deployment.application}-device"
    for region in BOTH:
        iot = deployment.sandbox.client("iot", region)
        iot.create_thing_group(thingGroupName="plant-7")
        iot.create_policy(policyName="extra", policyDocument=ALLOW)
    deployment.write(AWAY, "furnished", Attributes={"room": "7"}, ThingGroups=["plant-7"], PolicyNames=[own, "extra"])
    settled_everywhere(deployment, "furnished")
    for region in BOTH:
        iot = deployment.sandbox.client("iot", region)
        assert iot.describe_thing(thingName="furnished")["attributes"]["room"] == "7"
        groups = iot.list_thing_groups_for_thing(thingName="furnished")["thingGroups"]
        assert [group["groupName"] for group in groups] == ["plant-7"]
        assert sorted(deployment.policies_of(region, device)) == sorted([own, "extra"])
        iot.update_thing(thingName="furnished", attributePayload={"attributes": {"mine": "1"}, "merge": True})
    for region in BOTH:
        iot = deployment.sandbox.client("iot", region)
        iot.create_thing_group(thingGroupName="hall-1", parentGroupName="plant-7")
    deployment.write(AWAY, "furnished", ThingGroups=["hall-1"])
    settled_everywhere(deployment, "furnished")
    for region in BOTH:
        groups = deployment.sandbox.client("iot", region).list_thing_groups_for_thing(thingName="furnished")[
            "thingGroups"
        ]
        assert [group["groupName"] for group in groups] == ["hall-1"], "one group of a hierarchy"
    deployment.write(HOME, "furnished", Attributes={}, ThingGroups=[], PolicyNames=[own])
    settled_everywhere(deployment, "furnished")
    for region in BOTH:
        iot = deployment.sandbox.client("iot", region)
        thing = iot.describe_thing(thingName="furnished")
        assert {name for name in thing["attributes"] if name not in OWN_ATTRIBUTES} == {"mine"}
        assert iot.list_thing_groups_for_thing(thingName="furnished")["thingGroups"] == []
        assert deployment.policies_of(region, device) == [own]


def test_what_somebody_just_changed_by_hand_is_not_undone_by_another_change(deployment: Deployment) -> None:
    device = deployment.issue("adrift")
    deployment.admit(device, HOME)
    deployment.write(HOME, "adrift", Attributes={"room": "7"})
    settled_everywhere(deployment, "adrift")
    iot, own = deployment.sandbox.client("iot", HOME), f"{deployment.application}-device"
    arn = f"arn:aws:iot:{HOME}:{deployment.sandbox.account_id}:cert/{device.id}"
    iot.update_thing(thingName="adrift", attributePayload={"attributes": {"room": "8"}, "merge": True})
    iot.detach_policy(policyName=own, target=arn)
    deployment.write(AWAY, "adrift", Attributes={"room": "7", "floor": "2"})
    settled_everywhere(deployment, "adrift")
    attributes = iot.describe_thing(thingName="adrift")["attributes"]
    assert (attributes["room"], attributes["floor"]) == ("8", "2")
    assert deployment.policies_of(HOME, device) == []
    deployment.start(HOME, "converge-device", {"ThingName": "adrift", "Force": True})
    eventually(lambda: deployment.policies_of(HOME, device) == [own])
    assert iot.describe_thing(thingName="adrift")["attributes"]["room"] == "7"


def test_the_id_of_a_thing_that_was_made_again_is_noticed(deployment: Deployment) -> None:
    device = deployment.issue("again")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "again")
    iot = deployment.sandbox.client("iot", HOME)
    arn = f"arn:aws:iot:{HOME}:{deployment.sandbox.account_id}:cert/{device.id}"
    iot.detach_thing_principal(thingName="again", principal=arn)
    iot.delete_thing(thingName="again")
    made = iot.create_thing(thingName="again")
    deployment.start(HOME, "converge-device", {"ThingName": "again", "Force": True})
    eventually(lambda: deployment.status(HOME, "again").get("ThingId") == made["thingId"])
    assert deployment.things_of(HOME, device) == ["again"]
    deployment.connected(device, HOME).close()


def test_a_policy_that_arrives_after_the_row_is_waited_for(deployment: Deployment) -> None:
    device = deployment.issue("early-row")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "early-row")
    deployment.write(HOME, "early-row", PolicyNames=[f"{deployment.application}-device", "late"])
    time.sleep(1)
    for region in BOTH:
        deployment.sandbox.client("iot", region).create_policy(policyName="late", policyDocument=ALLOW)
    settled_everywhere(deployment, "early-row")
    assert "late" in deployment.policies_of(AWAY, device)


def test_a_retired_certificate_is_deactivated_and_later_revoked_when_somebody_looks(deployment: Deployment) -> None:
    device = deployment.issue("retired")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "retired")
    for name, status in (("RetireAt", "INACTIVE"), ("RevokeAt", "REVOKED")):
        for seconds in (3600, 3):
            certificates = deployment.row(HOME, "retired")["Certificates"]
            at = datetime.now(UTC) + timedelta(seconds=seconds)
            certificates[device.id][name] = timestamp(at)
            deployment.write(HOME, "retired", Certificates=certificates)
            settled_everywhere(deployment, "retired")
            if seconds == 3600:
                assert deployment.status(AWAY, "retired")["DueAt"] == int(at.timestamp())
                assert deployment.certificate(AWAY, device) != status
        time.sleep(max(0, at.timestamp() - time.time()))
        for region in BOTH:
            deployment.start(region, "converge-device", {"ThingName": "retired"})
            eventually(lambda region=region, status=status: deployment.certificate(region, device) == status)
            eventually(lambda region=region: deployment.settled(region, "retired"))
    assert "DueAt" not in deployment.status(AWAY, "retired")


def test_the_session_of_a_suspended_device_is_cut(deployment: Deployment) -> None:
    device = deployment.issue("cut")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "cut")
    sessions = [deployment.connected(device, region) for region in BOTH]
    deployment.write(AWAY, "cut", State="SUSPENDED")
    settled_everywhere(deployment, "cut")
    for session in sessions:
        assert session.lost.wait(5)
        session.close()


@pytest.mark.defect("S1-5")
def test_of_two_writes_at_once_neither_revocation_nor_certificate_is_lost(deployment: Deployment) -> None:
    old, new = deployment.issue("contended"), deployment.issue("contended")
    deployment.admit(old, HOME)
    settled_everywhere(deployment, "contended")
    with deployment.apart():
        deployment.admit(new, HOME)
        deployment.write(HOME, "contended", State="SUSPENDED")
        last = deployment.write(AWAY, "contended", Attributes={"room": "8"})
    eventually(lambda: deployment.row(HOME, "contended")["Attributes"] == {"room": "8"})
    eventually(lambda: deployment.row(AWAY, "contended")["Version"] > last["Version"])
    settled_everywhere(deployment, "contended")
    row = deployment.row(AWAY, "contended")
    assert (row["State"], row["Attributes"], row["CertificateId"]) == ("SUSPENDED", {"room": "8"}, new.id)
    assert set(row["Certificates"]) == {old.id, new.id}
    for region in BOTH:
        assert [deployment.certificate(region, each) for each in (old, new)] == ["INACTIVE", "INACTIVE"]


@pytest.mark.defect("D-12")
def test_a_lost_write_is_found_even_if_its_region_wrote_again_before_it_looked(deployment: Deployment) -> None:
    device = deployment.issue("overtaken")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "overtaken")
    base = deployment.row(HOME, "overtaken")
    now = datetime.now(UTC)
    lost = following(base, {"State": "SUSPENDED"}, writer="controller", now=now)
    last = following(base, {"Attributes": {"room": "9"}}, writer="controller", now=now)
    deployment.put(HOME, last, base)
    deployment.write(HOME, "overtaken", Attributes={"room": "10"})
    images = {"OldImage": deployment.image(lost), "NewImage": deployment.image(last)}
    deployment.start(HOME, "converge-device", {"ThingName": "overtaken", **images})
    eventually(lambda: deployment.row(HOME, "overtaken")["State"] == "SUSPENDED")
    settled_everywhere(deployment, "overtaken")
    row = deployment.row(AWAY, "overtaken")
    assert (row["State"], row["Attributes"], row["Version"]) == ("SUSPENDED", {"room": "10"}, base["Version"] + 3)
    assert [deployment.certificate(region, device) for region in BOTH] == ["INACTIVE", "INACTIVE"]


@pytest.mark.defect("D-12")
def test_an_old_event_undoes_nothing(deployment: Deployment) -> None:
    device = deployment.issue("belated")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "belated")
    before = deployment.row(HOME, "belated")
    deployment.write(HOME, "belated", State="SUSPENDED")
    settled_everywhere(deployment, "belated")
    after = deployment.row(HOME, "belated")
    images = {name: deployment.image(row) for name, row in (("OldImage", after), ("NewImage", before))}
    for region in BOTH:
        deployment.start(region, "converge-device", {"ThingName": "belated", **images})
    time.sleep(1)
    settled_everywhere(deployment, "belated")
    assert deployment.row(HOME, "belated") == after
    assert [deployment.certificate(region, device) for region in BOTH] == ["INACTIVE", "INACTIVE"]


@pytest.mark.defect("S1-7", "S1-27")
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
        ours = {"certificateId": device.id}
        own = digest(ours, thing["thingTypeName"])
        assert thing["attributes"] == {"room": "7", **ours, "fleetDigest": own, "fleetNumber": fleet_number(own)}
        assert thing["thingTypeName"] == f"{deployment.application}-device"
        assert deployment.status(region, "handmade")["ThingId"] == thing["thingId"]
        deployment.connected(device, region).close()


@pytest.mark.defect("S1-23")
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


def test_an_event_of_the_time_before_the_certificate_was_applied_costs_no_registry_call(deployment: Deployment) -> None:
    device = deployment.issue("late-event")
    deployment.admit(device, HOME)
    settled_everywhere(deployment, "late-event")
    began = deployment.sandbox.now()
    event = {"ThingName": "late-event", "CertificateId": device.id}
    deployment.start(HOME, "converge-device", {**event, "Since": int((time.time() - 3600) * 1000)})
    leases = {"since": began, "region": HOME, "service": "dynamodb", "operation": "UpdateItem"}
    eventually(lambda: len(deployment.sandbox.journal(**leases)) >= 2)  # taken and given back
    calls = deployment.sandbox.journal(since=began, region=HOME, service="iot")
    assert [call for call in calls if "assumed-role" in str(call["caller"])] == []
    deployment.sandbox.client("iot", HOME).update_certificate(certificateId=device.id, newStatus="INACTIVE")
    deployment.start(HOME, "converge-device", {**event, "Since": int((time.time() + 1) * 1000)})
    eventually(lambda: deployment.certificate(HOME, device) == "ACTIVE")


@pytest.mark.defect("S1-21")
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


@pytest.mark.defect("S1-1", "S1-8", "S1-26")
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
    since = letter["Input"].pop("Since")
    assert letter["Input"] == {"ThingName": thing, "CertificateId": device.id}
    assert abs(since / 1000 - time.time()) < 60
    assert letter["Error"] == "Iot.InvalidRequestException"
    assert deployment.certificate(HOME, device) == "PENDING_ACTIVATION"
    deployment.sandbox.clear_faults(fault)
    deployment.start(HOME, "converge-device", {**letter["Input"], "Since": since})
    settled_everywhere(deployment, thing)
    assert "Error" not in deployment.status(HOME, thing)
    deployment.connected(device, HOME).close()


def exactly(deployment: Deployment, region: str, thing: str) -> None:
    """Converge a device exactly, and wait for it."""
    began = deployment.sandbox.now()
    deployment.start(region, "converge-device", {"ThingName": thing, "Exact": True})
    reads = {"since": began, "region": region, "service": "dynamodb", "operation": "GetItem"}
    eventually(lambda: len([call for call in deployment.sandbox.journal(**reads) if _is_of_a_machine(call)]) >= 2)
    eventually(lambda: "LeaseOwner" not in deployment.status(region, thing))


def _is_of_a_machine(call: dict[str, Any]) -> bool:
    return "assumed-role" in str(call["caller"])


def registered(deployment: Deployment, region: str, thing: str, device: Issued) -> dict[str, Any]:
    """All that the region's registry has of a device; of its certificates the statuses and policies."""
    iot = deployment.sandbox.client("iot", region)
    try:
        described = iot.describe_thing(thingName=thing)
    except iot.exceptions.ResourceNotFoundException:
        return {"certificate": deployment.certificate(region, device)}
    arns = iot.list_thing_principals(thingName=thing)["principals"]
    return {
        "attributes": described["attributes"],
        "type": described["thingTypeName"],
        "groups": [group["groupName"] for group in iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]],
        "certificates": [arn.rpartition("/")[2] for arn in arns],
        "certificate": deployment.certificate(region, device),
        "policies": sorted(deployment.policies_of(region, device)),
    }


@pytest.fixture(scope="module")
def device(deployment: Deployment) -> Issued:
    """One with a group and an attribute."""
    iot = deployment.sandbox.client("iot", HOME)
    for group in ("exact-own", "exact-other"):
        for region in BOTH:
            deployment.sandbox.client("iot", region).create_thing_group(thingGroupName=group)
    iot.create_thing_type(thingTypeName="exact-other")
    iot.create_policy(policyName="exact-other", policyDocument=ALLOW)
    device = deployment.issue("exact")
    deployment.admit(device, HOME)
    deployment.write(HOME, "exact", Attributes={"room": "7"}, ThingGroups=["exact-own"])
    settled_everywhere(deployment, "exact")
    return device


class TestExact:
    """What an operator did by hand, where it is not to be."""

    CHANGES: ClassVar[dict[str, Callable[[Any, str], Any]]] = {
        "an attribute": lambda iot, _: iot.update_thing(
            thingName="exact", attributePayload={"attributes": {"mine": "1", "room": "8"}, "merge": True}
        ),
        "the fleet's attributes": lambda iot, _: iot.update_thing(
            thingName="exact", attributePayload={"attributes": {"room": "7"}, "merge": False}
        ),
        "the type": lambda iot, _: iot.update_thing(thingName="exact", thingTypeName="exact-other"),
        "another group": lambda iot, _: iot.add_thing_to_thing_group(thingGroupName="exact-other", thingName="exact"),
        "its group": lambda iot, _: iot.remove_thing_from_thing_group(thingGroupName="exact-own", thingName="exact"),
        "another policy": lambda iot, arn: iot.attach_policy(policyName="exact-other", target=arn),
        "its policy": lambda iot, arn: iot.detach_policy(policyName="test-fleet-device", target=arn),
        "its attachment": lambda iot, arn: iot.detach_thing_principal(thingName="exact", principal=arn),
        "its status": lambda iot, arn: iot.update_certificate(
            certificateId=arn.rpartition("/")[2], newStatus="INACTIVE"
        ),
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_what_somebody_changed_is_as_the_row_says(
        self, deployment: Deployment, device: Issued, change: str
    ) -> None:
        before = registered(deployment, HOME, "exact", device)
        self.CHANGES[change](deployment.sandbox.client("iot", HOME), self.arn(deployment, device))
        assert registered(deployment, HOME, "exact", device) != before
        exactly(deployment, HOME, "exact")
        assert registered(deployment, HOME, "exact", device) == before
        deployment.connected(device, HOME).close()

    def test_another_certificate_is_put_out_and_taken_off(self, deployment: Deployment, device: Issued) -> None:
        iot = deployment.sandbox.client("iot", HOME)
        others = [iot.create_keys_and_certificate(setAsActive=True) for _ in range(2)]
        for other in others:
            iot.attach_thing_principal(thingName="exact", principal=other["certificateArn"])
        iot.update_certificate(certificateId=others[1]["certificateId"], newStatus="REVOKED")
        exactly(deployment, HOME, "exact")
        assert registered(deployment, HOME, "exact", device)["certificates"] == [device.id]
        statuses = [
            iot.describe_certificate(certificateId=other["certificateId"])["certificateDescription"]["status"]
            for other in others
        ]
        assert statuses == ["INACTIVE", "REVOKED"]
        assert set(deployment.status(HOME, "exact")["Applied"]["Statuses"]) == {device.id}

    @pytest.mark.parametrize("gone", ["thing", "certificate", "both"])
    def test_what_was_deleted_is_made_again(self, deployment: Deployment, device: Issued, gone: str) -> None:
        before = registered(deployment, HOME, "exact", device)
        iot, arn = deployment.sandbox.client("iot", HOME), self.arn(deployment, device)
        iot.detach_thing_principal(thingName="exact", principal=arn)
        if gone != "certificate":
            iot.delete_thing(thingName="exact")
        if gone != "thing":
            iot.update_certificate(certificateId=device.id, newStatus="INACTIVE")
            iot.delete_certificate(certificateId=device.id, forceDelete=True)
        exactly(deployment, HOME, "exact")
        assert registered(deployment, HOME, "exact", device) == before
        assert deployment.status(HOME, "exact")["ThingId"] == iot.describe_thing(thingName="exact")["thingId"]

    def test_what_is_as_the_row_says_is_not_written(self, deployment: Deployment, device: Issued) -> None:
        before, began = registered(deployment, HOME, "exact", device), deployment.sandbox.now()
        exactly(deployment, HOME, "exact")
        assert registered(deployment, HOME, "exact", device) == before
        calls = deployment.sandbox.journal(since=began, region=HOME, service="iot")
        assert Counter(call["operation"] for call in calls if _is_of_a_machine(call)) == Counter(
            [
                *("ListThingPrincipals", "ListThingGroupsForThing", "ListAttachedPolicies"),
                *("CreateThing", "AttachThingPrincipal", "UpdateCertificate"),  # of the same things
            ]
        )

    def test_a_thing_without_a_row_goes_and_its_certificate_may_do_nothing(self, deployment: Deployment) -> None:
        iot = deployment.sandbox.client("iot", HOME)
        iot.create_thing(thingName="exact-nobody", thingTypeName=f"{deployment.application}-device")
        other = iot.create_keys_and_certificate(setAsActive=True)
        iot.attach_thing_principal(thingName="exact-nobody", principal=other["certificateArn"])
        for _ in range(2):
            exactly(deployment, HOME, "exact-nobody")
            with pytest.raises(iot.exceptions.ResourceNotFoundException):
                iot.describe_thing(thingName="exact-nobody")
            described = iot.describe_certificate(certificateId=other["certificateId"])["certificateDescription"]
            assert described["status"] == "INACTIVE"
            assert deployment.status(HOME, "exact-nobody") == {}
        assert deployment.dead_letters(HOME) == []

    def test_a_thing_whose_device_is_deleted_goes_with_what_is_attached_to_it(self, deployment: Deployment) -> None:
        device = deployment.issue("exact-deleted")
        deployment.admit(device, HOME)
        settled_everywhere(deployment, "exact-deleted")
        deployment.write(HOME, "exact-deleted", State="DELETED")
        settled_everywhere(deployment, "exact-deleted")
        iot = deployment.sandbox.client("iot", HOME)
        other = iot.create_keys_and_certificate(setAsActive=True)
        iot.create_thing(thingName="exact-deleted")
        for arn in (other["certificateArn"], self.arn(deployment, device)):
            iot.attach_thing_principal(thingName="exact-deleted", principal=arn)
        exactly(deployment, HOME, "exact-deleted")
        assert registered(deployment, HOME, "exact-deleted", device) == {"certificate": "REVOKED"}
        assert deployment.things_of(HOME, device) == []
        assert deployment.dead_letters(HOME) == []

    @staticmethod
    def arn(deployment: Deployment, device: Issued) -> str:
        return f"arn:aws:iot:{HOME}:{deployment.sandbox.account_id}:cert/{device.id}"


def test_a_device_keeps_its_session_when_only_its_former_certificate_retires(deployment: Deployment) -> None:
    old, new = deployment.issue("changed-over"), deployment.issue("changed-over")
    deployment.admit(old, HOME)
    deployment.admit(new, HOME)
    settled_everywhere(deployment, "changed-over")
    session, began = deployment.connected(new, HOME), deployment.sandbox.now()
    certificates = deployment.row(HOME, "changed-over")["Certificates"]
    certificates[old.id]["RetireAt"] = timestamp(datetime.now(UTC) - timedelta(seconds=1))
    deployment.write(HOME, "changed-over", Certificates=certificates)
    settled_everywhere(deployment, "changed-over")
    assert [deployment.certificate(HOME, each) for each in (old, new)] == ["INACTIVE", "ACTIVE"]
    assert deployment.sandbox.journal(since=began, operation="DeleteConnection") == []
    assert not session.lost.is_set()
    certificates = deployment.row(HOME, "changed-over")["Certificates"]
    certificates[new.id]["Status"] = "INACTIVE"
    deployment.write(HOME, "changed-over", Certificates=certificates)
    assert session.lost.wait(10)
    session.close()
