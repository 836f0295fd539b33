# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device`` as a process: joins the fleet, is given a job, ends with another certificate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.deployment import eventually
from tests.integration.features import rotation
from tests.integration.sandbox.mqtt import Issued, issue

ROOT = Path(__file__).parents[2]
SDK_PYTHON = ROOT / ".venv-awsiotsdk/bin/python"
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "27182818"


@pytest.fixture(scope="module")
def fleet(deployment):
    rotation.deploy(deployment, deployment.regions[0], signer="function")
    return deployment


class Program:
    """The device as a process. ``command``: how Python is started."""

    def __init__(self, command, deployment, name, directory, arguments, **environment):
        self.deployment, self.name, self.region = deployment, name, deployment.regions[0]
        self.log = directory / "log"
        every = ["-m", "iotops", "device", "connect", "--thing-name", name, "--directory", str(directory)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *every, "--endpoint", "iot.example.com", *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def rotate(self, key_type):
        """Wait until it has joined, give it a job, wait for the job's end, end the program; the job's status."""
        iot = self.deployment.sandbox.client("iot", self.region)
        eventually(lambda: "connected with" in self.said())
        thing = iot.describe_thing(thingName=self.name)["thingArn"]
        job = f"{self.deployment.application}-rotate-{self.name}"
        document = json.dumps({"operation": "ROTATE_CERTIFICATE", "keyType": key_type})
        iot.create_job(jobId=job, targets=[thing], document=document)

        def ended():
            status = iot.describe_job_execution(jobId=job, thingName=self.name)["execution"]["status"]
            return status if status not in ("QUEUED", "IN_PROGRESS") and "rotation: ended" in self.said() else None

        try:
            return eventually(ended, seconds=40)
        finally:
            self.process.terminate()
            assert self.process.wait(20) == 0, self.said()

    def said(self):
        """What it has logged."""
        assert self.process.poll() in (None, 0), self.log.read_text()
        return self.log.read_text()


def prepare(fleet, directory, issued, name):
    (directory / "root.cert.pem").write_text(fleet.root.pem)
    (directory / f"{name}.cert.pem").write_text(issued.pem)


def rotated(fleet, name):
    """The certificateId that the registry holds for the current one, if a job made it and the device has shown it."""
    row = fleet.row(fleet.regions[0], name)
    assert {"JobId", "PresentedAt"} <= row["Certificates"][row["CertificateId"]].keys()
    return row["CertificateId"]


def current(directory, name):
    return Issued(x509.load_pem_x509_certificate((directory / f"{name}.cert.pem").read_bytes()), None)


def test_a_device_joins_and_rotates_its_key_file(fleet, tmp_path):
    old, name = issue("program-files", fleet.ca), "program-files"
    prepare(fleet, tmp_path, old, name)
    key = tmp_path / f"{name}.key.pem"
    key.write_text(old.key_pem)
    address = fleet.sandbox.regions[fleet.regions[0]]["mqtt"]
    arguments = ["--address", address, "--telemetry", "0.5"]
    program = Program([sys.executable], fleet, name, tmp_path, arguments)
    assert program.rotate("ec384") == "SUCCEEDED"
    assert current(tmp_path, name).id == rotated(fleet, name) != old.id
    assert serialization.load_pem_private_key(key.read_bytes(), None).curve.key_size == 384
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "previous" / key.name).read_text() == old.key_pem
    assert not (tmp_path / "next").exists()
    assert "PRIVATE" not in program.said()
    messages = eventually(lambda: fleet.messages(fleet.regions[0], name))
    assert {message["topic"] for message in messages} == {f"i/{name}/telemetry"}


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A SoftHSM token of its own with the key pair ``device``; the arguments that name it, and its environment."""
    if not SDK_PYTHON.exists():
        pytest.skip("awsiotsdk is not installed: make .venv-awsiotsdk/ok")
    if not SOFTHSM.exists():
        pytest.skip("softhsm2 is not installed")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nobjectstore.backend = file\n")
    environment = {"SOFTHSM2_CONF": str(configuration)}
    pin = tmp_path / "pin"
    pin.write_text(f"{PIN}\n")
    utility = ["softhsm2-util", "--module", str(SOFTHSM)]
    start = [*utility, "--init-token", "--free", "--label", "fleet", "--so-pin", "31415926", "--pin", PIN]
    subprocess.run(start, env={**os.environ, **environment}, check=True, capture_output=True)
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    load = [*utility, "--import", str(tmp_path / "key"), "--token", "fleet", "--label", "device", "--id", "01"]
    subprocess.run([*load, "--pin", PIN], env={**os.environ, **environment}, check=True, capture_output=True)
    (tmp_path / "key").unlink()
    named = {"module": SOFTHSM, "token": "fleet", "key": "device", "pin-file": pin}
    return key, [f"--pkcs11-{name}={value}" for name, value in named.items()], environment


def test_a_device_rotates_a_key_that_never_leaves_its_token(fleet, tmp_path, token):
    key, arguments, environment = token
    host, port = fleet.sandbox.regions[fleet.regions[0]]["mqtt"].split(":")
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{host} iot.example.com\n")
    private = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    if subprocess.run([*private, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace here (unshare -rm)")
    name, directory = "program-token", tmp_path / "device"
    directory.mkdir()
    old = issue(name, fleet.ca, key=key)
    prepare(fleet, directory, old, name)
    arguments += ["--address", f"iot.example.com:{port}"]
    program = Program([*private, str(SDK_PYTHON)], fleet, name, directory, arguments, **environment)
    assert program.rotate("ec256") == "SUCCEEDED"
    assert current(directory, name).id == rotated(fleet, name) != old.id
    assert not list(directory.rglob("*key*"))
    assert PIN not in program.said()
