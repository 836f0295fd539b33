# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of certificate requests is signed by AWS IoT, each once, and its devices are let in, in every region."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.certificates import issue
from tests.integration.deployment import Deployment
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.requesting import Lot, faults, publishes, signings
from tests.integration.revocable import Revocable


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("csr"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


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
    good = [f"csr-{number}" for number in range(1, 5)]
    [taken] = fleet.issue("csr-taken")
    deployment.admit(taken, HOME)
    lot.request(*good, "csr-taken")
    named = {**lot.spoil("csr"), "csr-taken.csr": "the name is taken"}

    predicted = process(fleet, lot, check=True)
    assert (predicted["requests"]["signed"], predicted["requests"]["refused_count"]) == (4, 4)
    assert lot.signed() == set()
    began = deployment.sandbox.now()

    code, output = fleet.playbook(
        f"fleet_requests={lot.directory}", "csr_registration_quota_share=1", name="register_csr"
    )
    assert code != 0
    assert "8 requests: 4 were signed, 0 had their row, 4 were left alone" in output
    assert "4 rows were written, and every region has applied all of them" in output
    assert all(file in output for file in named)
    assert lot.signed() == set(good)
    assert signings(deployment, began) == 4

    again = process(fleet, lot)
    assert not again["changed"]
    assert (again["requests"]["known"], again["requests"]["written"]) == (4, 0)
    refused = {each["file"]: each["why"] for each in again["requests"]["refused"]}
    assert refused.keys() == named.keys()
    assert all(why in refused[file] for file, why in named.items())
    assert signings(deployment, began) == 4

    one = lot.issued("csr-1")
    row = deployment.row(AWAY, "csr-1")
    assert row["Certificates"][one.id]["IssuerFingerprint"] == "aws"
    assert "CaCertificateId" not in row
    for region, mode in ((HOME, "DEFAULT"), (AWAY, "SNI_ONLY")):
        described = deployment.sandbox.client("iot", region).describe_certificate(certificateId=one.id)
        assert described["certificateDescription"]["certificateMode"] == mode
        assert publishes(deployment, "csr-1", region, one)
    assert faults(deployment, [*good, "csr-taken"], tmp_path) == []


@pytest.mark.defect("S4-5")
def test_a_certificate_that_was_made_and_has_no_row_is_taken_and_not_made_again(
    fleet: Revocable, tmp_path: Path
) -> None:
    """A run that was killed after it had stored the certificate."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-killed", "csr-lost", "csr-renamed")
    request = (lot.directory / "csr-killed.csr").read_text()
    made = deployment.sandbox.client("iot", HOME).create_certificate_from_csr(certificateSigningRequest=request)
    (lot.directory / "csr-killed.cert.pem").write_text(made["certificatePem"])
    (lot.directory / "csr-renamed.cert.pem").write_text(issue("AWS IoT Certificate", key=lot.keys["csr-renamed"]).pem)
    began = deployment.sandbox.now()

    assert process(fleet, lot)["requests"]["written"] == 3
    assert signings(deployment, began) == 1
    # The name is the request's, whatever subject AWS gives the certificate.
    assert publishes(deployment, "csr-renamed", AWAY, lot.issued("csr-renamed"))
    assert deployment.row(AWAY, "csr-killed")["CertificateId"] == made["certificateId"]

    lost = lot.directory / "csr-lost.cert.pem"
    before = x509.load_pem_x509_certificate(lost.read_bytes())
    lost.unlink()
    found = process(fleet, lot)
    assert (found["requests"]["restored"], found["requests"]["written"]) == (1, 0)
    assert x509.load_pem_x509_certificate(lost.read_bytes()) == before
    assert signings(deployment, began) == 1


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
def test_who_is_deleted_leaves_no_certificate_and_cannot_come_back_by_itself(fleet: Revocable, tmp_path: Path) -> None:
    """Nothing registers a certificate without CA by itself, so that it need not be kept REVOKED as others are."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    lot.request("csr-gone")
    process(fleet, lot)
    gone = lot.issued("csr-gone")
    at(deployment).run("fleet_device", application=deployment.application, thing_name="csr-gone", state="DELETED")
    end = time.monotonic() + 60
    while any(deployment.certificate(region, gone) for region in BOTH):
        assert time.monotonic() < end, [deployment.certificate(region, gone) for region in BOTH]
        time.sleep(0.2)
    assert not any(deployment.knock(gone, region, "csr-gone") for region in BOTH)
    assert faults(deployment, ["csr-gone"], tmp_path) == []
