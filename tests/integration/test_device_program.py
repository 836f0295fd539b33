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
from tests.integration.sandbox.mqtt import Issued, issue

ROOT = Path(__file__).parents[2]
SDK_PYTHON = ROOT / ".venv-awsiotsdk/bin/python"
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "27182818"


class RequestedKey:
    """Stands for a private key that only its device has."""

    def __init__(self, request):
        self.request = request

    def public_key(self):
        return self.request.public_key()


class Signer:
    """The cloud's part of a rotation in one region: signs, registers and grants what any device asks for."""

    def __init__(self, deployment, region):
        self.deployment, self.region = deployment, region
        self.signed = {}
        operator = issue("rotation-operator", deployment.ca)
        deployment.activate(region, operator)
        self.connection = deployment.device("rotation-operator", region, operator)
        assert self.connection.connect()
        self.connection.client.on_message = self._hear
        assert self.connection.subscribe("i/+/certificate/+")

    def _hear(self, _client, _data, message):
        thing, request = message.topic.split("/")[1::2]
        body = json.loads(message.payload)
        answer = self._create(thing, body["csr"]) if request == "create" else {"certificateId": self.signed[thing].id}
        payload = json.dumps({"jobId": body["jobId"], **answer})
        self.connection.client.publish(f"e/{thing}/certificate/{request}/accepted", payload, qos=1)

    def _create(self, thing, csr):
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        self.signed[thing] = new = issue(thing, self.deployment.ca, key=RequestedKey(request))
        arn = self.deployment.activate(self.region, new, policy=f"{self.deployment.application}-device")
        self.deployment.sandbox.client("iot", self.region).attach_thing_principal(thingName=thing, principal=arn)
        return {"certificateId": new.id, "certificatePem": new.pem}


@pytest.fixture(scope="module")
def signer(deployment):
    signer = Signer(deployment, deployment.regions[0])
    yield signer
    signer.connection.close()


class Program:
    """The device as a process. ``command``: how Python is started."""

    def __init__(self, command, deployment, name, directory, arguments, **environment):
        self.deployment, self.name, self.region = deployment, name, deployment.regions[0]
        self.log = directory / "log"
        every = ["-m", "iotops", "device", "--thing-name", name, "--directory", str(directory)]
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
        job = f"rotate-{self.name}"
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


def prepare(deployment, directory, issued, name):
    (directory / "root.cert.pem").write_text(deployment.root.pem)
    (directory / f"{name}.cert.pem").write_text(issued.pem)


def current(directory, name):
    return Issued(x509.load_pem_x509_certificate((directory / f"{name}.cert.pem").read_bytes()), None)


def test_a_device_joins_and_rotates_its_key_file(deployment, signer, tmp_path):
    old, name = issue("program-files", deployment.ca), "program-files"
    prepare(deployment, tmp_path, old, name)
    key = tmp_path / f"{name}.key.pem"
    key.write_text(old.key_pem)
    address = deployment.sandbox.regions[deployment.regions[0]]["mqtt"]
    arguments = ["--address", address, "--telemetry", "0.5"]
    program = Program([sys.executable], deployment, name, tmp_path, arguments)
    assert program.rotate("ec384") == "SUCCEEDED"
    assert current(tmp_path, name).id == signer.signed[name].id
    assert serialization.load_pem_private_key(key.read_bytes(), None).curve.key_size == 384
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "previous" / key.name).read_text() == old.key_pem
    assert not (tmp_path / "next").exists()
    assert "PRIVATE" not in program.said()
    messages = eventually(lambda: deployment.messages(deployment.regions[0], name))
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


def test_a_device_rotates_a_key_that_never_leaves_its_token(deployment, signer, tmp_path, token):
    key, arguments, environment = token
    host, port = deployment.sandbox.regions[deployment.regions[0]]["mqtt"].split(":")
    hosts = tmp_path / "hosts"
    hosts.write_text(f"{host} iot.example.com\n")
    private = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    if subprocess.run([*private, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace here (unshare -rm)")
    name, directory = "program-token", tmp_path / "device"
    directory.mkdir()
    old = issue(name, deployment.ca, key=key)
    prepare(deployment, directory, old, name)
    arguments += ["--address", f"iot.example.com:{port}"]
    program = Program([*private, str(SDK_PYTHON)], deployment, name, directory, arguments, **environment)
    assert program.rotate("ec256") == "SUCCEEDED"
    assert current(directory, name).id == signer.signed[name].id != old.id
    assert not list(directory.rglob("*key*"))
    assert PIN not in program.said()
