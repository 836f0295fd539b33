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

    def converged(self, thing: str) -> bool:
        """Whether both regions have one row and have applied it."""
        return self.row(HOME, thing) == self.row(AWAY, thing) and all(self.settled(region, thing) for region in BOTH)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioning]:
    sandbox = Sandbox(tmp_path_factory.mktemp("jitp-sandbox")).start()
    yield Provisioning(sandbox, tmp_path_factory.mktemp("jitp"), BOTH, features=("ingestion", "jitp"))
    sandbox.stop()


@pytest.fixture(autouse=True)
def _nothing_is_given_up(fleet: Provisioning) -> Iterator[None]:
    yield
    assert [letter for region in BOTH for letter in fleet.dead_letters(region)] == []


def faults(fleet: Provisioning, directory: Path) -> dict[str, Any]:
    """What a full check of each region finds."""
    asked = {"application": fleet.application, "depth": "full", "share": 1.0, "sample": 0, "settling": 0}
    answers = {
        region: at(fleet, region).run("fleet_replication_info", store=str(directory / f"{region}.sqlite"), **asked)
        for region in BOTH
    }
    return {region: answer["replication"]["faults"] for region, answer in answers.items()}


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
