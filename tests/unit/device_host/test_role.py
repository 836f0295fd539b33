# SPDX-License-Identifier: GPL-3.0-or-later
"""The role device_host: its unit is that of the runbook, its requirements are those of the checkout."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from iotops.cli import build_parser

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles/device_host"
RUNBOOK = (ROOT / "docs/runbooks/be_a_device.md").read_text()
VARIABLES = {
    "device_host_user": "iotops-device",
    "device_host_thing": "edge-1",
    "__device_host_program_dir": "/opt/iotops",
    "__device_host_state_dir": "/var/lib/iotops-device",
    "__device_host_dir": "/var/lib/iotops-device/edge-1",
    "__device_host_options": "--endpoint iot.example.com --address 127.0.10.13:8883 --telemetry 60",
}


def rendered(template: str) -> str:
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - no HTML
    return environment.from_string((ROLE / "templates" / template).read_text()).render(VARIABLES)


def lines(unit: str) -> list[str]:
    return [line for line in unit.splitlines() if line and not line.startswith(("#", "ExecStart="))]


def test_the_unit_is_that_of_the_runbook_but_for_where_it_connects() -> None:
    found = re.search(r"```ini\n# \S+/iotops-device@\.service\n(.*?)```", RUNBOOK, re.DOTALL)
    assert found
    assert lines(rendered("iotops-device@.service.j2")) == lines(found[1])


@pytest.mark.parametrize(
    ("template", "pattern"),
    [("iotops-device@.service.j2", r"^ExecStart=\S+ (.*)$"), ("iotops-device.initd.j2", r'^command_args="(.*)"$')],
)
def test_the_service_starts_a_command_that_there_is(template: str, pattern: str) -> None:
    found = re.search(pattern, rendered(template).replace("%i", "edge-1"), re.MULTILINE)
    assert found
    arguments = build_parser().parse_args(shlex.split(found[1]))
    assert (arguments.thing_name, str(arguments.directory)) == ("edge-1", VARIABLES["__device_host_dir"])
    assert (arguments.endpoint, arguments.address, arguments.telemetry) == ("iot.example.com", ["127.0.10.13:8883"], 60)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = rendered("iotops-device@.service.j2").replace("/opt/iotops/bin/iotops", "/bin/true")
    (tmp_path / "iotops-device@.service").write_text(text)
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "iotops-device@edge-1.service"],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in run.stderr.splitlines() if "iotops" in line] == []


@pytest.mark.skipif(not shutil.which("dash"), reason="dash, the shell of Debian, is not installed")
def test_the_script_of_openrc_is_one(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(rendered("iotops-device.initd.j2"))
    subprocess.run(["dash", "-n", tmp_path / "script"], check=True)


def pins(path: Path) -> dict[str, str]:
    return dict(line.split("==") for line in path.read_text().splitlines() if "==" in line)


def test_a_host_gets_the_versions_that_the_checkout_pins() -> None:
    constraints = {**pins(ROOT / "requirements/constraints.txt")}
    wanted = pins(ROLE / "files/requirements.txt")
    project = (ROOT / "pyproject.toml").read_text()
    for name, version in wanted.items():
        assert constraints.get(name) == version or f'"{name}=={version}"' in project, name


def test_a_host_gets_all_that_a_device_imports() -> None:
    """But what is in environments of its own: the AWS IoT Device SDK and PKCS#11."""
    sources = [*(ROOT / "src/iotops/device").glob("*.py"), ROOT / "src/iotops/cli.py"]
    imported: set[str] = set()
    for path in sources:
        if path.stem in ("sdk", "token"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    foreign = imported - set(sys.stdlib_module_names) - {"iotops"}
    given = {"cryptography": "cryptography", "paho-mqtt": "paho"}
    assert foreign == {given[name] for name in pins(ROLE / "files/requirements.txt") if name in given}


def test_each_kind_of_host_says_the_same_things() -> None:
    kinds = [yaml.safe_load((ROLE / f"vars/{name}.yml").read_text()).keys() for name in ("debian", "redhat", "alpine")]
    assert kinds[0] == kinds[1] == kinds[2]


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg is not installed")
def test_on_debian_a_package_that_was_removed_and_not_purged_is_missing(tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "updates").mkdir()
    states = {"there": "install ok installed", "removed": "deinstall ok config-files"}
    entries = [
        f"Package: {name}\nStatus: {state}\nMaintainer: nobody\nArchitecture: all\nVersion: 1\nDescription: a package\n"
        for name, state in states.items()
    ]
    (tmp_path / "status").write_text("\n".join(entries))
    query = yaml.safe_load((ROLE / "vars/debian.yml").read_text())["__device_host_query"]
    look = next(task for task in yaml.safe_load((ROLE / "tasks/host.yml").read_text()) if "missing" in task["name"])
    script = Environment().from_string(look["vars"]["__device_host_look"]).render(__device_host_query=query)  # noqa: S701 - no HTML
    run = subprocess.run(
        ["sh", "-euc", script, "sh", "there", "removed", "unknown"],
        env={**os.environ, "DPKG_ADMINDIR": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["removed", "unknown"]


def test_whom_aws_signs_for_is_asked_of_the_allow_list_as_for_a_folder_of_requests() -> None:
    asked = yaml.safe_load((ROLE / "tasks/aws.yml").read_text())[0]["iotops.fleet.fleet_signed_requests"]
    default = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    folder = yaml.safe_load((ROOT / "roles/csr_registration/defaults/main.yml").read_text())
    assert asked["allow_list"] == "{{ device_host_allow_list }}"
    assert default["device_host_allow_list"] == folder["csr_registration_allow_list"]
