# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificate is rotated under devices that publish; a region that fails takes all of them back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from iotops.sandbox.client import Sandbox
from tests.certificates import Issued
from tests.integration.deployment import eventually
from tests.integration.rotating import Load, RotatingFleet, watching
from tests.processes import kill
from tests.shown import Shown

HOME, AWAY = "eu-west-1", "us-west-2"  # the home region comes last
NOW = ("-e", "fleet_renew_server_certificate=true")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotatingFleet]:
    sandbox = Sandbox(tmp_path_factory.mktemp("rotation-sandbox")).start()
    yield RotatingFleet(sandbox, tmp_path_factory.mktemp("rotation"), (HOME, AWAY))
    sandbox.stop()


def break_second_region(fleet: RotatingFleet) -> None:
    """The home region imports the next certificate, and says that it did not."""
    fleet.sandbox.fault(
        region=HOME, service="acm", operation="ImportCertificate", effect="fail-after", times=1,
        error="AccessDeniedException", status=403,
    )  # fmt: skip


def missing(fleet: RotatingFleet, region: str, acknowledged: dict[tuple[str, str], set[int]]) -> int:
    """How many messages that were acknowledged anywhere the region's data table lacks."""
    stored = fleet.stored(region)
    return sum(len(numbers - stored.get(key, set())) for key, numbers in acknowledged.items())


def wait_for_all(fleet: RotatingFleet, region: str, acknowledged: dict[tuple[str, str], set[int]]) -> None:
    """Wait as long as there are fewer and fewer; a sandbox that is behind is no loss."""
    left, idle, pause = missing(fleet, region, acknowledged), 0, 1
    while left:
        assert idle < 60, f"{left} acknowledged messages are missing in {region}"
        time.sleep(pause)  # longer and longer, since to look costs the sandbox what it needs to catch up
        before, left = left, missing(fleet, region, acknowledged)
        idle = 0 if left < before else idle + pause
        pause = min(10, pause * 2)


def fail_to_rotate(fleet: RotatingFleet) -> None:
    """A rotation that fails in its second region leaves both with the present certificate."""
    old = fingerprint(fleet.present.read_text())
    with watching(fleet) as seen:
        break_second_region(fleet)
        failed = fleet.rotate(*NOW)
    new = fingerprint(fleet.successor.read_text())
    assert failed.code != 0
    assert f"served by {HOME}, {AWAY}" in " ".join(failed.output.split()), failed.output
    assert seen == {AWAY: [old, new, old], HOME: [old, new, old]}
    assert fingerprint(fleet.present.read_text()) == old


def rotate(fleet: RotatingFleet, *options: str) -> None:
    """A rotation: each region goes from one certificate to the other, once, under the ARN that it had."""
    old = fingerprint(fleet.present.read_text())
    arns = {region: fleet.imported(region)[0] for region in fleet.regions}
    with watching(fleet) as seen:
        fleet.rotate(*options).ok()
    new = fingerprint(fleet.present.read_text())
    assert seen == {AWAY: [old, new], HOME: [old, new]}
    assert {region: fleet.imported(region) for region in fleet.regions} == {
        region: (arn, new) for region, arn in arns.items()
    }
    assert not fleet.successor.exists()


def require_no_loss(fleet: RotatingFleet, load: Load) -> None:
    """No session broke, and each message that was acknowledged in one region is in the tables of all."""
    assert {session.lost for session in load.all} == {""}
    acknowledged = {(each.name, each.region): each.acknowledged for each in load.all}
    assert min(len(each) for each in acknowledged.values()) >= 3
    for region in fleet.regions:
        wait_for_all(fleet, region, acknowledged)


@pytest.mark.long
def test_no_acknowledged_message_is_lost(fleet: RotatingFleet) -> None:
    load = Load(fleet, 6)
    with load.running():
        rotate(fleet, *NOW)
    require_no_loss(fleet, load)


@pytest.mark.long
@pytest.mark.parametrize("devices", [6, 200])
def test_a_failure_is_taken_back_and_the_next_run_goes_on_and_nothing_is_lost(
    fleet: RotatingFleet, devices: int
) -> None:
    load = Load(fleet, devices)
    with load.running():
        fail_to_rotate(fleet)
        rotate(fleet)
    require_no_loss(fleet, load)


def pair(fleet: RotatingFleet) -> Issued:
    """The present certificate with its key."""
    key = (fleet.pki / "server/private/server.key.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(fleet.present.read_bytes())
    return Issued(certificate, serialization.load_pem_private_key(key, None))


@pytest.mark.long
def test_a_region_that_goes_on_serving_the_former_one_takes_all_of_them_back(fleet: RotatingFleet) -> None:
    old = fingerprint(fleet.present.read_text())
    chain = (fleet.pki / "intermediateCA/certs/ca-chain.cert.pem").read_text()
    stale = Shown(fleet.directory, pair(fleet), chain=chain)
    fleet.addresses[HOME] = stale.address
    try:
        with watching(fleet) as seen:
            failed = fleet.rotate(*NOW, "-e", "server_rotation_timeout=5")
    finally:
        del fleet.addresses[HOME]
        stale.close()
    assert fleet.successor.exists(), failed.output
    new = fingerprint(fleet.successor.read_text())
    output = " ".join(failed.output.split())
    assert failed.code != 0
    assert f"{HOME}: Timed out after 5 s waiting for iot.example.com at {stale.address} to serve serial" in output
    assert f"served by {HOME}, {AWAY}" in output
    assert seen[AWAY] == [old, new, old]
    assert {fleet.imported(region)[1] for region in fleet.regions} == {old}
    fleet.rotate("-e", "fleet_rotation_state=restored").ok()
    assert not fleet.successor.exists()


SITE = """
- hosts: regions
  gather_facts: false
  module_defaults: {group/iotops.fleet.aws: "{{ fleet_aws }}"}
  roles: [iotops.fleet.server_certificate]
"""


@pytest.mark.long
def test_it_is_planned_limited_taken_back_killed_and_gone_on_with(fleet: RotatingFleet, tmp_path: Path) -> None:
    old = fingerprint(fleet.present.read_text())

    def held() -> dict[str, str]:
        return {region: fleet.imported(region)[1] for region in fleet.regions}

    planned = fleet.rotate(*NOW, "--check", "--diff").ok()
    assert sum(planned.changed.values()) == 1
    assert planned.output.count("import a new one, prove it") == len(fleet.regions)
    assert held() == dict.fromkeys(fleet.regions, old)
    assert not fleet.successor.parents[1].exists()
    idle = fleet.rotate().ok()
    assert set(idle.changed.values()) == {0}
    assert "nothing is due" in idle.output

    start = fleet.sandbox.now()
    fleet.rotate(*NOW, "--limit", AWAY).ok()
    assert fleet.sandbox.journal(since=start, region=HOME, service="acm") == []
    new = fingerprint(fleet.successor.read_text())
    assert held() == {HOME: old, AWAY: new}
    assert fingerprint(fleet.present.read_text()) == old

    (tmp_path / "site.yml").write_text(SITE)
    assert set(fleet.playbooks().run(str(tmp_path / "site.yml")).ok().changed.values()) == {0}
    assert held() == {HOME: old, AWAY: new}

    fleet.rotate("-e", "fleet_rotation_state=restored", "--limit", AWAY).ok()
    assert held() == dict.fromkeys(fleet.regions, old)
    assert fleet.successor.exists()

    with watching(fleet) as seen:
        killed = fleet.playbooks().start("playbooks/rotate_server_certificate.yml")
        eventually(lambda: held()[AWAY] == new, seconds=120)
        kill(killed)
        fleet.rotate().ok()
    assert seen == {region: [old, new] for region in fleet.regions}
    assert held() == dict.fromkeys(fleet.regions, new)
    assert fingerprint(fleet.present.read_text()) == new
    assert set(fleet.rotate().ok().changed.values()) == {0}


@pytest.mark.long
def test_a_certificate_that_could_not_be_put_back_is_not_replaced(fleet: RotatingFleet) -> None:
    arn, held = fleet.imported(AWAY)
    present = fleet.present.read_text()
    (fleet.present).write_text((fleet.pki / "intermediateCA/certs/issuing.cert.pem").read_text())
    try:
        refused = fleet.rotate(*NOW)
    finally:
        fleet.present.write_text(present)
    assert refused.code != 0
    assert "so that it could not be put back" in " ".join(refused.output.split())
    assert fleet.imported(AWAY) == (arn, held)
    assert not fleet.successor.exists()
