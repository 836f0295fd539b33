# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA with a provisioning template: what becomes of a device that connects for the first time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox.chain import eventually, role
from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import Issued, issue

REGION, TEMPLATE = "ap-east-1", "jitp-contract"
CERTIFICATE = "AWS::IoT::Certificate::"
NEEDED = ("CreateThing", "UpdateThing", "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate")


def body(*declared: str, override: str = "MERGE") -> dict[str, Any]:
    """A template that declares these parts of the subject beside name and id."""
    names = ("CommonName", "Id", *declared)
    return {
        "Parameters": {f"{CERTIFICATE}{name}": {"Type": "String"} for name in names},
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Ref": f"{CERTIFICATE}CommonName"},
                    "AttributePayload": {name.lower(): {"Ref": f"{CERTIFICATE}{name}"} for name in declared},
                },
                "OverrideSettings": {"AttributePayload": override},
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": f"{CERTIFICATE}Id"}, "Status": "ACTIVE"},
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "provisioned"}},
        },
    }


class Provisioning(Fleet):
    """A fleet whose CA has a template."""

    @property
    def iot(self) -> Any:
        return self.sandbox.client("iot", REGION)

    def tries(self, issued: Issued, name: str) -> bool:
        """Whether the device gets in."""
        device = self.device(name, REGION, issued)
        entered = device.connect()
        device.close()
        return entered

    def status(self, issued: Issued) -> str:
        found: str = self.iot.describe_certificate(certificateId=issued.id)["certificateDescription"]["status"]
        return found

    def use(self, content: dict[str, Any], provisioning_role: str) -> None:
        """Give the CA this template instead of a name."""
        self.iot.update_ca_certificate(
            certificateId=self.ca_ids[REGION],
            registrationConfig={"templateBody": json.dumps(content), "roleArn": provisioning_role},
        )

    def count(self, outcome: str) -> float:
        """How many devices ended so, by the metric."""
        found = self.sandbox.client("cloudwatch", REGION).get_metric_statistics(
            Namespace="AWS/IoT", MetricName=f"ProvisionThing.{outcome}", StartTime=0, EndTime=4_000_000_000,
            Period=60, Statistics=["Sum"],
        )  # fmt: skip
        return sum(point["Sum"] for point in found["Datapoints"])


@pytest.fixture(scope="module")
def provisioning_role(sandbox) -> str:
    return role(sandbox, "iot.amazonaws.com", {f"iot:{each}": "*" for each in NEEDED})


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory, provisioning_role):
    made = Provisioning(sandbox, Path(tmp_path_factory.mktemp("jitp")), (REGION,))
    made.serve(REGION)
    made.iot.create_policy(policyName="provisioned", policyDocument=ALLOW)
    made.iot.create_provisioning_template(
        templateName=TEMPLATE, templateBody=json.dumps(body()), enabled=True, type="JITP",
        provisioningRoleArn=provisioning_role,
    )  # fmt: skip
    return made


@pytest.fixture(autouse=True)
def _by_name(fleet):
    fleet.iot.update_ca_certificate(
        certificateId=fleet.ca_ids[REGION], registrationConfig={"templateName": TEMPLATE}
    )  # fmt: skip


def test_the_first_connection_is_closed_and_the_next_one_is_that_of_a_thing_with_policy(fleet):
    device, before = issue("jitp-first", fleet.ca), fleet.count("Success")
    assert not fleet.tries(device, "jitp-first")
    assert eventually(lambda: fleet.status(device) == "ACTIVE")
    assert fleet.tries(device, "jitp-first")
    [principal] = fleet.iot.list_thing_principals(thingName="jitp-first")["principals"]
    assert principal.endswith(device.id)
    attached = fleet.iot.list_attached_policies(target=principal)["policies"]
    assert [policy["policyName"] for policy in attached] == ["provisioned"]
    assert fleet.count("Success") == before + 1


def test_a_parameter_that_the_subject_has_no_value_for_leaves_the_device_waiting(fleet, provisioning_role):
    device, before = issue("jitp-poor", fleet.ca), fleet.count("ClientError")
    fleet.use(body("Country"), provisioning_role)
    assert not fleet.tries(device, "jitp-poor")
    assert eventually(lambda: fleet.count("ClientError") == before + 1)
    assert fleet.status(device) == "PENDING_ACTIVATION"
    with pytest.raises(fleet.iot.exceptions.ResourceNotFoundException):
        fleet.iot.describe_thing(thingName="jitp-poor")

    fleet.use(body(), provisioning_role)
    assert not fleet.tries(device, "jitp-poor"), "each connection of a device that waits tries again"
    assert eventually(lambda: fleet.status(device) == "ACTIVE")
    assert fleet.tries(device, "jitp-poor")


def test_a_role_that_may_not_leaves_the_device_waiting(sandbox, fleet):
    device, before = issue("jitp-forbidden", fleet.ca), fleet.count("ClientError")
    fleet.use(body(), role(sandbox, "iot.amazonaws.com", {"iot:CreateThing": "*"}))
    assert not fleet.tries(device, "jitp-forbidden")
    assert eventually(lambda: fleet.count("ClientError") == before + 1)
    assert fleet.status(device) == "PENDING_ACTIVATION"


@pytest.mark.parametrize(
    ("override", "attributes"),
    [
        ("MERGE", {"organization": "Test", "room": "7"}),
        ("REPLACE", {"organization": "Test"}),
        ("DO_NOTHING", {"room": "7"}),
    ],
)
def test_a_thing_that_is_there_is_changed_as_the_override_says(fleet, provisioning_role, override, attributes):
    name = f"jitp-{override.lower()}"
    fleet.iot.create_thing(thingName=name, attributePayload={"attributes": {"room": "7"}})
    device = issue(name, fleet.ca, organization="Test")
    fleet.use(body("Organization", override=override), provisioning_role)
    assert not fleet.tries(device, name)
    assert eventually(lambda: fleet.status(device) == "ACTIVE")
    assert fleet.iot.describe_thing(thingName=name)["attributes"] == attributes


def test_without_override_a_thing_that_is_otherwise_stops_it(fleet, provisioning_role):
    content = body("Organization")
    del content["Resources"]["thing"]["OverrideSettings"]
    fleet.iot.create_thing(thingName="jitp-fail", attributePayload={"attributes": {"room": "7"}})
    device, before = issue("jitp-fail", fleet.ca, organization="Test"), fleet.count("ClientError")
    fleet.use(content, provisioning_role)
    assert not fleet.tries(device, "jitp-fail")
    assert eventually(lambda: fleet.count("ClientError") == before + 1)
    assert fleet.status(device) == "PENDING_ACTIVATION"
    assert fleet.iot.describe_thing(thingName="jitp-fail")["attributes"] == {"room": "7"}


def test_a_certificate_that_was_revoked_before_it_came_is_not_provisioned(fleet):
    device = issue("jitp-revoked", fleet.ca)
    fleet.iot.register_certificate(certificatePem=device.pem, caCertificatePem=fleet.ca.pem, status="REVOKED")
    assert not fleet.tries(device, "jitp-revoked")
    assert not fleet.tries(device, "jitp-revoked")
    assert fleet.status(device) == "REVOKED"


def test_a_ca_without_automatic_registration_has_no_template_any_more(fleet):
    ca_id = fleet.ca_ids[REGION]
    fleet.iot.update_ca_certificate(certificateId=ca_id, removeAutoRegistration=True)
    described = fleet.iot.describe_ca_certificate(certificateId=ca_id)
    assert "registrationConfig" not in described
    assert described["certificateDescription"]["autoRegistrationStatus"] == "DISABLE"
    assert not fleet.tries(issue("jitp-late", fleet.ca), "jitp-late")
    fleet.iot.update_ca_certificate(certificateId=ca_id, newAutoRegistrationStatus="ENABLE")
