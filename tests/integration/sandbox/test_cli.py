# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from iotops.sandbox import process


@pytest.fixture
def iotops(tmp_path):
    """Run the command in a directory of its own; exit code, stdout and stderr."""
    directory = tmp_path / "sb"

    def run(*arguments):
        environment = {**os.environ, "IOTOPS_SANDBOX_DIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "iotops", "sandbox", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stdout, done.stderr

    run.directory = directory
    yield run
    process.stop(directory)


def test_up_status_down_and_the_commands_between(iotops):
    assert iotops("status")[0] == 3
    code, out, _err = iotops("up", "--port", "0")
    assert (code, out.splitlines()[0].startswith("sandbox: up, http://127.0.0.1:")) == (0, True)
    assert "runs already" in iotops("up", "--port", "0")[1]
    found = json.loads(iotops("status", "--json")[1])
    assert found == json.loads((iotops.directory / "endpoints.json").read_text())
    assert "eu-west-1" in iotops("status")[1]
    assert (
        json.loads(iotops("fault", "add", "--json", '{"effect": "throttle", "service": "iot"}')[1])["id"] == "fault-1"
    )
    assert json.loads(iotops("fault", "list")[1])["service"] == "iot"
    assert iotops("fault", "clear")[0] == 0
    assert iotops("fault", "list")[1] == ""
    assert iotops("quotas", "enforce")[1].startswith("quotas of AWS IoT: enforced (")
    assert '"operation": "ListThings"' in iotops("fault", "list")[1]
    assert iotops("quotas", "lift")[1] == "quotas of AWS IoT: not enforced\n"
    assert iotops("fault", "list")[1] == ""
    code, _out, err = iotops("seed", "--devices", "5", "--regions", "eu-west-1", "--revoked", "6")
    assert (code, err) == (2, "iotops: seed: 6 of 5 devices cannot be revoked\n")
    assert json.loads(iotops("viewers", "127.77.0.5=18.204.0.1")[1]) == {"127.77.0.5": "18.204.0.1"}
    assert iotops("viewers", "127.77.0.5")[2] == "iotops: viewers: '' does not appear to be an IPv4 or IPv6 address\n"
    assert iotops("region", "cut", "eu-west-1")[1] == "cut off: eu-west-1\n"
    assert iotops("region", "restore", "eu-west-1")[1] == "cut off: none\n"
    lines = [json.loads(line) for line in iotops("journal", "--json", "--service", "route53")[1].splitlines()]
    assert [line["operation"] for line in lines] == ["ListHostedZonesByName", "CreateHostedZone"]
    assert iotops("journal", "--json", "--since", lines[-1]["time"])[1].count("\n") == 1
    assert iotops("logs")[0] == 0
    assert iotops("down")[1] == "sandbox: stopped\n"
    assert iotops("status")[0] == 3
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(found["gateway"].rsplit(":", 1)[1]))) != 0
    assert iotops("down", "--wipe")[1] == "sandbox: does not run\n"
    assert list(iotops.directory.iterdir()) == []


def test_what_is_missing_or_wrong_is_one_line_with_the_remedy(iotops):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, out, err = iotops("up", "--port", port)
    assert (code, out) == (2, "")
    assert err.startswith(f"iotops: port {port} of 127.0.0.1 cannot be used") and err.count("\n") == 1
    assert "--port" in err
    code, _out, err = iotops("fault", "list")
    assert (code, err.count("\n"), "iotops sandbox up" in err) == (2, 1, True)
    assert not (iotops.directory / "endpoints.json").exists()


def test_a_server_that_cannot_start_says_why_and_leaves_nothing_running(iotops, monkeypatch):
    iotops.directory.mkdir()
    (iotops.directory / "state").write_text("not a directory")
    code, _out, err = iotops("up", "--port", "0")
    assert (code, err.count("\n")) == (2, 1)
    assert "did not start" in err
    assert iotops("status")[0] == 3
