# SPDX-License-Identifier: GPL-3.0-or-later
"""A Linux host that playbooks/device_hosts.yml manages over SSH, beside a deployment."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hosts import Host
from tests.integration.deployment import Deployment, eventually
from tests.integration.revocable import Revocable

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-playbook")
NAME = "edge-1"
USER = "iotops-device"
UNIT = "/etc/systemd/system/iotops-device@.service"
# In place of systemd, which does not run in a namespace: every unit is active, and what is asked is written down.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>/srv/asked
[ "$1" != show ] || printf 'LoadState=loaded\\nActiveState=active\\n'
"""
# What tools of the host keep for themselves, and Ansible.
KEPT = re.compile(
    r"/root/\.ansible.*|/var/log/.*|/etc/(passwd|group|shadow|gshadow)-|/etc/\.pwd\.lock|.*/__pycache__.*"
)


@dataclass
class Managed:
    """A host, and the fleet that it is to belong to; ``said`` is what the run said that made it a device."""

    fleet: Revocable
    host: Host
    inventory: Path
    directory: Path
    name: str = NAME
    said: str = ""

    def playbook(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run a playbook; exit code and output."""
        done = subprocess.run(
            [PROGRAM, f"playbooks/{name}.yml", "-i", self.inventory, *arguments],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_FAILED_STDERR": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def run(self, *arguments: str) -> str:
        """Run device_hosts.yml for the host, which has to end well; its output."""
        code, output = self.playbook("device_hosts", "--limit", self.name, *arguments)
        assert code == 0, output[-4000:]
        return output

    def refused(self, *arguments: str) -> str:
        """Run device_hosts.yml for the host, which has to be refused; its output in one line."""
        code, output = self.playbook("device_hosts", "--limit", self.name, *arguments)
        assert code == 2, output[-4000:]
        return " ".join(output.split())

    def service(self) -> subprocess.Popen[bytes]:
        """What systemd would start: the unit's command as the unit's user."""
        unit = self.host.run("cat", UNIT)
        command = re.search("^ExecStart=(.*)$", unit, re.MULTILINE)
        user = re.search("^User=(.*)$", unit, re.MULTILINE)
        assert command and user
        words = shlex.split(command[1].replace("%i", self.name))
        become = ["setpriv", "--reuid", user[1], "--regid", user[1], "--clear-groups"]
        return subprocess.Popen(self.host.command(*become, *words))

    def left(self) -> set[str]:
        """The paths that are not as before, but those of the host's own tools."""
        return {path for path in self.host.changed() if not KEPT.fullmatch(path)}

    def look(self, *arguments: str, limit: str = "") -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
        """Run check_endpoint.yml; exit code, and the lines by who looked and region."""
        report = self.directory / "report.json"
        chosen = ["--limit", limit] if limit else []
        code, output = self.playbook("check_endpoint", "-e", f"fleet_report={report}", *chosen, *arguments)
        assert report.exists(), output[-4000:]
        rows = json.loads(report.read_text())
        report.unlink()
        return code, {(row["seen_from"], row["region"]): row for row in rows}


def changed(output: str) -> int:
    """How many tasks changed the host, by the recap."""
    found = re.search(r"\bedge-\S+ +: ok=\d+ +changed=(\d+)", output)
    assert found, output[-2000:]
    return int(found[1])


def join(managed: Managed, deployment: Deployment) -> None:
    """Let the service run until its telemetry is in both regions; it is registered just in time when it is new."""

    def arrived() -> bool:
        found = [{each["topic"] for each in deployment.messages(region, managed.name)} for region in deployment.regions]
        return all(f"i/{managed.name}/telemetry" in topics for topics in found)

    if arrived():
        return
    device = managed.service()
    try:
        eventually(arrived, seconds=90)
    finally:
        managed.host.run("pkill", "--signal", "TERM", "--uid", USER)  # of the host's processes
        assert device.wait(20) == 0


def booted(host: Host) -> None:
    """Have the host look as if systemd ran."""
    host.put("/usr/local/bin/systemctl", SYSTEMCTL)
    host.run("chmod", "755", "/usr/local/bin/systemctl")
    host.run("mkdir", "-p", "/run/systemd/system")


def asked(host: Host, verb: str) -> list[str]:
    """Of which units systemd was asked that."""
    lines = host.run("cat", "/srv/asked").splitlines()
    return [line.split()[1] for line in lines if line.startswith(f"{verb} ")]


def everything(directory: Path) -> bytes:
    """What the files below a directory hold."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
