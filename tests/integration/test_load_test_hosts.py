# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/load_test.yml over SSH: hosts put the load on, a master on the first one, and hold no key afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iotops.loadtest import report
from tests.hosts import Host, inventory, obstacle
from tests.integration.deployment import Deployment, eventually
from tests.integration.managed_host import PROGRAM, ROOT, changed, everything
from tests.integration.operators import HOME
from tests.integration.revocable import Revocable
from tests.mosquitto import free_port
from tests.wheels import wheel

REQUIREMENTS = ROOT / "roles/load_test_host/files/requirements.txt"
PACKAGES = next((ROOT / ".venv-locust/lib").glob("python3.*/site-packages"), None)
WORKERS = 2
DIRECTORY, USER = "/var/lib/iotops-loadtest", "iotops-loadtest"
PUBLISHERS, SUBSCRIBERS, SECONDS = 8, 4, 3

pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-"),
    pytest.mark.skipif(PACKAGES is None, reason="locust is not installed: make .venv-locust/ok"),
]


class Machines:
    """Hosts, and a fleet that they put load on."""

    def __init__(self, deployment: Deployment, directory: Path, count: int) -> None:
        self.fleet = Revocable(deployment, directory)
        self.hosts = {name: Host(directory / name) for name in (f"edge-load-{number + 1}" for number in range(count))}
        self.report = directory / "report"
        wheels = directory / "wheels"
        for line in REQUIREMENTS.read_text().splitlines():
            wheel(line.split("==")[0], wheels, packages=PACKAGES)
        for host in self.hosts.values():
            _bring(wheels, host)
        program = wheel("iotops", directory / "program")
        self._inventory = inventory(
            self.fleet.inventory,
            directory / "all.json",
            {name: {**host.variables, "load_test_host_workers": WORKERS // count} for name, host in self.hosts.items()},
            group="load_test_hosts",
            ansible_ssh_pipelining=True,
            iotops_program_package=str(program),
            iotops_program_pip_arguments=["--no-index", "--find-links=/srv/wheels"],
            load_test_host_bind="127.0.0.1",
            load_test_host_port=free_port(),
            load_test_host_web=free_port(),
        )
        self._given = {
            "fleet_tags": {"Application": deployment.application},
            "fleet_key_profile": "ec",
            "fleet_state_machine_type": "EXPRESS",
            "fleet_home_region": HOME,
            "fleet_hosted_zone_id": deployment.sandbox.hosted_zone_id,
            "load_test_report_dir": str(self.report),
            "load_test_quota_share": 1,
            "load_test_names": f"over-ssh-{count}-[01:{PUBLISHERS + SUBSCRIBERS:02}]",
            "load_test_publishers": PUBLISHERS,
            "load_test_subscribers": SUBSCRIBERS,
            "load_test_duration": SECONDS,
        }

    def playbook(self, *arguments: str, **wanted: Any) -> tuple[int, str]:
        """Exit code, and what it said with all that there is to say."""
        given = {**self._given, **{f"load_test_{name}": value for name, value in wanted.items()}}
        done = subprocess.run(
            [PROGRAM, "playbooks/load_test.yml", "-i", self._inventory, "-vvv", "-e", json.dumps(given), *arguments],
            cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_FAILED_STDERR": "0"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout


def trouble(said: str) -> str:
    """From where it went wrong."""
    return said[max(said.find("[ERROR]"), 0) :][:4000]


def _bring(folder: Path, host: Host) -> None:
    host.run("mkdir", "-p", "/srv/wheels")
    packed = subprocess.run(["tar", "-c", "-C", folder, "."], capture_output=True, check=True).stdout
    subprocess.run(host.command("tar", "-x", "-C", "/srv/wheels"), input=packed, check=True)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.long)], ids=["one", "two"])
def machines(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Machines]:
    made = Machines(deployment, tmp_path_factory.mktemp("hosts"), request.param)
    yield made
    for host in made.hosts.values():
        host.close()


def nothing_is_left_of_the_devices(machines: Machines, said: str) -> None:
    keys = [path.read_text().splitlines()[1] for path in (machines.fleet.pki / "loadtest").glob("*.key.pem")]
    assert keys
    for host in machines.hosts.values():
        assert host.run("ls", DIRECTORY, check=False) == ""
        assert host.run("pgrep", "-u", USER, check=False) == ""
        kept = everything(host.upper)
        assert [key for key in keys if key.encode() in kept or key in said] == []


@pytest.mark.long
def test_check_mode_puts_nothing_on_the_hosts(machines: Machines) -> None:
    """The first test of this file: then they have nothing yet."""
    code, said = machines.playbook("--check")
    assert code == 0, trouble(said)
    for host in machines.hosts.values():
        assert host.run("ls", "-d", "/opt/iotops-loadtest", DIRECTORY, check=False) == ""
        assert USER not in host.run("cat", "/etc/passwd")


def test_hosts_put_the_load_on_and_there_is_one_report(machines: Machines) -> None:
    code, said = machines.playbook()
    assert code == 0, trouble(said)
    plan, result = report.read(machines.report)
    assert (len(plan.names), sorted(each["share"] for each in result.processes)) == (12, [0, 1])
    assert sorted(result.sent_by.values()) == [SECONDS] * PUBLISHERS
    assert (result.received, result.counts["forwarded"], result.lost) == (*[PUBLISHERS * SUBSCRIBERS * SECONDS] * 2, 0)
    assert "100.00% sustained" in said
    assert {path.name for path in machines.report.iterdir()} >= {"report.html", "report.json", "report.csv"}
    nothing_is_left_of_the_devices(machines, said)


@pytest.mark.long
def test_stopped_on_its_host_it_reports_what_there_is_and_no_key_stays(machines: Machines) -> None:
    first, *others = machines.hosts.values()
    last = [first, *others][-1]
    with ThreadPoolExecutor() as other:
        running = other.submit(machines.playbook, duration=120)
        eventually(lambda: last.run("pgrep", "-u", USER, "-f", "loadtest.generator", check=False), seconds=120)
        time.sleep(5)
        first.run("pkill", "-TERM", "-u", USER, "-f", "--", "--master-bind-host")
        code, said = running.result()
    assert (code, "ended with 130" in " ".join(said.split())) == (2, True), trouble(said)
    sent = report.read(machines.report)[1].counts["sent"]
    assert 0 < sent < PUBLISHERS * 120
    nothing_is_left_of_the_devices(machines, said)


@pytest.mark.long
def test_hosts_that_are_not_in_the_run_carry_nothing(machines: Machines) -> None:
    code, said = machines.playbook("--limit", "regions", duration=1)
    assert code == 0, trouble(said)
    assert not any(name in said for name in machines.hosts)
    assert len(report.read(machines.report)[1].processes) > 0


@pytest.mark.long
def test_removed_nothing_is_left_on_the_hosts(machines: Machines) -> None:
    """The last test of this file: the others want the program."""
    code, said = machines.playbook(state="absent")
    assert code == 0, trouble(said)
    for host in machines.hosts.values():
        assert host.run("ls", "-d", "/opt/iotops-loadtest", DIRECTORY, check=False) == ""
        assert USER not in host.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow")
    assert changed(machines.playbook("--limit", ",".join(machines.hosts), state="absent")[1]) == 0
