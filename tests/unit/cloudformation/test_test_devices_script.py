# SPDX-License-Identifier: GPL-3.0-or-later
"""The user data of a test device, run by bash, with a folder for the bucket."""

from __future__ import annotations

import email
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest
import yaml

from tests.certificates import issue
from tests.unit.templates import template

NAMES = {"Application": "app", "AWS::Region": "eu-west-1", "AWS::AccountId": "1", "Name": "probe", "Interval": "0.1"}
AWS = """#!/bin/bash
# s3api get-object|put-object --bucket b --key k/name (file | --body file)
case $2 in
  get-object) cp "$BUCKET/${6##*/}" "$7" ;;
  put-object) cp "$8" "$BUCKET/${6##*/}" ;;
esac
"""
BUSY = """#!/bin/bash
# somebody else has the lock of the package manager twice
echo "$*" >>"$BUCKET/apt"
[ "$(wc -l <"$BUCKET/apt")" -gt 2 ] || exit 100
case $* in *mosquitto-clients) cp "$(type -P true)" "$BUCKET/../bin/mosquitto_pub" ;; esac
"""
PROGRAMS = {"aws": AWS, "mosquitto_pub": "#!/bin/bash\n"}
TOOLS = ("bash", "cat", "chmod", "cp", "mkdir", "mv", "openssl", "sleep", "true", "wc")


def parts() -> list[Message]:
    """What cloud-init is given."""
    text = template("test_device")["Resources"]["Instance"]["Properties"]["UserData"]["Fn::Base64"]
    given = email.message_from_string(text).get_payload()
    assert isinstance(given, list)
    return [each for each in given if isinstance(each, Message)]


@pytest.fixture
def script(tmp_path: Path) -> str:
    """What the instance runs, in a folder of its own, and as if there were no systemd."""
    found = str(parts()[1].get_payload())
    for name, value in NAMES.items():
        found = found.replace(f"${{{name}}}", value)
    found = found.replace("${Endpoint}", "iot.example.com").replace("/run/systemd/system", "/nowhere")
    return found.replace("/var/lib/app-test-device", str(tmp_path / "own")).replace("sleep 10", "sleep 0.1")


@pytest.fixture
def machine(tmp_path: Path, script: str) -> Iterator[Callable[..., Path]]:
    """Starts the script on a machine with these programs; the file of what it says."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    programs_dir, output = tmp_path / "bin", tmp_path / "output"
    (tmp_path / "bucket").mkdir()
    programs_dir.mkdir()
    for tool in TOOLS:
        (programs_dir / tool).symlink_to(str(shutil.which(tool)))
    environment = {"BUCKET": str(tmp_path / "bucket"), "PATH": str(programs_dir)}
    running: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        for each in running:
            each.kill()
            each.wait()

    def start(programs: dict[str, str] = PROGRAMS) -> Path:
        stop()
        for name, text in programs.items():
            (programs_dir / name).write_text(text)
            (programs_dir / name).chmod(0o755)
        with output.open("wb") as stream:
            command = [str(programs_dir / "bash"), "-c", script]
            running.append(subprocess.Popen(command, env=environment, stdout=stream, stderr=stream))
        return output

    yield start
    stop()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def answer(bucket: Path) -> None:
    """Put a certificate for the request in the bucket."""
    bucket.joinpath("root.pem").write_text("root")
    command = f"openssl x509 -req -in {bucket}/request.csr -signkey {bucket}/../own/key.pem -out {bucket}/cert.pem"
    subprocess.run(command.split(), check=True, capture_output=True)


def test_it_runs_at_every_boot_so_that_a_change_reaches_a_running_instance() -> None:
    config, script = parts()
    assert config.get_content_type() == "text/cloud-config"
    assert yaml.safe_load(str(config.get_payload())) == {"cloud_final_modules": [["scripts-user", "always"]]}
    assert script.get_content_type() == "text/x-shellscript"
    assert str(script.get_payload()).startswith("#!/bin/bash\n")


def test_a_certificate_for_the_key_of_a_former_instance_is_not_taken(
    tmp_path: Path, machine: Callable[..., Path]
) -> None:
    bucket = tmp_path / "bucket"
    output = machine()
    bucket.joinpath("root.pem").write_text("root")
    bucket.joinpath("cert.pem").write_text(issue("probe").pem)
    until(lambda: bucket.joinpath("request.csr").exists())
    time.sleep(0.5)
    assert "accepted" not in output.read_text()
    assert not (tmp_path / "own/cert.pem").exists()
    answer(bucket)
    until(lambda: "accepted 1" in output.read_text())
    assert (tmp_path / "own/cert.pem").read_text() == bucket.joinpath("cert.pem").read_text()

    bucket.joinpath("cert.pem").write_text(issue("probe").pem)
    until(lambda: "accepted 9" in output.read_text())
    assert (tmp_path / "own/cert.pem").read_text() != bucket.joinpath("cert.pem").read_text()


def test_it_asks_once_and_goes_on_after_a_restart(tmp_path: Path, machine: Callable[..., Path]) -> None:
    bucket = tmp_path / "bucket"
    output = machine()
    until(lambda: bucket.joinpath("request.csr").exists())
    answer(bucket)
    until(lambda: "accepted" in output.read_text())
    bucket.joinpath("request.csr").unlink()
    output = machine()
    until(lambda: "accepted" in output.read_text())
    assert "asked" not in output.read_text()


def test_a_package_manager_that_is_busy_is_asked_again(
    tmp_path: Path, script: str, machine: Callable[..., Path]
) -> None:
    assert "DPkg::Lock::Timeout" in script
    machine({"aws": AWS, "apt-get": BUSY})
    until(lambda: (tmp_path / "bucket/request.csr").exists())
    asked = (tmp_path / "bucket/apt").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["update", "update", "update", "-o"]
