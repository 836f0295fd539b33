# SPDX-License-Identifier: GPL-3.0-or-later
"""register-device on the sandbox: who comes in, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import moment
from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Issued, issue

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)


@pytest.fixture(autouse=True)
def _calm(deployment: Deployment) -> Iterator[None]:
    yield
    deployment.sandbox.clear_faults()
    for region in BOTH:
        deployment.dead_letters(region)


def works_everywhere(deployment: Deployment, device: Issued, thing: str) -> None:
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, thing))
        assert deployment.certificate(region, device) == "ACTIVE"
        assert deployment.things_of(region, device) == [thing]
        assert deployment.policies_of(region, device) == [f"{deployment.application}-device"]
        deployment.connected(device, region).close()
        assert deployment.dead_letters(region) == []


@pytest.mark.defect("S1-17", "D-16")
@pytest.mark.parametrize(("first", "second"), [(HOME, AWAY), (AWAY, HOME)])
def test_a_new_device_is_let_in_and_works_in_the_other_region_at_first_try(
    deployment: Deployment, first: str, second: str
) -> None:
    device = deployment.issue(f"new-{first}")
    assert not deployment.knock(device, first), "nobody knows it yet"
    deployment.admit(device, first)
    eventually(lambda: deployment.settled(second, f"new-{first}"))
    works_everywhere(deployment, device, f"new-{first}")
    row = deployment.row(second, f"new-{first}")
    assert (row["HomeRegion"], row["UpdatedRegion"], row["Version"], row["State"]) == (first, first, 1, "ACTIVE")
    assert row == deployment.row(first, f"new-{first}")
    assert row["Certificates"][device.id]["Pem"] == device.pem
    assert row["Certificates"][device.id]["Serial"] == format(device.certificate.serial_number, "x")
    assert row["Certificates"][device.id]["IssuerFingerprint"] == deployment.ca.id


def test_onboarding_takes_at_most_five_iot_calls_in_each_region(deployment: Deployment) -> None:
    device = deployment.issue("counted")
    began = deployment.sandbox.now()
    deployment.admit(device, HOME)
    eventually(lambda: deployment.settled(AWAY, "counted"))

    def calls(region: str) -> list[str]:
        journal = deployment.sandbox.journal(since=began, region=region, service="iot")
        return [call["operation"] for call in journal if "assumed-role" in str(call["caller"])]

    home = ["DescribeCertificate", "CreateThing", "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate"]
    assert sorted(calls(HOME)) == sorted(home)
    assert sorted(calls(AWAY)) == sorted(["CreateThing", "RegisterCertificate", "AttachThingPrincipal", "AttachPolicy"])


@pytest.mark.defect("S1-5")
def test_a_device_may_appear_in_two_regions_at_once(deployment: Deployment) -> None:
    device = deployment.issue("twice")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda region: deployment.admit(device, region), BOTH))
    eventually(lambda: deployment.row(HOME, "twice") == deployment.row(AWAY, "twice"))
    works_everywhere(deployment, device, "twice")


@pytest.mark.defect("S1-4", "S1-23")
def test_a_certificate_that_a_region_registered_before_the_row_arrived_is_activated_there(
    deployment: Deployment,
) -> None:
    device = deployment.issue("early")
    with deployment.apart():
        deployment.admit(device, HOME)
        assert not deployment.knock(device, AWAY)
        assert deployment.certificate(AWAY, device) == "PENDING_ACTIVATION"
        deployment.admit(device, AWAY)
    eventually(lambda: deployment.row(HOME, "early") == deployment.row(AWAY, "early"))
    works_everywhere(deployment, device, "early")


@pytest.mark.defect("S1-12", "S1-13")
def test_many_events_of_one_certificate_make_one_row(deployment: Deployment) -> None:
    device = deployment.issue("impatient")
    assert not deployment.knock(device, HOME)
    event = {"certificateId": device.id, "certificateStatus": "PENDING_ACTIVATION"}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: deployment.start(HOME, "register-device", event), range(8)))
    deployment.admit(device, HOME)
    works_everywhere(deployment, device, "impatient")
    assert deployment.row(HOME, "impatient")["Version"] == 1


@pytest.mark.defect("S1-3")
def test_a_renewed_certificate_of_a_known_device_becomes_its_current_one(deployment: Deployment) -> None:
    old, new = deployment.issue("renewed"), deployment.issue("renewed")
    deployment.admit(old, HOME)
    works_everywhere(deployment, old, "renewed")
    deployment.admit(new, AWAY)
    eventually(lambda: deployment.row(HOME, "renewed")["CertificateId"] == new.id)
    works_everywhere(deployment, new, "renewed")
    works_everywhere(deployment, old, "renewed")
    certificates = deployment.row(HOME, "renewed")["Certificates"]
    assert set(certificates) == {old.id, new.id}
    retire, revoke = (moment(certificates[old.id][name]) for name in ("RetireAt", "RevokeAt"))
    assert timedelta(days=6) < retire - datetime.now(UTC) < timedelta(days=7)
    assert revoke - retire == timedelta(days=7)
    assert not {"RetireAt", "RevokeAt"} & set(certificates[new.id])


def test_an_expired_certificate_leaves_the_row_and_the_twenty_first_is_not_let_in(deployment: Deployment) -> None:
    devices = [deployment.issue("collector") for _ in range(3)]
    deployment.admit(devices[0], HOME)
    works_everywhere(deployment, devices[0], "collector")
    [entry] = deployment.row(HOME, "collector")["Certificates"].values()
    expired = {**entry, "NotAfter": "2020-01-01T00:00:00Z", "Status": "REVOKED"}
    others = [deployment.issue("collector") for _ in range(18)]
    inactive = {each.id: {**entry, "Pem": each.pem, "Status": "INACTIVE"} for each in others}
    former = deployment.issue("collector")
    revoked = {former.id: {**entry, "Pem": former.pem, "Status": "REVOKED"}}
    full = {devices[0].id: entry, "f" * 64: expired, **revoked, **inactive}
    deployment.write(HOME, "collector", Certificates=full)
    deployment.admit(devices[1], HOME)
    certificates = deployment.row(HOME, "collector")["Certificates"]
    assert set(certificates) == (set(full) | {devices[1].id}) - {"f" * 64}
    assert rejected(deployment, HOME, devices[2]) == "the device has 20 certificates that are valid"


@pytest.mark.defect("S1-15")
def test_with_an_allow_list_a_new_device_has_to_be_on_it(deployment: Deployment) -> None:
    known = deployment.issue("known-before")
    deployment.admit(known, HOME)
    works_everywhere(deployment, known, "known-before")
    definitions = {"RegisterDeviceDefinition": "register-device", "CertificateIdentityPackage": "certificate-identity"}
    listed, pinned, forged, unlisted = (deployment.issue(name) for name in ("listed", "pinned", "pinned", "unlisted"))
    table = f"{deployment.application}-allow-list"
    items = ({"ThingName": "listed"}, {"ThingName": "pinned", "CertificateId": pinned.id})
    for item in items:
        deployment.sandbox.client("dynamodb", HOME).put_item(TableName=table, Item=deployment.image(item))
    deployment.change_stack(HOME, "onboarding", UseAllowList="true", **definitions)
    try:
        assert rejected(deployment, HOME, unlisted) == "it is not on the allow-list"
        assert rejected(deployment, HOME, forged) == "the allow-list names another certificate"
        renewed = deployment.issue("known-before")
        for device in (listed, pinned, renewed):
            deployment.admit(device, HOME)
    finally:
        deployment.change_stack(HOME, "onboarding", **definitions)


def rejected(deployment: Deployment, region: str, device: Issued, status: str = "INACTIVE") -> str:
    """Knock until the rejection is on record and the certificate has the status; its reason."""
    assert not deployment.knock(device, region)
    eventually(lambda: deployment.certificate(region, device) == status)
    assert not deployment.knock(device, region)
    assert deployment.things_of(region, device) == []
    rejection = deployment.rejection(region, device)
    assert rejection["Region"] == region
    assert rejection["Pem"] == device.pem
    return str(rejection["Reason"])


@pytest.mark.defect("S1-15")
def test_a_certificate_of_another_ca_of_the_account_is_never_activated(deployment: Deployment) -> None:
    stranger = issue("Stranger CA", authority=True)
    deployment.sandbox.client("iot", HOME).register_ca_certificate(
        caCertificate=stranger.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=True
    )
    device = deployment.issue("foreign", stranger)
    assert rejected(deployment, HOME, device) == "its issuer is not one of ours"
    assert deployment.row(HOME, "foreign") == {}


@pytest.mark.defect("S1-14", "S1-15", "D-11")
def test_a_certificate_without_a_thing_name_is_rejected(deployment: Deployment) -> None:
    device = deployment.issue("no thing name")
    assert rejected(deployment, AWAY, device) == "its common name is not a thing name"


@pytest.mark.defect("S1-15")
@pytest.mark.parametrize("key", ["id", "serial", "thing"])
def test_a_revoked_certificate_stays_out(deployment: Deployment, key: str) -> None:
    device = deployment.issue(f"revoked-{key}")
    keys = {
        "thing": f"thing:revoked-{key}",
        "id": f"id:{device.id}",
        "serial": f"serial:{deployment.ca.id}:{device.certificate.serial_number:x}",
    }
    deployment.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{deployment.application}-revocations", Item={"Key": {"S": keys[key]}, "Reason": {"S": "test"}}
    )
    reason = "the device is REVOKED" if key == "thing" else "the certificate is revoked"
    assert rejected(deployment, HOME, device, "REVOKED") == reason
    assert deployment.row(HOME, f"revoked-{key}") == {}


@pytest.mark.parametrize("state", ["REVOKED", "DELETED"])
def test_a_new_certificate_does_not_bring_a_revoked_or_deleted_device_back(deployment: Deployment, state: str) -> None:
    thing = f"gone-{state}"
    old, new = deployment.issue(thing), deployment.issue(thing)
    deployment.admit(old, HOME)
    deployment.write(HOME, thing, State=state)
    for region in BOTH:
        eventually(lambda region=region: deployment.certificate(region, old) == "REVOKED")
    status = "REVOKED" if state == "REVOKED" else "INACTIVE"  # a deleted device can be released
    assert rejected(deployment, AWAY, new, status) == f"the device is {state}"
    assert deployment.row(HOME, thing)["CertificateId"] == old.id


@pytest.mark.defect("S1-6", "S1-20")
def test_what_cannot_be_finished_is_a_dead_letter_and_the_next_attempt_finishes_it(deployment: Deployment) -> None:
    device = deployment.issue("unlucky")
    fault = deployment.sandbox.fault(
        region=HOME, service="iot", operation="DescribeCertificate", effect="error", error="InvalidRequestException",
        status=400,
    )  # fmt: skip
    assert not deployment.knock(device, HOME)
    status = eventually(lambda: deployment.status(HOME, f"certificate/{device.id}").get("Error"))
    assert status.startswith("Iot.InvalidRequestException")
    letter = eventually(lambda: deployment.dead_letters(HOME))[0]
    assert letter["Machine"] == f"{deployment.application}-register-device"
    assert letter["Error"] == "Iot.InvalidRequestException"
    assert letter["Input"]["certificateId"] == device.id
    assert deployment.row(HOME, "unlucky") == {}
    deployment.sandbox.clear_faults(fault)
    deployment.admit(device, HOME)
    works_everywhere(deployment, device, "unlucky")
    assert "Error" not in deployment.status(HOME, f"certificate/{device.id}")


@pytest.mark.defect("S1-9")
def test_a_throttled_call_is_made_again(deployment: Deployment) -> None:
    device = deployment.issue("throttled")
    deployment.sandbox.fault(
        region=HOME, service="iot", operation="DescribeCertificate", effect="throttle", times=1
    )  # fmt: skip
    deployment.admit(device, HOME)
    works_everywhere(deployment, device, "throttled")


class TestFound:
    """An active certificate that somebody registered by hand, and that is in no row."""

    @staticmethod
    def register(deployment: Deployment, device: Issued) -> None:
        """As an operator does, with the fleet's policy."""
        iot = deployment.sandbox.client("iot", HOME)
        made = iot.register_certificate(certificatePem=device.pem, caCertificatePem=deployment.ca.pem, status="ACTIVE")
        iot.attach_policy(policyName=f"{deployment.application}-device", target=made["certificateArn"])

    @staticmethod
    def find(deployment: Deployment, device: Issued, *, found: bool = True) -> None:
        event = {"certificateId": device.id, **({"Found": True} if found else {})}
        deployment.start(HOME, "register-device", event)

    def test_a_device_of_ours_gets_a_row(self, deployment: Deployment) -> None:
        device = deployment.issue("found")
        self.register(deployment, device)
        self.find(deployment, device)
        eventually(lambda: deployment.row(AWAY, "found"))
        works_everywhere(deployment, device, "found")
        row = deployment.row(HOME, "found")
        assert row["CertificateId"] == device.id
        assert "PresentedAt" not in row["Certificates"][device.id], "nobody has seen the device with it"

    def test_one_of_a_known_device_takes_nothing_from_the_certificate_that_it_uses(
        self, deployment: Deployment
    ) -> None:
        used, other = deployment.issue("found-again"), deployment.issue("found-again")
        deployment.admit(used, HOME)
        works_everywhere(deployment, used, "found-again")
        self.register(deployment, other)
        self.find(deployment, other)
        eventually(lambda: other.id in deployment.row(AWAY, "found-again")["Certificates"])
        row = deployment.row(AWAY, "found-again")
        assert row["CertificateId"] == used.id
        assert {"RetireAt", "RevokeAt"} & {*row["Certificates"][used.id], *row["Certificates"][other.id]} == set()
        works_everywhere(deployment, used, "found-again")
        works_everywhere(deployment, other, "found-again")

    def test_one_of_another_ca_is_rejected_and_may_do_nothing(self, deployment: Deployment) -> None:
        device = issue("found-foreign", issue("Another CA", authority=True))
        deployment.sandbox.client("iot", HOME).register_certificate_without_ca(
            certificatePem=device.pem, status="ACTIVE"
        )
        self.find(deployment, device)
        eventually(lambda: deployment.rejection(HOME, device))
        eventually(lambda: deployment.certificate(HOME, device) == "INACTIVE")
        assert deployment.row(HOME, "found-foreign") == {}

    def test_an_event_says_nothing_about_an_active_certificate(self, deployment: Deployment) -> None:
        device = deployment.issue("not-found")
        self.register(deployment, device)
        began = deployment.sandbox.now()
        self.find(deployment, device, found=False)
        asked = {"since": began, "region": HOME, "service": "iot", "operation": "DescribeCertificate"}
        eventually(lambda: deployment.sandbox.journal(**asked))
        eventually(lambda: "LeaseOwner" in deployment.status(HOME, f"certificate/{device.id}"))
        assert deployment.row(HOME, "not-found") == {}
        assert deployment.certificate(HOME, device) == "ACTIVE"
