# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate for a request that comes over MQTT, and what becomes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.sandbox.chain import role
from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import Device, Issued, issue
from tests.provisioning import csr

REGION, TEMPLATE = "eu-south-2", "contract"
CREATE = "$aws/certificates/create-from-csr/json"
PROVISION = f"$aws/provisioning-templates/{TEMPLATE}/provision/json"
NEEDED = ("CreateThing", "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate")


@dataclass
class Claimer:
    """A connection that asks, and waits for its answers."""

    device: Device

    def ask(self, topic: str, **payload: object) -> tuple[str, dict[str, object]]:
        """The last level of the answer's topic, and its payload."""
        before = len(self.device.received)
        assert self.device.publish(topic, json.dumps(payload))
        [(answered, answer)] = self.device.wait_for(before + 1)[before:]
        return answered.removeprefix(f"{topic}/"), json.loads(answer)


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    made = Fleet(sandbox, Path(tmp_path_factory.mktemp("claims")), (REGION,))
    made.serve(REGION)
    iot = sandbox.client("iot", REGION)
    iot.create_policy(policyName="claimed", policyDocument=ALLOW)
    reference = "AWS::IoT::Certificate::Id"
    body = {
        "Parameters": {"SerialNumber": {"Type": "String"}, reference: {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "SerialNumber"}}},
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": reference}, "Status": "Active"},
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "claimed"}},
        },
    }
    iot.create_provisioning_template(
        templateName=TEMPLATE,
        templateBody=json.dumps(body),
        enabled=True,
        provisioningRoleArn=role(sandbox, "iot.amazonaws.com", {f"iot:{each}": "*" for each in NEEDED}),
    )
    return made


@pytest.fixture
def claimer(fleet):
    claim = issue("claim", fleet.ca)
    fleet.activate(REGION, claim)
    device = fleet.device("claim", REGION, claim)
    assert device.connect()
    for topic in (CREATE, PROVISION):
        for kind in ("accepted", "rejected"):
            assert device.subscribe(f"{topic}/{kind}")
    yield Claimer(device)
    device.close()


def test_the_certificate_is_for_the_requests_key_and_name_and_not_active_before_its_thing_is(fleet, claimer):
    key, iot = ec.generate_private_key(ec.SECP256R1()), fleet.sandbox.client("iot", REGION)
    kind, made = claimer.ask(CREATE, certificateSigningRequest=csr(key, "lamp"))
    assert kind == "accepted"
    issued = Issued(x509.load_pem_x509_certificate(made["certificatePem"].encode()), key)
    assert issued.certificate.public_key() == key.public_key()
    assert issued.certificate.subject.rfc4514_string() == "CN=lamp"
    assert made["certificateId"] == issued.id

    def status():
        return iot.describe_certificate(certificateId=issued.id)["certificateDescription"]["status"]

    assert status() == "PENDING_ACTIVATION"
    assert not fleet.device("lamp", REGION, issued).connect(2)
    token = made["certificateOwnershipToken"]
    asked = {"certificateOwnershipToken": token, "parameters": {"SerialNumber": "lamp"}}
    assert claimer.ask(PROVISION, **asked) == ("accepted", {"deviceConfiguration": {}, "thingName": "lamp"})
    assert status() == "ACTIVE"
    assert claimer.ask(PROVISION, **asked)[0] == "accepted", "a request that comes twice"
    device = fleet.device("lamp", REGION, issued)
    assert device.connect()
    device.close()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "InvalidPayload"),
        ({"certificateSigningRequest": "none"}, "InvalidCertificateSigningRequest"),
    ],
)
def test_what_is_no_request_is_rejected(claimer, payload, code):
    kind, said = claimer.ask(CREATE, **payload)
    assert (kind, said["errorCode"], said["statusCode"]) == ("rejected", code, 400)
