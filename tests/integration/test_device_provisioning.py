# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device provision`` against the API as it is deployed: both protocols, each mode, then a connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from iotops.sandbox.client import Sandbox
from tests.integration.conftest import REGIONS
from tests.integration.deployment import Deployment, eventually
from tests.integration.device_program import ROOT, SERVER_NAME
from tests.integration.features import provisioning
from tests.provisioning import SHARED_KEY

HOME, AWAY = REGIONS
NOWHERE = "http://127.0.0.1:9"
# What is named on the command line, by the mode of S2 that it stands for.
MODES = {"cloud": ("--key", "cloud"), "own": ("--key", "own")}


@dataclass
class Fleet:
    """A fleet with the API, and the key that all devices of S2 share."""

    deployment: Deployment
    shared: Path

    def list(self, name: str, public_key: str = "") -> None:
        """Put a device on the list."""
        item = {"thing_name": {"S": name}, "prov_status": {"S": "unprovisioned"}}
        if public_key:
            item["public_key"] = {"S": public_key}
        table = self.deployment.sandbox.client("dynamodb", HOME)
        table.put_item(TableName=provisioning.TABLE, Item=item)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("fleet"), REGIONS)
    for region in REGIONS:
        provisioning.deploy(deployment, region, CloudKeys="allowed")
    shared = tmp_path_factory.mktemp("shared") / "global-provisioning.priv.key.pem"
    form, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    shared.write_bytes(SHARED_KEY.private_bytes(serialization.Encoding.PEM, form, plain))
    yield Fleet(deployment, shared)
    sandbox.stop()


class Machine:
    """A device's computer, with the program on it and the root from the factory."""

    def __init__(self, fleet: Fleet, name: str, directory: Path) -> None:
        self.fleet, self.name, self.directory = fleet, name, directory
        self.url = provisioning.url(fleet.deployment, HOME)
        (directory / "root.cert.pem").write_text(fleet.deployment.root.pem)

    def run(self, command: str, *arguments: object, code: int = 0, entered: str = "") -> str:
        """Require that a command ends with a code; what it said."""
        every = ["-m", "iotops", "device", command, "--thing-name", self.name, "--directory", self.directory]
        run = subprocess.run(
            [sys.executable, *map(str, (*every, *arguments))], input=entered, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, check=False, timeout=120,
        )  # fmt: skip
        assert run.returncode == code, run.stdout + run.stderr
        return run.stdout + run.stderr

    def provision(self, *arguments: object, url: str = "", **how: object) -> str:
        """Ask the API."""
        return self.run("provision", "--url", url or self.url, *arguments, **how)

    def publishes(self, region: str, *arguments: object) -> None:
        """Require that a message is taken at the first try, and stored."""
        deployment = self.fleet.deployment
        before = len(deployment.messages(region, self.name))
        address = deployment.sandbox.regions[region]["mqtt"]
        message = json.dumps({"from": self.name})
        said = self.run("publish", "--message", message, "--address", address, *arguments)
        assert "WARNING" not in said
        eventually(lambda: len(deployment.messages(region, self.name)) > before)

    def status(self) -> dict[str, object]:
        """What the program tells of itself."""
        return json.loads(self.run("status", "--json"))


@pytest.fixture
def machine(fleet, tmp_path, request):
    directory = tmp_path / "device"
    directory.mkdir()
    name = request.node.name.removeprefix("test_").translate(str.maketrans("_[", "--", "]"))[:60]
    return Machine(fleet, name, directory)


@pytest.mark.parametrize("how", ["unattended", "interactive"])
@pytest.mark.parametrize("mode", MODES)
def test_the_predecessors_modes(fleet, machine, mode, how):
    """A second start asks nobody and publishes at once; the other region takes the device at the first try."""
    fleet.list(machine.name)
    arguments = ("--protocol", "s2", "--signing-key", fleet.shared, *MODES[mode])
    if how == "interactive":
        said = machine.provision(*arguments, "--interactive", entered="\n" * 4)
        assert said.count("Press Enter.") == {"cloud": 2, "own": 4}[mode]
    else:
        said = machine.provision(*arguments)
    assert f"provisioned: {HOME}" in said
    assert "PRIVATE" not in said
    address = fleet.deployment.sandbox.client("iot", HOME).describe_endpoint(endpointType="iot:Data-ATS")
    written = (machine.directory / f"{machine.name}.endpoint").read_text()
    assert written == f"{address['endpointAddress']}::{HOME}"
    machine.publishes(HOME, "--endpoint", SERVER_NAME)
    assert f"provisioned before: {HOME}" in machine.provision(*arguments, url=NOWHERE)
    machine.publishes(HOME, "--endpoint", SERVER_NAME)
    eventually(lambda: fleet.deployment.settled(AWAY, machine.name))
    machine.publishes(AWAY, "--endpoint", SERVER_NAME)


@pytest.mark.parametrize("protocol", ["v1", "s2"])
@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_signature(fleet, machine, protocol, mode):
    """It is refused, leaves nothing on either side, and the right one is not the worse for it."""
    public = SHARED_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    fleet.list(machine.name, *([public.decode()] if protocol == "v1" else []))
    arguments = ("--protocol", protocol, "--signing-key", fleet.shared, *MODES[mode])
    said = machine.provision(*arguments, "--forge", code=3)
    assert {"v1": "refused: 401 NotAuthorized", "s2": "refused: wrong sig"}[protocol] in said
    assert sorted(path.name for path in machine.directory.iterdir()) == [".lock", "root.cert.pem"]
    assert fleet.deployment.row(HOME, machine.name) == {}
    machine.provision(*arguments)


def test_our_protocol(fleet, machine):
    """A device with a key of its own: listed by its public key, provisioned, and in every region at the first try."""
    fleet.list(machine.name)
    assert "public key been put on the list? It is in" in machine.provision(code=3)
    fleet.list(machine.name, (machine.directory / f"{machine.name}.pub.pem").read_text())
    machine.provision()
    status = machine.status()
    assert (status["provisioned"], status["region"], status["serverName"]) == (True, HOME, SERVER_NAME)
    assert fleet.deployment.row(HOME, machine.name)["CertificateId"] == status["certificateId"]
    machine.publishes(HOME)
    assert machine.status()["acceptedBefore"] is True
    eventually(lambda: fleet.deployment.settled(AWAY, machine.name))
    machine.publishes(AWAY)


def test_an_answer_that_is_lost_is_given_again(fleet, machine):
    """The device has its key and nothing else: the same certificate comes a second time."""
    fleet.list(machine.name)
    machine.provision(code=3)
    fleet.list(machine.name, (machine.directory / f"{machine.name}.pub.pem").read_text())
    machine.provision()
    first = machine.status()["certificateId"]
    for kind in ("cert.pem", "endpoint", "server.json"):
        (machine.directory / f"{machine.name}.{kind}").unlink()
    machine.provision()
    assert machine.status()["certificateId"] == first
    assert list(fleet.deployment.row(HOME, machine.name)["Certificates"]) == [first]


def test_another_key_for_the_same_name_is_refused(fleet, machine):
    fleet.list(machine.name)
    arguments = ("--protocol", "s2", "--signing-key", fleet.shared)
    machine.provision(*arguments)
    for path in machine.directory.glob(f"{machine.name}.*"):
        path.unlink()
    assert "refused: you not" in machine.provision(*arguments, code=3)
