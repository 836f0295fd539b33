# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of certificate requests is signed by AWS IoT, each once, and its devices are let in, in every region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._registration import pacing
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.requesting import Lot, faults, publishes, signings
from tests.integration.revocable import Revocable


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("csr"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions of two devices are looked at more often than those of a lot."""
    monkeypatch.setattr(pacing, "LOOK_SECONDS", 0.2)


def sign_and_store(deployment: Deployment, lot: Lot, name: str) -> str:
    """What a run does before it is killed; the id of the certificate."""
    request = (lot.directory / f"{name}.csr").read_text()
    made = deployment.sandbox.client("iot", HOME).create_certificate_from_csr(certificateSigningRequest=request)
    (lot.directory / f"{name}.cert.pem").write_text(made["certificatePem"])
    return str(made["certificateId"])


def process(fleet: Revocable, lot: Lot, *, check: bool = False, **more: Any) -> dict[str, Any]:
    """The answer of the module."""
    return at(fleet.deployment).run(
        "fleet_signed_requests",
        check=check,
        application=fleet.deployment.application,
        requests=str(lot.directory),
        regions=list(BOTH),
        quota_share=1.0,
        **more,
    )


@pytest.mark.defect("S4-2")
def test_the_good_ones_are_done_the_others_named_and_a_second_run_does_nothing(
    fleet: Revocable, tmp_path: Path
) -> None:
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    good = ["csr-1", "csr-2"]
    lot.request(*good, "csr-foreign")
    # The same device has a certificate of the issuing CA too: that is revoked by its list, and not AWS's.
    foreign = deployment.issue("csr-foreign", key=lot.keys["csr-foreign"])
    (lot.directory / "csr-foreign.cert.pem").write_text(foreign.pem)
    named = {**lot.spoil("csr"), "csr-foreign.csr": "none that AWS IoT signed in eu-west-1: it is not registered there"}

    began = deployment.sandbox.now()

    real = process(fleet, lot)
    assert (real["requests"]["signed"], real["requests"]["written"], real["requests"]["missing"]) == (2, 2, [])
    again = process(fleet, lot)
    assert not again["changed"]
    assert (again["requests"]["known"], again["requests"]["written"]) == (2, 0)
    for run in (real, again):
        refused = {each["file"]: each["why"] for each in run["requests"]["refused"]}
        assert refused.keys() == named.keys()
        assert all(why in refused[file] for file, why in named.items())
    assert lot.signed() == {*good, "csr-foreign"}
    assert signings(deployment, began) == 2

    one = lot.issued("csr-1")
    row = deployment.row(AWAY, "csr-1")
    assert row["Certificates"][one.id]["IssuerFingerprint"] == "aws"
    assert "CaCertificateId" not in row
    for region, mode in ((HOME, "DEFAULT"), (AWAY, "SNI_ONLY")):
        described = deployment.sandbox.client("iot", region).describe_certificate(certificateId=one.id)
        assert described["certificateDescription"]["certificateMode"] == mode
        assert publishes(deployment, "csr-1", region, one)
    assert deployment.row(HOME, "csr-foreign") == {}


@pytest.mark.long
@pytest.mark.defect("S4-5")
def test_a_certificate_that_was_made_and_has_no_row_is_taken_and_not_made_again(
    fleet: Revocable, tmp_path: Path
) -> None:
    """A run that was killed after it had stored the certificate."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-killed", "csr-lost")
    made = sign_and_store(deployment, lot, "csr-killed")
    began = deployment.sandbox.now()

    predicted = process(fleet, lot, check=True)
    assert predicted["requests"]["signed"] == 1
    assert lot.signed() == {"csr-killed"}
    real = process(fleet, lot)
    assert real["diff"] == predicted["diff"]
    assert (real["requests"]["signed"], real["requests"]["written"]) == (1, 2)
    assert signings(deployment, began) == 1
    assert publishes(deployment, "csr-killed", AWAY, lot.issued("csr-killed"))
    assert deployment.row(AWAY, "csr-killed")["CertificateId"] == made

    lost = lot.directory / "csr-lost.cert.pem"
    before = x509.load_pem_x509_certificate(lost.read_bytes())
    lost.unlink()
    found = process(fleet, lot)
    assert (found["requests"]["restored"], found["requests"]["written"]) == (1, 0)
    assert x509.load_pem_x509_certificate(lost.read_bytes()) == before
    assert signings(deployment, began) == 1


@pytest.mark.long
def test_what_a_killed_run_has_left_and_no_row_takes_goes(fleet: Revocable, tmp_path: Path) -> None:
    """The name of one was revoked meanwhile; of another a run at the same time had written the row."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-barred", "csr-twice")
    barred = sign_and_store(deployment, lot, "csr-barred")
    deployment.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{deployment.application}-revocations",
        Item={"Key": {"S": "thing:csr-barred"}, "Reason": {"S": "test"}, "RevokedAt": {"S": "2026-01-31T12:00:00Z"}},
    )
    assert process(fleet, lot)["requests"]["signed"] == 1
    won = lot.issued("csr-twice")
    second = sign_and_store(deployment, lot, "csr-twice")
    statuses = at(deployment).client("iot")

    def is_known(certificate_id: str) -> bool:
        try:
            statuses.describe_certificate(certificateId=certificate_id)
        except statuses.exceptions.ResourceNotFoundException:
            return False
        return True

    assert not is_known(barred)
    assert lot.signed() == {"csr-twice"}
    predicted, real = process(fleet, lot, check=True), process(fleet, lot)
    assert predicted["diff"] == real["diff"]
    assert (real["requests"]["removed"], real["requests"]["restored"], real["requests"]["written"]) == (1, 1, 0)
    assert lot.issued("csr-twice").id == won.id
    assert not is_known(second)
    assert [each["why"] for each in real["requests"]["refused"]] == ["the device is REVOKED"]
    assert not process(fleet, lot)["changed"]
    assert publishes(deployment, "csr-twice", AWAY, won)


@pytest.mark.long
def test_a_region_that_has_not_heard_of_the_device_refuses_it_and_lets_it_in_later(
    fleet: Revocable, tmp_path: Path
) -> None:
    """Nobody there knows the certificate or its CA, so there is nothing that could register it by mistake."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-early")
    with deployment.apart():
        found = process(fleet, lot, timeout=2)["requests"]
        assert found["missing"] == [f"csr-early in {AWAY}: not applied"]
        early = lot.issued("csr-early")
        assert publishes(deployment, "csr-early", HOME, early)
        assert not deployment.knock(early, AWAY, "csr-early")
        assert deployment.certificate(AWAY, early) == ""
        assert deployment.rejection(AWAY, early) == {}
    deployment.admit(early, AWAY, "csr-early")
    assert process(fleet, lot)["requests"]["missing"] == []


@pytest.mark.long
def test_who_is_deleted_leaves_no_certificate_and_comes_back_with_one_of_the_issuing_ca(
    fleet: Revocable, tmp_path: Path
) -> None:
    """Nothing registers a certificate without CA by itself, so that it need not be kept REVOKED as others are.

    The name stays taken as long as AWS's certificate would have been valid, until 2050, unless an operator releases it.
    """
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-gone")
    process(fleet, lot)
    gone = lot.issued("csr-gone")
    at(deployment).run("fleet_device", application=deployment.application, thing_name="csr-gone", state="DELETED")
    eventually(lambda: not any(deployment.certificate(region, gone) for region in BOTH))
    assert not any(deployment.knock(gone, region, "csr-gone") for region in BOTH)
    assert faults(deployment, ["csr-gone"], tmp_path) == []

    (lot.directory / "csr-gone.cert.pem").unlink()
    lot.request("csr-gone")
    [refused] = process(fleet, lot)["requests"]["refused"]
    assert refused["why"] == "the name is taken: the registry has a device of it, DELETED, with another key"

    [back] = fleet.issue("csr-gone")
    assert not deployment.knock(back, AWAY)
    assert eventually(lambda: deployment.rejection(HOME, back))["Reason"] == "the device is DELETED"
    code, output = fleet.playbook("fleet_thing=csr-gone", name="release_device")
    assert code == 0, output
    for region in BOTH:
        assert publishes(deployment, "csr-gone", region, back)
        assert not deployment.knock(gone, region, "csr-gone")
    row = deployment.row(HOME, "csr-gone")
    assert (row["State"], row["CertificateId"], "ExpiresAt" in row) == ("ACTIVE", back.id, False)
    assert faults(deployment, ["csr-gone"], tmp_path) == []
