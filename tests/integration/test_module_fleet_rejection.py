# SPDX-License-Identifier: GPL-3.0-or-later
"""What was not let in, and letting it in after all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at, four_times
from tests.integration.sandbox.mqtt import Issued, issue


@pytest.fixture(scope="module")
def strangers(deployment: Deployment) -> Issued:
    """A CA that AWS IoT knows and the fleet does not trust."""
    return issue("Strangers' CA", deployment.root, authority=True)


@pytest.fixture(scope="module")
def authorities(deployment: Deployment, strangers: Issued, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory: Path = tmp_path_factory.mktemp("authorities")
    paths = [directory / "ours.pem", directory / "strangers.pem"]
    for path, authority in zip(paths, (deployment.ca, strangers), strict=True):
        path.write_text(authority.pem)
    return [str(path) for path in paths]


def reject(
    deployment: Deployment, certificate: Issued, name: str, reason: str = "its issuer is not one of ours"
) -> None:
    """What register-device does: the rejection is kept, the certificate set INACTIVE."""
    deployment.sandbox.client("iot", HOME).register_certificate_without_ca(
        certificatePem=certificate.pem, status="INACTIVE"
    )
    item = {
        "CertificateId": certificate.id,
        "Pem": certificate.pem,
        "Reason": reason,
        "ThingName": name,
        "Region": HOME,
        "RejectedAt": "2026-01-31T12:00:00Z",
    }
    deployment.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{deployment.application}-rejections", Item={key: {"S": value} for key, value in item.items()}
    )


def release(deployment: Deployment, *, check: bool = False, region: str = HOME, **wanted):
    common = {"application": deployment.application, "state": "released"}
    return at(deployment, region).run("fleet_rejection", check=check, **common, **wanted)


def refused(deployment: Deployment, **wanted) -> str:
    common = {"application": deployment.application, "state": "released"}
    return at(deployment).refusal("fleet_rejection", **common, **wanted)


def rejections(deployment: Deployment, **wanted):
    found = at(deployment).run("fleet_rejection_info", application=deployment.application, **wanted)["rejections"]
    return [each["certificate_id"] for each in found]


def active_everywhere(deployment: Deployment, certificate: Issued, name: str) -> None:
    for region in BOTH:
        eventually(lambda region=region: certificate.id in deployment.row(region, name).get("Certificates", {}))
        eventually(lambda region=region: deployment.settled(region, name))
        assert deployment.certificate(region, certificate) == "ACTIVE"
        assert deployment.things_of(region, certificate) == [name]
        assert deployment.policies_of(region, certificate) == [f"{deployment.application}-device"]


def test_a_stranger_is_let_in_once_his_ca_is_named(deployment: Deployment, strangers: Issued, authorities) -> None:
    stranger = deployment.issue("stranger", strangers)
    reject(deployment, stranger, "stranger")
    message = refused(deployment, thing_name="stranger", ca_certificate_paths=authorities[:1])
    assert "is signed by none of ca_certificate_paths" in message
    assert deployment.row(HOME, "stranger") == {}

    real = four_times(
        lambda check: release(deployment, check=check, thing_name="stranger", ca_certificate_paths=authorities),
        lambda: (rejections(deployment, thing_name="stranger"), deployment.row(HOME, "stranger").get("WriteId")),
    )
    assert real["device"]["home_region"] == HOME
    assert (real["device"]["version"], real["device"]["ancestors"]) == (1, [])
    assert rejections(deployment, certificate_id=stranger.id) == []
    active_everywhere(deployment, stranger, "stranger")
    again = release(deployment, certificate_id=stranger.id)
    assert not again["changed"]
    assert again["device"]["thing_name"] == "stranger"


def test_a_known_device_gets_another_certificate_and_the_others_retire(deployment: Deployment, authorities) -> None:
    first, second = deployment.issue("renewing"), deployment.issue("renewing")
    deployment.admit(first, HOME)
    reject(deployment, second, "renewing", "not on the allow-list")
    eventually(lambda: deployment.settled(AWAY, "renewing") and deployment.rejection(AWAY, second))
    released = release(deployment, region=AWAY, certificate_id=second.id, ca_certificate_paths=authorities)
    device = released["device"]
    assert device["certificate_id"] == second.id
    assert (device["version"], len(device["ancestors"])) == (2, 1)
    assert {"retire_at", "revoke_at"} <= set(device["certificates"][first.id])
    assert "retire_at" not in device["certificates"][second.id]
    active_everywhere(deployment, second, "renewing")
    assert deployment.certificate(HOME, first) == "ACTIVE"


def test_a_deleted_device_comes_back_and_its_old_certificate_does_not(deployment: Deployment, authorities) -> None:
    old, new = deployment.issue("phoenix"), deployment.issue("phoenix")
    deployment.admit(old, HOME)
    for region in BOTH:
        eventually(lambda region=region: deployment.settled(region, "phoenix"))
    common = {"application": deployment.application, "thing_name": "phoenix"}
    at(deployment).run("fleet_device", state="DELETED", wait=True, regions=BOTH, **common)
    reject(deployment, new, "phoenix", "the device is DELETED")
    released = release(deployment, certificate_id=new.id, ca_certificate_paths=authorities)
    assert (released["device"]["state"], "expires_at" in released["device"]) == ("ACTIVE", False)
    active_everywhere(deployment, new, "phoenix")
    assert [deployment.certificate(region, old) for region in BOTH] == ["REVOKED", "REVOKED"]


def test_what_was_revoked_is_not_released(deployment: Deployment, authorities) -> None:
    certificate = deployment.issue("rogue")
    reject(deployment, certificate, "rogue", "the certificate is revoked")
    deployment.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{deployment.application}-revocations", Item={"Key": {"S": f"id:{certificate.id}"}}
    )
    message = refused(deployment, certificate_id=certificate.id, ca_certificate_paths=authorities)
    assert message == f"{certificate.id} of rogue was revoked (id:{certificate.id})"
    assert rejections(deployment, thing_name="rogue") == [certificate.id]


def test_a_rejection_is_forgotten(deployment: Deployment) -> None:
    certificate = deployment.issue("forgotten")
    reject(deployment, certificate, "forgotten")
    common = {"application": deployment.application, "state": "absent", "certificate_id": certificate.id}
    four_times(
        lambda check: at(deployment).run("fleet_rejection", check=check, **common),
        lambda: rejections(deployment, thing_name="forgotten"),
    )
    assert deployment.certificate(HOME, certificate) == "INACTIVE"


def test_one_of_several_has_to_be_named(deployment: Deployment) -> None:
    for certificate in (deployment.issue("twin"), deployment.issue("twin")):
        reject(deployment, certificate, "twin")
    assert "thing_name=twin has 2 rejections: set certificate_id to one of " in refused(deployment, thing_name="twin")
    assert "certificate_id=abc has no rejection" in refused(deployment, certificate_id="abc")
