# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``iotops device`` says to what it cannot work with: one line, before it connects."""

from __future__ import annotations

import fcntl
import sys

import pytest

from iotops.cli import main
from iotops.device.connection import Endpoint
from tests.certificates import issue, new_key
from tests.unit.device_program.cloud import OLD, THING, write_pair

ARGUMENTS = ["device", "connect", "--thing-name", THING, "--endpoint", "iot.example.com"]
TOKEN = ["--pkcs11-module", "m.so", "--pkcs11-token", "t", "--pkcs11-key", "k", "--pkcs11-pin-file"]


@pytest.fixture
def directory(tmp_path):
    write_pair(tmp_path, OLD)
    return tmp_path


def refused(capsys, directory, *arguments):
    assert main([*ARGUMENTS, "--directory", str(directory), *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err.removeprefix("iotops: ").strip()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("dev-1.cert.pem", None, "No such file or directory: put the certificate (PEM) there"),
        ("dev-1.cert.pem", "nonsense", " is not a PEM certificate: restore it"),
        ("dev-1.key.pem", None, "No such file or directory: put the private key (PEM) there"),
        ("dev-1.key.pem", "nonsense", " is not a PEM private key: restore it"),
        ("dev-1.key.pem", OLD.key_pem("secret"), " is encrypted: a device needs it without a passphrase"),
        ("dev-1.cert.pem", issue(THING, key=new_key()).pem, " is not for the key "),
        ("root.cert.pem", None, "No such file or directory: put the certificate (PEM) there"),
    ],
)
def test_files(capsys, directory, name, content, said):
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_text(content)
    answer = refused(capsys, directory)
    assert answer.startswith(str(directory / name))
    assert said in answer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--thing-name", "a/b"], "--thing-name 'a/b': 1 to 64 of a-z A-Z 0-9 : _ - are a name"),
        (["--address", "127.0.0.1:mqtt"], "--address 127.0.0.1:mqtt: 'mqtt' is no port: give host or host:port"),
        (["--telemetry", "-1"], "--telemetry -1: give 0.1 seconds or more"),
        (["--ask-again", "nan"], "--ask-again nan: give 0.1 seconds or more"),
        (["--pkcs11-key", "k"], "--pkcs11-module, --pkcs11-token, --pkcs11-pin-file: a token needs all four --pkcs11"),
        (
            [*TOKEN, "/none", "--address", "127.0.0.1"],
            "--address 127.0.0.1: with a token the name iot.example.com itself",
        ),
    ],
)
def test_arguments(capsys, directory, arguments, said):
    assert refused(capsys, directory, *arguments).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"\n", "it is empty"), (b"\xff\xfe", "it is no text")],
)
def test_pin_file(capsys, directory, content, said):
    pin = directory / "pin"
    if content is not None:
        pin.write_bytes(content)
    assert refused(capsys, directory, *TOKEN, pin) == f"--pkcs11-pin-file {pin}: {said}: put the token's user PIN there"


def test_libraries_that_are_not_here(capsys, directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "awscrt", None)
    (directory / "pin").write_text("1234")
    said = refused(capsys, directory, *TOKEN, directory / "pin")
    assert said == "--pkcs11-module: awscrt is not installed here: use an environment of requirements/awsiotsdk.txt"


def test_a_directory_that_is_not_there(capsys, tmp_path):
    assert refused(capsys, tmp_path / "none").startswith(f"--directory {tmp_path / 'none'}: No such file or directory")


def test_a_device_is_one_process(capsys, directory):
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is this device already" in refused(capsys, directory)


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("", Endpoint("iot.example.com", 8883, "iot.example.com")),
        ("127.0.0.1", Endpoint("127.0.0.1", 8883, "iot.example.com")),
        ("127.0.0.1:443", Endpoint("127.0.0.1", 443, "iot.example.com")),
        (":8884", Endpoint("iot.example.com", 8884, "iot.example.com")),
    ],
)
def test_where_it_dials(address, endpoint):
    assert Endpoint.parse("iot.example.com", address) == endpoint
