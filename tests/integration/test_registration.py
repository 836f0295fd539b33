# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that are registered before they connect: in every region, within the quotas, and nobody else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS
from tests.integration.deployment import Deployment
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued

NAMES = [f"bulk-{number:02}" for number in range(1, 21)]


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("registration"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


def register(fleet: Revocable, *, check: bool = False, **more: Any) -> dict[str, Any]:
    """The answer of the module."""
    return at(fleet.deployment).run(
        "fleet_registrations",
        check=check,
        application=fleet.deployment.application,
        authority=str(fleet.issuing),
        regions=list(BOTH),
        quota_share=1.0,
        **more,
    )


def revoke(deployment: Deployment, key: str) -> None:
    item = {"Key": {"S": key}, "Reason": {"S": "test"}, "RevokedAt": {"S": "2026-01-31T12:00:00Z"}}
    deployment.sandbox.client("dynamodb", HOME).put_item(TableName=f"{deployment.application}-revocations", Item=item)


def came_by_itself(deployment: Deployment, device: Issued) -> list[str]:
    """The regions in which register-device saw the certificate: it takes a lease first of all."""
    return [region for region in BOTH if deployment.status(region, f"certificate/{device.id}")]


def test_all_that_was_issued_is_registered_and_let_in_at_the_first_try(fleet: Revocable) -> None:
    deployment = fleet.deployment
    devices = dict(zip(NAMES, fleet.issue(*NAMES), strict=True))
    joined, _by_name, by_serial, by_id = fleet.issue("bulk-joined", "bulk-name", "bulk-serial", "bulk-id")
    deployment.admit(joined, HOME)
    fleet.issue("bulk-joined", renew=True)
    revoke(deployment, "thing:bulk-name")
    revoke(deployment, f"serial:{deployment.ca.id}:{by_serial.certificate.serial_number:x}")
    revoke(deployment, f"id:{by_id.id}")
    refused = {
        "bulk-joined": "the device has a row with other certificates; this one comes in when it is presented",
        "bulk-name": "the device is REVOKED",
        "bulk-serial": "the certificate is revoked",
        "bulk-id": "the certificate is revoked",
    }

    predicted = register(fleet, check=True)
    found = predicted["registrations"]
    assert (found["devices"], found["new"], found["known"], found["written"]) == (24, 20, 0, 0)
    assert {each["name"]: each["why"] for each in found["refused"]} == refused
    assert (found["devices_per_second"], found["seconds"]) == (10.0, 2)
    assert found["bound_by"] == "RegisterCertificate in eu-west-1, 10 a second"
    assert found["quotas"] == dict.fromkeys(BOTH, "Service Quotas")
    assert deployment.row(HOME, NAMES[0]) == {}

    began = deployment.sandbox.now()
    progress = fleet.directory / "progress"
    code, output = fleet.playbook(
        "registration_quota_share=1", f"registration_progress_path={progress}", name="register_devices"
    )
    assert code == 0, output
    assert "24 devices: 20 were new, 0 had their row, 4 were left alone" in output
    assert "20 rows were written, and every region has applied all of them" in output
    assert "the device is REVOKED" in output
    assert "20 of 20 rows written" in progress.read_text()

    calls = deployment.sandbox.journal(since=began, service="iot")
    for region in BOTH:
        made = Counter(
            call["operation"] for call in calls if call["region"] == region and "ConvergeDevice" in call["caller"]
        )
        assert made == {operation: count * len(NAMES) for operation, count in CALLS.items()}
        assert all(deployment.settled(region, name) for name in NAMES)
    for number, device in enumerate(list(devices.values())[:4]):
        deployment.connected(device, BOTH[number % 2]).close()
        assert came_by_itself(deployment, device) == []
    assert came_by_itself(deployment, joined) == [HOME]

    row, other = deployment.row(AWAY, NAMES[0]), deployment.row(AWAY, "bulk-joined")
    assert (row["HomeRegion"], row["UpdatedRegion"], row["State"]) == (HOME, "controller", "ACTIVE")
    assert set(row) == set(other)
    assert set(row["Certificates"][row["CertificateId"]]) == set(other["Certificates"][joined.id]) - {"PresentedAt"}
    for name in ("ThingArn", "CertificateArn"):
        resource = row[name].rpartition(":")[2]
        assert resource in (f"thing/{NAMES[0]}", f"cert/{devices[NAMES[0]].id}")
        assert row[name].removesuffix(resource) == other[name].removesuffix(other[name].rpartition(":")[2])
    assert row["CaCertificateId"] == other["CaCertificateId"]
    assert (row["PolicyNames"], row["ThingTypeName"]) == (other["PolicyNames"], other["ThingTypeName"])


def test_a_region_that_has_not_applied_a_row_is_named_and_the_next_run_sees_it_done(fleet: Revocable) -> None:
    deployment = fleet.deployment
    fleet.issue("bulk-late")
    with deployment.apart():
        found = register(fleet, names=["bulk-late"], timeout=2)["registrations"]
        assert (found["written"], found["missing"]) == (1, [f"bulk-late in {AWAY}: not applied"])
    again = register(fleet, names=["bulk-late"], timeout=30)
    found = again["registrations"]
    assert not again["changed"]
    assert (found["known"], found["written"], found["missing"]) == (1, 0, [])


def test_a_name_without_a_certificate_is_refused_before_anything_is_written(fleet: Revocable) -> None:
    message = at(fleet.deployment).refusal(
        "fleet_registrations",
        application=fleet.deployment.application,
        authority=str(fleet.issuing),
        regions=[HOME],
        names=["bulk-none-[1:7]"],
    )
    names = ", ".join(f"bulk-none-{number}" for number in range(1, 6))
    assert message == f"{names} and 2 more: no certificate in {fleet.issuing}/index.txt; issue it first"
