# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices ask for new certificates and show up with them, over MQTT.

In one region the function signs, in the other one requests wait for the controller.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.integration.deployment import Deployment, eventually
from tests.integration.features import rotation
from tests.integration.sandbox.mqtt import Device, Issued

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)
JOB = "test-fleet-rotate-by-hand"


@pytest.fixture(scope="module")
def fleet(deployment: Deployment) -> Deployment:
    rotation.deploy(deployment, HOME, signer="function")
    rotation.deploy(deployment, AWAY, signer="offline")
    return deployment


class Rotating:
    """A device with its connection; ``ask`` publishes and waits for the answer."""

    def __init__(self, fleet: Deployment, thing: str, issued: Issued, region: str) -> None:
        self.thing, self._device = thing, fleet.connected(issued, region)
        assert self._device.subscribe(f"e/{thing}/certificate/#")

    @property
    def device(self) -> Device:
        return self._device

    def ask(self, request: str, payload: Any) -> tuple[str, dict[str, Any]]:
        """The last level of the answer's topic, and its payload."""
        before = len(self._device.received)
        text = payload if isinstance(payload, str) else json.dumps(payload)
        assert self._device.publish(f"i/{self.thing}/certificate/{request}", text)
        topic, answer = self._device.wait_for(before + 1, seconds=20)[before]
        levels = topic.split("/")
        assert levels[:4] == ["e", self.thing, "certificate", request]
        return levels[4], json.loads(answer)

    def close(self) -> None:
        self._device.close()


def admitted(fleet: Deployment, thing: str) -> Issued:
    """A device that both regions know."""
    issued = fleet.issue(thing)
    fleet.admit(issued, HOME)
    eventually(lambda: all(fleet.settled(region, thing) for region in BOTH))
    return issued


def start_job(fleet: Deployment, region: str, device: Rotating, job: str = JOB) -> None:
    """Give the device a job in the region, and let it begin with it."""
    iot = fleet.sandbox.client("iot", region)
    arn = f"arn:aws:iot:{region}:{fleet.sandbox.account_id}:thing/{device.thing}"
    iot.create_job(jobId=job, targets=[arn], document=json.dumps({"operation": "ROTATE_CERTIFICATE"}))
    assert device.device.publish(f"$aws/things/{device.thing}/jobs/start-next", "{}")

    def status() -> bool:
        found = iot.describe_job_execution(jobId=job, thingName=device.thing)
        return bool(found["execution"]["status"] == "IN_PROGRESS")

    eventually(status)


def request_for(name: str, key: Any) -> str:
    """A certificate signing request."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def test_a_device_rotates_its_certificate(fleet: Deployment) -> None:
    """It gets the certificate in one region, and shows up with it in the other one."""
    thing, key = "rotating", ec.generate_private_key(ec.SECP256R1())
    old = admitted(fleet, thing)
    device = Rotating(fleet, thing, old, HOME)
    start_job(fleet, HOME, device)
    # No payload says whose connection it came over.
    asked = {"csr": request_for(thing, key), "jobId": JOB, "principal": "0" * 64, "thingName": "other"}
    kind, answer = device.ask("create", asked)
    assert (kind, answer["jobId"]) == ("accepted", JOB)
    new = Issued(x509.load_pem_x509_certificate(answer["certificatePem"].encode()), key)
    assert answer["certificateId"] == new.id
    new.certificate.verify_directly_issued_by(fleet.ca.certificate)

    given = fleet.row(HOME, thing)
    entry = given["Certificates"][new.id]
    assert (given["CertificateId"], entry["JobId"], entry["PresentBy"]) == (old.id, JOB, answer["presentBy"])
    assert "RetireAt" not in given["Certificates"][old.id]
    assert device.ask("create", asked) == (kind, answer), "a message that comes twice"
    assert fleet.row(HOME, thing) == given
    device.close()

    for region in BOTH:
        eventually(lambda region=region: fleet.certificate(region, new) == "ACTIVE")
        eventually(lambda region=region: fleet.settled(region, thing))
    device = Rotating(fleet, thing, new, AWAY)
    committed = ("accepted", {"jobId": JOB, "certificateId": new.id})
    assert device.ask("commit", {"jobId": JOB}) == committed
    row = fleet.row(AWAY, thing)
    assert device.ask("commit", {"jobId": JOB}) == committed, "a message that comes twice"
    assert fleet.row(AWAY, thing) == row
    kind, answer = device.ask("create", asked)
    assert (kind, answer["code"]) == ("rejected", "AlreadyRotated")
    device.close()

    eventually(lambda: fleet.row(HOME, thing) == row)
    arn = f"arn:aws:iot:{AWAY}:{fleet.sandbox.account_id}:cert/{new.id}"
    assert (row["CertificateId"], row["CertificateArn"]) == (new.id, arn)
    assert "PresentedAt" in row["Certificates"][new.id]
    retired = datetime.fromisoformat(row["Certificates"][old.id]["RetireAt"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < retired < timedelta(days=7)
    eventually(lambda: all(fleet.settled(region, thing) for region in BOTH))
    assert [fleet.certificate(region, old) for region in BOTH] == ["ACTIVE", "ACTIVE"]
    device = Rotating(fleet, thing, old, HOME)
    kind, answer = device.ask("commit", {"jobId": JOB})
    assert (kind, answer["code"]) == ("rejected", "NotNew")
    device.close()


def test_a_certificate_that_its_device_asked_another_one_in_place_of_is_revoked_everywhere(fleet: Deployment) -> None:
    thing = "rotating-again"
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    old = admitted(fleet, thing)
    device = Rotating(fleet, thing, old, HOME)
    job = f"{JOB}-again"
    start_job(fleet, HOME, device, job)
    answers = [device.ask("create", {"csr": request_for(thing, key), "jobId": job}) for key in keys]
    assert [kind for kind, _ in answers] == ["accepted", "accepted"]
    first, second = (
        Issued(x509.load_pem_x509_certificate(answer["certificatePem"].encode()), key)
        for (_, answer), key in zip(answers, keys, strict=True)
    )
    for region in BOTH:
        eventually(lambda region=region: fleet.certificate(region, second) == "ACTIVE")
        eventually(lambda region=region: fleet.certificate(region, first) in ("", "REVOKED"))
    assert fleet.row(HOME, thing)["Certificates"][first.id]["Status"] == "REVOKED"
    device.close()


def test_what_is_not_to_be_signed_is_rejected(fleet: Deployment) -> None:
    thing, key = "rotating-wrongly", ec.generate_private_key(ec.SECP256R1())
    old = admitted(fleet, thing)
    device = Rotating(fleet, thing, old, HOME)
    right = {"csr": request_for(thing, key), "jobId": f"{JOB}-wrongly"}

    def code(payload: Any) -> str:
        kind, answer = device.ask("create", payload)
        assert kind == "rejected"
        return str(answer["code"])

    assert code(right) == "UnknownJob"
    start_job(fleet, HOME, device, right["jobId"])
    assert code("no JSON") == "InvalidRequest"
    assert code({**right, "csr": request_for("another", key)}) == "NameDiffers"
    assert code({**right, "csr": request_for(thing, old.key)}) == "KeyUnsuitable"
    assert set(fleet.row(HOME, thing)["Certificates"]) == {old.id}
    device.close()


def test_a_request_waits_for_the_controller(fleet: Deployment) -> None:
    thing, job = "rotating-offline", f"{JOB}-offline"
    key = ec.generate_private_key(ec.SECP256R1())
    old = admitted(fleet, thing)
    device = Rotating(fleet, thing, old, AWAY)
    start_job(fleet, AWAY, device, job)
    asked = {"csr": request_for(thing, key), "jobId": job}
    assert device.ask("create", asked) == ("pending", {"jobId": job})
    answer = fleet.sandbox.client("dynamodb", AWAY).get_item(
        TableName=f"{fleet.application}-certificate-requests", Key={"ThingName": {"S": thing}}
    )
    assert {name: answer["Item"][name]["S"] for name in ("Csr", "JobId", "Principal")} == {
        "Csr": asked["csr"],
        "JobId": job,
        "Principal": old.id,
    }
    assert set(fleet.row(AWAY, thing)["Certificates"]) == {old.id}
    device.close()
