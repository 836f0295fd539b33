# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that AWS IoT itself lets in, by a template, is a device like any other from then on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot.jitp import template
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.features.jitp import authority_of
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.sandbox.mqtt import Issued


class Provisioning(Deployment):
    """A fleet with a CA whose devices a template lets in."""

    def provisioned(self, name: str, organization: str = "Test") -> Issued:
        """A device of that CA."""
        return self.issue(name, authority_of(self), organization=organization)

    def chain(self, issued: Issued) -> str:
        ours = issued.certificate.issuer == self.ca.certificate.subject
        return self.ca.pem if ours else authority_of(self).pem

    def known(self, name: str, region: str = HOME) -> Issued:
        """One that has come in, and has its row in both regions."""
        device = self.provisioned(name)
        self.admit(device, region)
        eventually(lambda: self.converged(name), seconds=40)
        return device

    def is_out(self, device: Issued, region: str = HOME) -> bool:
        """Whether the certificate may do nothing here, and is attached to no thing that does not have it in its row."""
        things = self.things_of(region, device)
        in_rows = all(device.id in self.row(region, thing)["Certificates"] for thing in things)
        return self.certificate(region, device) in ("INACTIVE", "REVOKED") and in_rows

    def converged(self, thing: str) -> bool:
        """Whether both regions have one row and have applied it."""
        return self.row(HOME, thing) == self.row(AWAY, thing) and all(self.settled(region, thing) for region in BOTH)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioning]:
    sandbox = Sandbox(tmp_path_factory.mktemp("jitp-sandbox")).start()
    features = ("ingestion", "jitp")
    yield Provisioning(sandbox, tmp_path_factory.mktemp("jitp"), BOTH, features=features, definitions=impatient)
    sandbox.stop()


@pytest.fixture(autouse=True)
def _nothing_is_given_up(fleet: Provisioning) -> Iterator[None]:
    yield
    assert [letter for region in BOTH for letter in fleet.dead_letters(region)] == []


def impatient(machine: dict[str, Any]) -> dict[str, Any]:
    """A machine that waits for AWS IoT no longer than the sandbox takes."""
    if waiting := machine["States"].get("WaitForTemplate"):
        waiting["Seconds"] = 2
    return machine


def faults(fleet: Provisioning, directory: Path) -> dict[str, Any]:
    """What a full check of each region finds."""
    asked = {"application": fleet.application, "depth": "full", "share": 1.0, "sample": 0, "settling": 0}
    answers = {
        region: at(fleet, region).run("fleet_replication_info", store=str(directory / f"{region}.sqlite"), **asked)
        for region in BOTH
    }
    return {region: answer["replication"]["faults"] for region, answer in answers.items()}


def has_thing(fleet: Provisioning, name: str, region: str = HOME) -> bool:
    """Whether the region has a thing of this name."""
    iot = fleet.sandbox.client("iot", region)
    return any(thing["thingName"] == name for thing in iot.list_things()["things"])


def authorities(fleet: Provisioning, directory: Path) -> list[Path]:
    """Files of the CAs whose devices may be released."""
    path = directory / "jitp-ca.pem"
    path.write_text(authority_of(fleet).pem)
    return [path]


@pytest.mark.defect("S3-11")
def test_it_is_dropped_then_let_in_and_works_in_both_regions_with_one_row(fleet: Provisioning, tmp_path: Path) -> None:
    device = fleet.provisioned("lamp")
    assert not fleet.knock(device, AWAY)
    fleet.admit(device, AWAY)
    eventually(lambda: fleet.converged("lamp"), seconds=30)
    row = fleet.row(HOME, "lamp")
    assert (row["State"], row["HomeRegion"], row["CertificateId"]) == ("ACTIVE", AWAY, device.id)
    assert (row["Attributes"], row["PolicyNames"]) == ({"owner": "Test"}, [f"{fleet.application}-device"])
    certificate = row["Certificates"][device.id]
    assert certificate["IssuerFingerprint"] == authority_of(fleet).id
    assert certificate["Serial"] == format(device.certificate.serial_number, "x")
    for region in BOTH:
        session = fleet.connected(device, region)
        assert session.publish("i/lamp/state", json.dumps({"on": region}))
        session.close()
        described = fleet.sandbox.client("iot", region).describe_thing(thingName="lamp")
        assert described["attributes"]["owner"] == "Test"
    eventually(lambda: {each["message"]["on"] for each in fleet.messages(HOME, "lamp")} == set(BOTH))
    assert fleet.rejection(AWAY, device) == {}
    assert faults(fleet, tmp_path) == {region: {} for region in BOTH}


@pytest.mark.defect("S3-18")
def test_one_that_cannot_be_provisioned_is_left_alone_and_tried_again_at_each_connection(fleet: Provisioning) -> None:
    device = fleet.provisioned("nameless", organization="")
    assert not fleet.knock(device, HOME)
    eventually(lambda: fleet.status(HOME, f"certificate/{device.id}"))  # register-device has heard of it
    assert not fleet.knock(device, HOME)
    assert fleet.certificate(HOME, device) == "PENDING_ACTIVATION"
    assert (fleet.rejection(HOME, device), fleet.row(HOME, "nameless")) == ({}, {})
    fleet.change_stack(HOME, "jitp", TemplateBody=json.dumps(template(fleet.application, {})))
    fleet.admit(device, HOME)
    eventually(lambda: fleet.row(HOME, "nameless").get("CertificateId") == device.id)


def test_a_second_certificate_comes_into_the_row_and_none_stays_in_once_the_device_is_revoked(
    fleet: Provisioning,
) -> None:
    first = fleet.known("twofold")
    second = fleet.provisioned("twofold")
    fleet.admit(second, HOME)
    eventually(lambda: fleet.row(HOME, "twofold")["CertificateId"] == second.id and fleet.converged("twofold"))
    row = fleet.row(AWAY, "twofold")
    assert "RetireAt" in row["Certificates"][first.id]
    assert row["Certificates"][second.id]["PresentedAt"]
    fleet.connected(second, AWAY).close()
    fleet.write(HOME, "twofold", State="REVOKED")
    eventually(lambda: {fleet.certificate(region, each) for region in BOTH for each in (first, second)} == {"REVOKED"})
    third = fleet.provisioned("twofold")
    fleet.knock(third, HOME)
    eventually(lambda: fleet.certificate(HOME, third) == "REVOKED" and fleet.is_out(third))
    assert not fleet.knock(third, HOME)


@pytest.mark.long
def test_a_fresh_certificate_of_a_revoked_device_does_not_stay_in(fleet: Provisioning, tmp_path: Path) -> None:
    fleet.known("banned")
    fleet.write(HOME, "banned", State="REVOKED")
    eventually(lambda: fleet.converged("banned"))
    fresh = fleet.provisioned("banned")
    fleet.knock(fresh, HOME)
    eventually(lambda: fleet.is_out(fresh), seconds=30)
    assert fleet.rejection(HOME, fresh)["Reason"] == "the device is REVOKED"
    assert fleet.certificate(HOME, fresh) == "REVOKED"
    assert not fleet.knock(fresh, HOME)
    eventually(lambda: faults(fleet, tmp_path) == {region: {} for region in BOTH})


@pytest.mark.long
def test_a_fresh_certificate_of_a_suspended_device_waits_in_its_row_until_the_device_is_resumed(
    fleet: Provisioning, tmp_path: Path
) -> None:
    fleet.known("paused")
    fleet.write(HOME, "paused", State="SUSPENDED")
    eventually(lambda: fleet.converged("paused"))
    fresh = fleet.provisioned("paused")
    fleet.knock(fresh, HOME)
    eventually(lambda: [fleet.certificate(region, fresh) for region in BOTH] == ["INACTIVE", "INACTIVE"], seconds=30)
    assert not fleet.knock(fresh, HOME)
    eventually(lambda: faults(fleet, tmp_path) == {region: {} for region in BOTH})
    fleet.write(HOME, "paused", State="ACTIVE")
    fleet.admit(fresh, AWAY)


@pytest.mark.long
def test_a_deleted_device_is_not_brought_back_by_a_certificate_unless_it_is_released(
    fleet: Provisioning, tmp_path: Path
) -> None:
    fleet.known("gone")
    fleet.write(HOME, "gone", State="DELETED")
    eventually(lambda: fleet.converged("gone"))
    fresh = fleet.provisioned("gone")
    fleet.knock(fresh, HOME)
    eventually(lambda: fleet.rejection(HOME, fresh))
    eventually(lambda: fleet.is_out(fresh) and not has_thing(fleet, "gone"), seconds=30)
    # AWS IoT was slower, and makes and activates now what was turned away.
    iot, arn = fleet.sandbox.client("iot", HOME), f"arn:aws:iot:{HOME}:{fleet.sandbox.account_id}:cert/{fresh.id}"
    iot.create_thing(thingName="gone", thingTypeName=f"{fleet.application}-device")
    iot.update_certificate(certificateId=fresh.id, newStatus="ACTIVE")
    iot.attach_thing_principal(thingName="gone", principal=arn)
    eventually(lambda: fleet.is_out(fresh) and not has_thing(fleet, "gone"), seconds=30)
    assert fleet.rejection(HOME, fresh)["Reason"] == "the device is DELETED"
    assert fleet.row(HOME, "gone")["State"] == "DELETED"
    assert not fleet.knock(fresh, HOME)
    eventually(lambda: faults(fleet, tmp_path) == {region: {} for region in BOTH})
    paths = [str(path) for path in authorities(fleet, tmp_path)]
    chosen = {"state": "released", "thing_name": "gone", "ca_certificate_paths": paths}
    released = at(fleet, HOME).run("fleet_rejection", application=fleet.application, **chosen)
    assert released["changed"], released
    fleet.admit(fresh, HOME)
    fleet.admit(fresh, AWAY)
    assert fleet.row(HOME, "gone")["State"] == "ACTIVE"


@pytest.mark.long
def test_one_that_appears_in_two_regions_at_once_has_one_row_and_one_thing(fleet: Provisioning) -> None:
    device = fleet.provisioned("twice")
    with fleet.apart():
        for region in BOTH:
            fleet.knock(device, region)
        for region in BOTH:
            fleet.admit(device, region)
    eventually(lambda: fleet.converged("twice"), seconds=30)
    assert set(fleet.row(HOME, "twice")["Certificates"]) == {device.id}
    assert [fleet.things_of(region, device) for region in BOTH] == [["twice"], ["twice"]]


@pytest.mark.long
def test_one_that_was_revoked_before_it_came_is_put_out_once_it_is_seen(fleet: Provisioning) -> None:
    device = fleet.provisioned("stolen")
    fleet.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{fleet.application}-revocations",
        Item={"Key": {"S": f"serial:{authority_of(fleet).id}:{device.certificate.serial_number:x}"}},
    )
    assert not fleet.knock(device, HOME)
    eventually(lambda: [fleet.certificate(region, device) for region in BOTH] == ["REVOKED", "REVOKED"], seconds=30)
    assert not fleet.knock(device, HOME)
    eventually(lambda: fleet.converged("stolen"))


@pytest.mark.long
def test_a_device_of_the_issuing_ca_still_comes_in_as_ever(fleet: Provisioning) -> None:
    device = fleet.issue("ordinary")
    fleet.admit(device, HOME)
    assert fleet.row(HOME, "ordinary")["Certificates"][device.id]["PresentedAt"]
