# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred requests in a folder, also by a run that is killed; and the life of a device that AWS IoT signed for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotops.device import Device
from iotops.sandbox.client import Sandbox
from tests.integration.campaign import Campaigns, Simulated
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME
from tests.integration.requesting import Lot, publishes, signings
from tests.processes import kill

pytestmark = pytest.mark.long

THREADS = 8  # csr_registration_threads
FULL_QUOTA = "csr_registration_quota_share=1"
PROOF = json.dumps({"replication_check_settling": 0, "replication_check_event_types": [], "fleet_sample": 0})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaigns]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("deployment"), BOTH)
    yield Campaigns(deployment, tmp_path_factory.mktemp("requesting"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []
    sandbox.stop()


def require_agreement(fleet: Campaigns) -> None:
    """Every region has every device as its row wants it, and nothing else: a full check of all."""
    stacks = json.dumps({"replication_check_stacks": [f"{fleet.deployment.application}-onboarding"]})
    code, output = fleet.playbook("fleet_depth=full", PROOF, stacks, name="check_replication")
    assert code == 0, output[-4000:]


def hundred(fleet: Campaigns, directory: Path, prefix: str) -> tuple[Lot, list[str], dict[str, str]]:
    """A folder of 100 requests: the names of the 96 that are good, and why each of the others is not, by file."""
    lot, taken = Lot(directory), f"{prefix}-taken"
    good = [f"{prefix}-{number:03}" for number in range(96)]
    [known] = fleet.issue(taken)
    fleet.deployment.admit(known, HOME)
    lot.request(*good, taken)
    return lot, good, {**lot.spoil(prefix), f"{taken}.csr": "the name is taken"}


def sign(fleet: Campaigns, lot: Lot) -> tuple[int, str]:
    """Run the playbook over the folder."""
    return fleet.playbook(f"fleet_requests={lot.directory}", FULL_QUOTA, name="register_csr")


def test_of_a_hundred_96_are_done_four_named_and_a_second_run_does_nothing(fleet: Campaigns, tmp_path: Path) -> None:
    deployment = fleet.deployment
    lot, good, named = hundred(fleet, tmp_path / "lot", "lot")
    began = deployment.sandbox.now()

    code, output = sign(fleet, lot)
    assert code == 2, output
    assert "100 requests: 96 were signed, 0 had their row, 4 were left alone" in output
    assert "96 rows were written, and every region has applied all of them" in output
    assert all(file in output for file in named)
    assert lot.signed() == set(good)

    before = {name: deployment.row(HOME, name) for name in good}
    code, output = sign(fleet, lot)
    assert code == 2, output
    assert "100 requests: 0 were signed, 96 had their row, 4 were left alone" in output
    assert "changed=0" in output
    assert {name: deployment.row(HOME, name) for name in good} == before
    assert signings(deployment, began) == len(good)

    for number, name in enumerate(good[::12]):
        assert publishes(deployment, name, BOTH[number % 2], lot.issued(name))
    require_agreement(fleet)


@pytest.mark.parametrize("moment", ["signing", "registering"])
def test_a_run_that_is_killed_is_finished_by_the_next_one(fleet: Campaigns, tmp_path: Path, moment: str) -> None:
    deployment = fleet.deployment
    lot, good, _named = hundred(fleet, tmp_path / "lot", moment)
    began = deployment.sandbox.now()
    run = fleet.start(f"fleet_requests={lot.directory}", FULL_QUOTA, name="register_csr")

    def is_in_the_middle() -> bool:
        done = len(lot.signed()) >= 30 if moment == "signing" else bool(deployment.row(HOME, good[30]))
        return done or run.poll() is not None

    eventually(is_in_the_middle, seconds=300)
    assert run.poll() is None, run.communicate()[0]
    kill(run)
    before = {name: lot.issued(name).id for name in lot.signed()}
    assert len(before) < len(good) or moment == "registering"

    code, output = sign(fleet, lot)
    assert code == 2, output
    assert lot.signed() == set(good)
    assert {name: lot.issued(name).id for name in before} == before, "one was signed again"
    assert all(deployment.settled(region, name) for region in BOTH for name in good)
    assert len(good) <= signings(deployment, began) <= len(good) + THREADS
    for certificate_id, status in strangers(fleet, lot).items():
        assert status == "INACTIVE", certificate_id
    require_agreement(fleet)


def strangers(fleet: Campaigns, lot: Lot) -> dict[str, str]:
    """Status of the certificates at home that are in no row, by id: what AWS made and nobody was left to store."""
    tables = fleet.deployment.sandbox.client("dynamodb", HOME).get_paginator("scan")
    pages = tables.paginate(TableName=f"{fleet.deployment.application}-device-inventory")
    known = {each for page in pages for item in page["Items"] for each in item["Certificates"]["M"]}
    assert {lot.issued(name).id for name in lot.signed()} <= known
    listed = fleet.deployment.sandbox.client("iot", HOME).get_paginator("list_certificates").paginate()
    found = {each["certificateId"]: each["status"] for page in listed for each in page["certificates"]}
    return {each: status for each, status in found.items() if each not in known}


def test_a_device_that_aws_signed_for_rotates_and_is_revoked(fleet: Campaigns, tmp_path: Path) -> None:
    """From its first rotation on it has certificates of the issuing CA. AWS's are in no ledger."""
    deployment, lot = fleet.deployment, Lot(tmp_path / "lot")
    rotating, revoked, withdrawn = "csr-rotates", "csr-revoked", "csr-withdrawn"
    lot.request(rotating, revoked, withdrawn)
    code, output = sign(fleet, lot)
    assert code == 0, output

    first = lot.issued(rotating)
    home = fleet.clients / rotating
    home.mkdir(parents=True)
    (home / f"{rotating}.cert.pem").write_text(first.pem)
    (home / f"{rotating}.key.pem").write_text(first.key_pem)
    device = Simulated(rotating, AWAY, Device, first)
    with fleet.online({rotating: device}):
        run = fleet.rotate("-e", f"fleet_devices={rotating}", "-e", "rotation_campaign_pause=1")
    assert run.code == 0, run.output
    eventually(lambda: fleet.has_rotated(rotating), seconds=120)
    row = deployment.row(HOME, rotating)
    assert row["Certificates"][row["CertificateId"]]["IssuerFingerprint"] == deployment.ca.id
    assert row["Certificates"][first.id]["IssuerFingerprint"] == "aws"
    assert "RetireAt" in row["Certificates"][first.id]
    fleet.works(device, fleet.current(rotating))

    out = [f"fleet_devices={rotating},{revoked}", f"fleet_revoke_confirm={deployment.application}"]
    code, output = fleet.playbook(*out)
    assert code == 0, output
    only = [f"fleet_certificates={lot.issued(withdrawn).id}", f"fleet_revoke_confirm={deployment.application}"]
    code, output = fleet.playbook(*only)
    assert code == 0, output
    for region in BOTH:
        for each in (first, fleet.current(rotating), lot.issued(revoked), lot.issued(withdrawn)):
            assert deployment.certificate(region, each) == "REVOKED"
        for name in (revoked, withdrawn):
            assert not deployment.knock(lot.issued(name), region, name)
    require_agreement(fleet)

    code, output = sign(fleet, lot)
    assert "0 were signed" in output
    assert "changed=0" in output
