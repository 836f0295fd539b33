# SPDX-License-Identifier: GPL-3.0-or-later
"""Revoked devices: out in every region, also one that comes later, and nobody else."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("revocable"))
    for region in BOTH:
        assert deployment.dead_letters(region) == []


def join(fleet: Revocable, *devices: Issued) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda device: fleet.deployment.admit(device, HOME), devices))
    for device in devices:
        eventually(lambda device=device: fleet.deployment.certificate(AWAY, device) == "ACTIVE")


def name_of(device: Issued) -> str:
    return str(device.certificate.subject.rfc4514_string()).partition("CN=")[2].partition(",")[0]


def openssl(*arguments: str | Path) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_the_playbook_shows_then_revokes_and_proves_it(fleet: Revocable) -> None:
    deployment = fleet.deployment
    names = [f"many-{number}" for number in range(1, 5)]
    devices = fleet.issue(*names)
    join(fleet, *devices)
    gone, by_hand, kept = devices[:2], devices[2], devices[3:]
    copy = fleet.pki / "clients/many-3/many-3.cert.pem"
    openssl("ca", "-config", fleet.issuing / "openssl.cnf", "-revoke", copy, "-crl_reason", "superseded")
    rows = {name: deployment.row(HOME, name) for name in names}

    code, output = fleet.playbook("fleet_devices=many-1,many-2", "fleet_reason='keyCompromise: it was stolen'")
    assert code == 2, output
    for device in (*gone, by_hand):
        assert device.id in output, output
    assert "many-4" not in output
    command = """-e 'fleet_devices="many-1,many-2"' -e 'fleet_reason="keyCompromise: it was stolen"'"""
    assert f"{command} -e fleet_revoke_confirm={deployment.application}" in output
    assert {name: deployment.row(HOME, name) for name in names} == rows

    bucket = f"{deployment.application}-{deployment.sandbox.account_id}-{{{{ inventory_hostname }}}}-artifacts"
    code, output = fleet.playbook(
        "fleet_devices=many-1,many-2",
        "fleet_reason='keyCompromise: it was stolen'",
        f"fleet_revoke_confirm={deployment.application}",
        f"revocation_bucket={bucket}",
    )
    assert code == 0, output
    for region in BOTH:
        for name in ("many-1", "many-2"):
            pattern = rf"{name} +{region} +[0-9a-f]{{12}} +REVOKED +REVOKED +refused: .* +[\d.]+ +refused\b"
            assert re.search(pattern, output), output
        assert re.search(rf"many-3 +{region} +[0-9a-f]{{12}} +ACTIVE +REVOKED +refused: .* +[\d.]+ +refused\b", output)
        for device in (*gone, by_hand):
            assert deployment.certificate(region, device) == "REVOKED"
            assert not deployment.knock(device, region)
        for device in kept:
            deployment.connected(device, region).close()
    assert {name: deployment.row(HOME, name) for name in names[3:]} == {name: rows[name] for name in names[3:]}
    crl = fleet.issuing / "crl/issuing.crl.pem"
    assert "verify OK" in openssl(
        "crl", "-in", crl, "-noout", "-verify", "-CAfile", fleet.issuing / "certs/issuing.cert.pem"
    )
    assert openssl("crl", "-in", crl, "-noout", "-text").count("Serial Number") == 3
    for region in BOTH:
        published = deployment.sandbox.client("s3", region).get_object(
            Bucket=bucket.replace("{{ inventory_hostname }}", region), Key="crl/intermediateCA.crl"
        )
        assert published["Body"].read() == (fleet.issuing / "crl/issuing.crl").read_bytes()
        assert published["ContentType"] == "application/pkix-crl"


def test_one_certificate_of_a_device_is_revoked_and_the_other_works(fleet: Revocable) -> None:
    """No ledger has them: of the current one the index knows the row, the other one is found by a scan."""
    deployment = fleet.deployment
    old, new = deployment.issue("two-certificates"), deployment.issue("two-certificates")
    keys = {each.id: f"serial:{deployment.ca.id}:{each.certificate.serial_number:x}" for each in (old, new)}
    join(fleet, old)
    join(fleet, new)
    answer = fleet.revoke(serials=[f"{old.certificate.serial_number:X}"])
    [found] = answer["revocations"]
    assert (found["thing_name"], found["certificate_id"], found["key"]) == ("two-certificates", old.id, keys[old.id])
    proof = fleet.refusals(answer)
    assert (proof["missing"], {each["attempt"] for each in proof["refusals"]}) == ([], {"no key here"})
    for region in BOTH:
        assert deployment.certificate(region, old) == "REVOKED"
        assert not deployment.knock(old, region)
        deployment.connected(new, region).close()
    assert deployment.row(HOME, "two-certificates")["State"] == "ACTIVE"

    answer = fleet.revoke(certificate_ids=[new.id])
    [found] = answer["revocations"]
    assert (found["thing_name"], found["certificate_id"], found["key"]) == ("two-certificates", new.id, keys[new.id])
    assert fleet.refusals(answer)["missing"] == []
    assert not fleet.revoke(certificate_ids=[old.id, new.id])["changed"]


def test_what_no_region_has_seen_is_refused_wherever_it_comes(fleet: Revocable) -> None:
    deployment = fleet.deployment
    by_name, by_serial = fleet.issue("never-1", "never-2")
    answers = [fleet.revoke(names=["never-1"]), fleet.revoke(serials=[f"{by_serial.certificate.serial_number:x}"])]
    for answer, device in zip(answers, (by_name, by_serial), strict=True):
        assert not answer["revocations"][0]["seen"]
        proof = fleet.refusals(answer)
        assert proof["missing"] == []
        assert {each["attempt"][:7] for each in proof["refusals"]} == {"refused"}
        for region in BOTH:
            deployment.knock(device, region)
            eventually(lambda device=device, region=region: deployment.certificate(region, device) == "REVOKED")
            assert not deployment.knock(device, region)
            assert deployment.row(region, name_of(device)) == {}


def test_who_is_not_refused_in_time_is_named(fleet: Revocable) -> None:
    deployment = fleet.deployment
    [device] = fleet.issue("stubborn")
    join(fleet, device)
    before = deployment.row(HOME, "stubborn")
    predicted = at(deployment).run(
        "fleet_revocations", check=True, application=deployment.application, devices=["stubborn"], reason="test"
    )
    assert predicted["changed"]
    assert deployment.row(HOME, "stubborn") == before
    with deployment.apart():
        answer = fleet.revoke(names=["stubborn"])
        assert answer["diff"]["after"].splitlines()[-1] == predicted["diff"]["after"].strip()
        proof = fleet.refusals(answer, timeout=3)
        assert proof["missing"] == [f"stubborn {device.id} in {AWAY}: thing:stubborn has not arrived"]
        assert {each["region"]: each["refused"] for each in proof["refusals"]} == {HOME: True, AWAY: False}
        assert deployment.knock(device, AWAY)
    assert fleet.refusals(answer)["missing"] == []
    assert deployment.row(HOME, "stubborn")["Reason"] == "test"
    assert not fleet.revoke(names=["stubborn"])["changed"]


def test_a_name_that_nobody_knows_is_refused_before_anything_is_written(fleet: Revocable) -> None:
    message = at(fleet.deployment).refusal(
        "fleet_revocations", application=fleet.deployment.application, devices=["nobody-here"]
    )
    assert message == "devices: nobody-here have no row and no certificate; check the names"
