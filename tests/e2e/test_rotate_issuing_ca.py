"""The issuing CA of a live fleet is replaced by the commands of the runbook."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from benchmarks.joining.devices import Device
from tests.e2e.fleet import Fleet, Run

REGIONS = ("eu-west-1", "us-west-2")
PLAYBOOK = "playbooks/rotate_issuing_ca.yml"
G1 = "multi-region-iot Issuing CA G1"
CONFIRMED = ("-e", json.dumps({"fleet_ca_confirm": G1}))
DEVICES, OFFLINE = 200, 20
SWITCHED = ("-e", json.dumps({"fleet_ca_generation": 2, "fleet_ca_generations": [1, 2]}))
RETIRED = ("-e", json.dumps({"fleet_ca_generation": 2, "fleet_ca_generations": [2]}))


@pytest.mark.long  # in short: molecule's issuing_ca_rotation
def test_check_mode_shows_what_the_first_step_would_do_and_changes_nothing(fleet: Fleet) -> None:
    shown = fleet.run(PLAYBOOK, "--tags", "introduce", "--check").ok()
    assert "issuing CA: no rotation" in shown.output
    assert {change for change in shown.changes if "Register the issuing CA" in change} == {
        f"iotops.fleet.iot_ca : Register the issuing CA [{region}] => (item=intermediateCA-G2)" for region in REGIONS
    }
    assert not (fleet.pki / "intermediateCA-G2").exists()
    for region in REGIONS:
        assert len(fleet.sandbox.client("iot", region).list_ca_certificates()["certificates"]) == 1


class Life:
    """Devices that connect again and again to both regions, from a copy of their files; who was refused is noted."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.refused: list[str] = []
        self.visits = 0
        self._fleet, self._directory = fleet, directory
        self._devices: dict[str, Device] = {}

    def join(self, names: Sequence[str], region: str) -> None:
        """Connect the devices, with the certificates that they have now, until the region lets them in."""
        asyncio.run(self._join(names, self._address(region)))

    async def _join(self, names: Sequence[str], address: str) -> None:
        limit = asyncio.Semaphore(20)

        async def join(name: str) -> None:
            async with limit:
                device = self._device(name)
                await device.join(address)
                await device.leave()
            self._devices[name] = device

        await asyncio.gather(*(join(name) for name in names))

    def visit(self, names: Sequence[str]) -> None:
        """Every one of the devices connects to every region once, at its first try."""
        asyncio.run(self._visit(names))

    async def _visit(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), 10):
            await asyncio.gather(
                *(self._look(name, region) for name in names[start : start + 10] for region in REGIONS)
            )

    async def _look(self, name: str, region: str) -> None:
        device = self._devices[name]
        if not await device.connect(self._address(region)):
            self.refused.append(f"{name} in {region}")
        self.visits += 1
        await device.leave()

    @contextmanager
    def going_on(self, names: Sequence[str]) -> Iterator[None]:
        """Meanwhile the devices connect in turn, ten at a time."""
        over = Event()

        def live() -> None:
            while not over.is_set():
                self.visit(random.sample(list(names), 10))

        thread = Thread(target=live)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _address(self, region: str) -> str:
        return str(self._fleet.sandbox.regions[region]["mqtt"])

    def _device(self, name: str) -> Device:
        files = self._fleet.pki / "clients" / name
        copies = [Path(shutil.copy(files / f"{name}.{kind}.pem", self._directory)) for kind in ("cert", "key")]
        trust = self._fleet.pki / "rootCA/certs/root.cert.pem"
        return Device(name, *copies, trust, "iot.example.com")


def run(fleet: Fleet, step: str, *arguments: str) -> Run:
    """Take a step of the rotation."""
    return fleet.run(PLAYBOOK, "--tags", step, *arguments)


def issue(fleet: Fleet, names: Sequence[str], *arguments: str) -> None:
    """Issue certificates from the generation that issues."""
    inputs = json.dumps({"fleet_devices": list(names), "device_certificates_renew": True})
    fleet.run("playbooks/issue_devices.yml", "-e", inputs, *arguments).ok()


@pytest.mark.long
def test_two_hundred_live_devices_of_which_twenty_are_offline(empty_fleet: Fleet, tmp_path: Path) -> None:
    fleet = empty_fleet
    fleet.run("site.yml").ok()
    names = [f"dev-{number:03}" for number in range(DEVICES)]
    online, offline = names[OFFLINE:], names[:OFFLINE]
    life = Life(fleet, tmp_path)
    issue(fleet, names)
    life.join(names, REGIONS[0])
    settle(fleet)
    life.visit(names)
    assert life.refused == []

    with life.going_on(online):
        run(fleet, "introduce").ok()
    assert run(fleet, "switch").code != 0
    assert fleet.run("site.yml").code != 0, "an inventory that does not know G2 would undo it"
    run(fleet, "switch", *SWITCHED).ok()
    issue(fleet, online, *SWITCHED)
    for number, region in enumerate(REGIONS):
        life.join(online[number::2], region)
    settle(fleet)
    life.visit(names)

    waiting = run(fleet, "report", "-e", "issuing_ca_rotation_listed=30", *SWITCHED).ok().output
    named = [line.split()[0] for line in waiting.splitlines() if "uses it until" in line]
    assert named == offline
    refused = run(fleet, "retire", *SWITCHED, *CONFIRMED)
    assert refused.code != 0
    assert "20 devices or certificates wait for G1" in refused.output
    (tmp_path / "left-behind").write_text("\n".join(offline))
    left = ("-e", f"fleet_ca_leave_behind_file={tmp_path / 'left-behind'}")
    with life.going_on(online):
        run(fleet, "retire", *SWITCHED, *CONFIRMED, *left).ok()
    assert run(fleet, "delete", *RETIRED, *CONFIRMED).code != 0
    with life.going_on(online):
        run(fleet, "delete", *RETIRED, *CONFIRMED, *left).ok()
        fleet.run("site.yml", *RETIRED).ok()
    assert fleet.run("site.yml", *RETIRED).ok().changed == dict.fromkeys(REGIONS, 0)
    life.visit(names)
    assert life.refused == []
    print(f"{life.visits} visits of {DEVICES} devices, none was refused")


def settle(fleet: Fleet) -> None:
    """Wait until both regions have applied all rows."""
    for _attempt in range(60):
        if fleet.run("playbooks/fleet_status.yml", "-e", "fleet_status_strict=true").code == 0:
            return
    raise AssertionError("the regions do not settle")
