# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device`` as a process: joins the fleet, is given a job, ends with another certificate."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.deployment import eventually
from tests.integration.device_program import ROOT, Program, give_job, prepare
from tests.integration.features import rotation
from tests.integration.sandbox.mqtt import Issued, issue

SDK_PYTHON = ROOT / ".venv-awsiotsdk/bin/python"
SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "27182818"


@pytest.fixture(scope="module")
def fleet(deployment):
    rotation.deploy(deployment, deployment.regions[0], signer="function")
    return deployment


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
    address = fleet.sandbox.regions[fleet.regions[0]]["mqtt"]
    program = Program(fleet, name, tmp_path, "--address", address, "--telemetry", 0.5)
    assert program.rotate("ec384") == "SUCCEEDED"
    assert current(tmp_path, name).id == rotated(fleet, name) != old.id
    assert serialization.load_pem_private_key(key.read_bytes(), None).curve.key_size == 384
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "previous" / key.name).read_text() == old.key_pem
    assert not (tmp_path / "next").exists()
    assert "PRIVATE" not in program.said()
    messages = eventually(lambda: fleet.messages(fleet.regions[0], name))
    assert {message["topic"] for message in messages} == {f"i/{name}/telemetry"}


def test_a_rotation_by_hand_does_the_job_that_waits_and_tells_when_there_is_none(fleet, tmp_path):
    name = "program-by-hand"
    directory = prepare(fleet, tmp_path / "device", issue(name, fleet.ca), name)
    address = ("--address", fleet.sandbox.regions[fleet.regions[0]]["mqtt"])

    def rotate(code):
        return Program(fleet, name, directory, *address, command="rotate").ended(code)

    assert "no job waits" in rotate(0)
    give_job(fleet, name)
    rotate(0)
    assert current(directory, name).id == rotated(fleet, name)
    give_job(fleet, name, "-2", keyType="dsa")
    assert "iotops: the rotation failed: keyType 'dsa' is none of ec256" in rotate(1)
    assert current(directory, name).id == rotated(fleet, name)


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
    old = issue(name, fleet.ca, key=key)
    prepare(fleet, directory, old, name, key=False)
    arguments += ["--address", f"iot.example.com:{port}"]
    program = Program(fleet, name, directory, *arguments, prefix=(*private, SDK_PYTHON), **environment)
    assert program.rotate("ec256") == "SUCCEEDED"
    assert current(directory, name).id == rotated(fleet, name) != old.id
    assert not list(directory.rglob("*key*"))
    assert PIN not in program.said()
