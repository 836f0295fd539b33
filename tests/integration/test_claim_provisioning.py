# SPDX-License-Identifier: GPL-3.0-or-later
"""A device comes in with a claim certificate, which is good for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.device_program import ROOT, SERVER_NAME
from tests.integration.features import claims
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.sandbox.mqtt import Device, Issued

ANSWERS = "$aws/certificates/create-from-csr/json/accepted"


@dataclass
class Factory:
    """A fleet that devices come into with a claim, and the claim certificate."""

    fleet: Deployment
    claim: Issued
    files: tuple[Path, Path]

    def connection(self, client_id: str, region: str = HOME) -> Device:
        """A connection with the claim certificate that is still to be made."""
        address = self.fleet.sandbox.regions[region]["mqtt"]
        return Device(address, self.fleet.trust, self.files, client_id, SERVER_NAME)


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    sandbox = Sandbox(tmp_path_factory.mktemp("claims-sandbox")).start()
    directory = tmp_path_factory.mktemp("claims")
    fleet = Deployment(sandbox, directory, BOTH, features=("ingestion", "claims"))
    claim = claims.claim(fleet)
    yield Factory(fleet, claim, claim.files(directory))
    sandbox.stop()


@dataclass
class Machine:
    """A device's computer as it leaves the factory: with the root, the claim, and no key of its own."""

    factory: Factory
    name: str
    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        (self.directory / "root.cert.pem").write_text(self.factory.fleet.root.pem)

    def run(self, command: str, region: str, *arguments: object, code: int = 0) -> str:
        """Require that a command ends with a code; what it said."""
        address = self.factory.fleet.sandbox.regions[region]["mqtt"]
        every = ("--thing-name", self.name, "--directory", self.directory, "--endpoint", SERVER_NAME)
        words = ("-m", "iotops", "device", command, *every, "--address", address, *arguments)
        run = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False, timeout=60,
        )  # fmt: skip
        assert run.returncode == code, run.stdout + run.stderr
        return run.stdout + run.stderr

    def claim(self, region: str, code: int = 0, give_up: int = 40) -> str:
        """Ask for a certificate and the name."""
        certificate, key = self.factory.files
        template = f"{self.factory.fleet.application}-claim"
        given = ("--template", template, "--claim-certificate", certificate, "--claim-key", key, "--give-up", give_up)
        return self.run("claim", region, *given, code=code)

    def publishes(self, region: str) -> None:
        """Require that a message is taken and kept there."""
        fleet = self.factory.fleet
        before = len(fleet.messages(region, self.name))
        self.run("publish", region, "--message", json.dumps({"from": self.name}))
        eventually(lambda: len(fleet.messages(region, self.name)) > before)


def test_a_listed_device_is_provisioned_and_is_one_of_the_fleet_in_every_region(
    factory: Factory, tmp_path: Path
) -> None:
    fleet, machine = factory.fleet, Machine(factory, "claimed-1", tmp_path / "device")
    assert "is claimed-1 on the allow-list, and no other device's?" in machine.claim(AWAY, code=3, give_up=1)
    assert fleet.row(AWAY, "claimed-1") == {}
    claims.allow(fleet, "claimed-1")
    assert f"provisioned: {AWAY}" in machine.claim(AWAY)
    machine.publishes(AWAY)

    issued = claims.issued(machine.directory, "claimed-1")
    for region in BOTH:
        eventually(lambda region=region: fleet.settled(region, "claimed-1") and fleet.certificate(region, issued))
    row = fleet.row(HOME, "claimed-1")
    assert (row["CertificateId"], row["State"], row["HomeRegion"]) == (issued.id, "ACTIVE", AWAY)
    assert (row["PolicyNames"], row["ThingTypeName"]) == (["test-fleet-device"], "test-fleet-device")
    assert row["Certificates"][issued.id]["IssuerFingerprint"] == "aws"
    machine.publishes(HOME)
    for region in BOTH:
        asked = {"store": str(tmp_path / region), "share": 1.0, "sample": 0, "settling": 0, "depth": "full"}
        found = at(fleet, region).run("fleet_replication_info", application=fleet.application, **asked)["replication"]
        assert (found["devices"], found["in_motion"], found["faults"]) == (1, 0, {}), region
        assert fleet.dead_letters(region) == []
        assert factory.claim.id not in json.dumps(row)
        assert fleet.certificate(region, factory.claim) == "ACTIVE"

    other = Machine(factory, "claimed-1", tmp_path / "other")
    assert "AccessDenied" in other.claim(HOME, code=3, give_up=1)


def test_a_claim_certificate_can_ask_and_nothing_else(factory: Factory) -> None:
    for name in ("claimed-1", "claim-x", "claim"):
        assert not factory.connection(name).connect(3), "under a name that a thing may have"
    template = "$aws/provisioning-templates/{}/provision/json"
    for topic in (
        *("i/claimed-1/m", "i/claim.x/m", "e/claimed-1/command", "$aws/certificates/create/json"),
        *(template.format("other"), template.format("test-fleet-jitp"), "$aws/things/claimed-1/shadow/update"),
    ):
        device = factory.connection("claim.x")
        assert device.connect()
        device.client.publish(topic, "{}", qos=1)
        assert device.lost.wait(5), topic
        device.close()
    for topic in ("e/#", "i/#", "#", "$aws/things/+/shadow/#", template.format("other") + "/accepted"):
        device = factory.connection("claim.x")
        assert device.connect()
        device.client.subscribe(topic, qos=1)
        assert device.lost.wait(5), topic
        device.close()
    device = factory.connection("claim.x")
    assert device.connect()
    assert device.subscribe(ANSWERS), "what it may"
    assert device.publish(ANSWERS.removesuffix("/accepted"), "{}")
    device.close()
    assert factory.fleet.messages(HOME, "claim.x") == []


def test_of_two_devices_in_two_regions_at_once_one_gets_the_name(factory: Factory, tmp_path: Path) -> None:
    fleet, name = factory.fleet, "wanted"
    claims.allow(fleet, name)
    machines = {region: Machine(factory, name, tmp_path / region) for region in BOTH}

    def ask(region: str) -> bool:
        try:
            machines[region].claim(region, give_up=3)
        except AssertionError as error:
            assert "AccessDenied" in str(error)
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(BOTH, pool.map(ask, BOTH), strict=True))
    assert sorted(answers.values()) == [False, True]
    [winner] = [region for region, got_it in answers.items() if got_it]
    issued = claims.issued(machines[winner].directory, name)
    for region in BOTH:
        eventually(lambda region=region: fleet.settled(region, name))
    assert list(fleet.row(HOME, name)["Certificates"]) == [issued.id]


def test_while_the_home_region_does_not_answer_nobody_is_let_in_and_the_device_goes_on_later(
    factory: Factory, tmp_path: Path
) -> None:
    fleet, machine = factory.fleet, Machine(factory, "patient", tmp_path / "device")
    claims.allow(fleet, "patient")
    away = fleet.sandbox.fault(region=HOME, service="dynamodb", caller="*authorize-claim*", effect="refuse")
    try:
        machine.claim(AWAY, code=4, give_up=5)
    finally:
        fleet.sandbox.clear_faults(away)
    assert f"provisioned: {AWAY}" in machine.claim(HOME), "where it was granted its certificate, wherever it dials now"
    machine.publishes(AWAY)
