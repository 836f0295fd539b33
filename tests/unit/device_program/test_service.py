# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of the runbook start what there is, and leave alone what would only end again."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from iotops.cli import build_parser
from iotops.device.errors import Denied, DeviceError, NotNow, TurnedAway

RUNBOOK = (Path(__file__).parents[3] / "docs/runbooks/be_a_device.md").read_text()
UNITS = {
    Path(path).name: f"[Unit]{unit}"
    for path, unit in re.findall(r"```ini\n# (\S+\.service)[^\n]*\n\[Unit\](.*?)```", RUNBOOK, re.DOTALL)
}
NAMES = ["iotops-device@.service", "iotops-provision@.service"]


def service(name):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(UNITS[name])
    return dict(parser["Service"])


def test_the_units_are_there():
    assert sorted(UNITS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_starts_a_command_that_there_is_without_being_root(name):
    found = service(name)
    program, *words = shlex.split(found["ExecStart"].replace("%i", "dev-1"))
    assert program.endswith("/iotops")
    arguments = build_parser().parse_args(words)
    assert str(arguments.directory) == f"/var/lib/{found['StateDirectory']}".replace("%i", "dev-1")
    assert found["User"] not in ("", "root")


def test_a_device_that_can_only_end_again_is_not_started_again():
    codes = {int(code) for code in service("iotops-device@.service")["RestartPreventExitStatus"].split()}
    assert codes == {DeviceError.code, TurnedAway.code}
    assert NotNow.code not in codes


def test_a_device_that_is_not_on_the_list_yet_asks_again():
    found = service("iotops-provision@.service")
    assert (found["Type"], found["Restart"]) == ("oneshot", "on-failure")
    assert int(found["RestartSec"]) >= 60, "a fleet that waits for its list is no burden to the API"
    prevented = {int(code) for code in found["RestartPreventExitStatus"].split()}
    assert prevented == {DeviceError.code}
    assert Denied.code not in prevented


def test_a_device_is_started_once_there_is_a_certificate_however_long_that_took():
    assert "\nOnSuccess=iotops-device@%i.service\n" in UNITS["iotops-provision@.service"]
    assert "Requires=" not in UNITS["iotops-device@.service"], "it would fail with the first refusal, for good"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_units(tmp_path):
    for name, text in UNITS.items():
        (tmp_path / name).write_text(text.replace("/opt/iotops/bin/iotops", "/bin/true"))
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / name.replace("@", "@dev") for name in NAMES)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = [line for line in run.stderr.splitlines() if str(tmp_path) in line or "iotops" in line]
    assert told == [], run.stderr
