# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand things are administered over two regions, one region, and one thing at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued

pytestmark = pytest.mark.long

# Making a device join takes longer than deciding on it: most are written into the stores.
SEEDED, MADE, WATCHED = 970, 30, 10
SOWN = f"seed-[1:{SEEDED}]"
ALL = f"{SOWN},made-[01:{MADE}]"
TOTAL = SEEDED + MADE


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("deployment"), BOTH)
    deployment.sandbox.seed(devices=SEEDED, regions=list(BOTH), application=deployment.application)
    yield Revocable(deployment, tmp_path_factory.mktemp("administration"))
    sandbox.stop()


def each(function: Callable[[Any], Any], items: Any) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))


def devices(
    fleet: Revocable, action: str, names: str, *more: str, check: bool = False, limit: str = "all", code: int = 0
) -> str:
    """The line in which the command says what it does; playbooks/devices.yml must end with ``code``."""
    wanted = [f"fleet_action={action}", f"fleet_devices='{names}'", "device_administration_timeout=900", *more]
    ended, output = fleet.playbook(
        *wanted, "device_administration_quota_share=1", name="devices", check=check, limit=limit
    )
    assert ended == code, output[-6000:]
    found = re.search(rf"\b{action}: \d+ devices, .*|\d+ devices in \d regions", output)
    assert found, output[-6000:]
    return found[0]


def as_foreseen(fleet: Revocable, action: str, names: str, *, limit: str = "all") -> str:
    """Run a command in check mode, then really; both say the same, and only the second one writes."""
    before = each(lambda name: fleet.deployment.row(HOME, name), ["seed-1", f"seed-{SEEDED}", "made-01"])
    foreseen = devices(fleet, action, names, check=True, limit=limit)
    assert each(lambda name: fleet.deployment.row(HOME, name), ["seed-1", f"seed-{SEEDED}", "made-01"]) == before
    done = devices(fleet, action, names, limit=limit)
    assert done == foreseen
    return done


def listing(
    fleet: Revocable, report: Path, *, names: str = "", limit: str = "all", action: str = "list", check: bool = False
) -> dict[str, dict[str, Any]]:
    """What ``list`` or ``show`` writes as JSON: region -> device -> what there is of it."""
    report.unlink(missing_ok=True)
    devices(fleet, action, names, f"device_administration_report_path={report}", check=check, limit=limit)
    found = json.loads(report.read_text())
    return {region: {device["thing_name"]: device for device in found[region]["devices"]} for region in found}


def states(found: dict[str, dict[str, Any]], names: list[str]) -> set[tuple[str, str]]:
    """State of the row and status of a certificate, of all these devices in all regions."""
    return {
        (devices[name]["state"], certificate["status"])
        for devices in found.values()
        for name in names
        for certificate in devices[name]["certificates"]
    }


@pytest.fixture(scope="module")
def made(fleet: Revocable) -> list[Issued]:
    """Devices with keys, made as check mode said."""
    assert as_foreseen(fleet, "create", f"made-[01:{MADE}]").startswith(f"create: {MADE} devices, {MADE} new, ")
    return fleet.issue(*(f"made-{number:02}" for number in range(1, MADE + 1)))


def test_a_thousand_things_are_made_listed_disabled_enabled_and_deleted(
    fleet: Revocable, made: list[Issued], tmp_path: Path
) -> None:
    deployment, report = fleet.deployment, tmp_path / "report.json"
    names = [f"seed-{number}" for number in range(1, SEEDED + 1)] + [
        f"made-{number:02}" for number in range(1, MADE + 1)
    ]
    again = devices(fleet, "create", f"made-[01:{MADE}]")
    assert again.startswith(f"create: {MADE} devices, 0 new, {MADE} in the registry already, 0 left alone")

    three = [deployment.issue("three") for _each in range(3)]
    for certificate in three:
        deployment.admit(certificate, HOME)
    for region in BOTH:
        eventually(lambda region=region: len(deployment.row(region, "three").get("Certificates", {})) == 3)
        eventually(lambda region=region: deployment.settled(region, "three"))
    at(deployment, AWAY).run("iot_thing", thing_name="by-hand", principals=[three[0].id])

    found = listing(fleet, report)
    assert listing(fleet, report, check=True) == found
    assert {region: len(devices) for region, devices in found.items()} == {HOME: TOTAL + 1, AWAY: TOTAL + 2}
    assert states(found, [*names, "three"]) == {("ACTIVE", "ACTIVE")}
    for region in BOTH:
        assert len(found[region]["three"]["certificates"]) == 3
    [shared] = found[AWAY]["by-hand"]["certificates"]
    assert (shared["certificate_id"], shared["other_things"]) == (three[0].id, ["three"])
    assert listing(fleet, report, names="three", limit=AWAY) == {AWAY: {"three": found[AWAY]["three"]}}
    for check in (True, False):
        shown = listing(fleet, report, names="three,made-01", action="show", check=check)
        assert shown == {region: {name: found[region][name] for name in ("three", "made-01")} for region in BOTH}

    sessions = [deployment.connected(device, BOTH[number % 2]) for number, device in enumerate(made[:WATCHED])]
    staying = deployment.connected(three[1], HOME)
    disabled = as_foreseen(fleet, "disable", ALL)
    assert disabled == f"disable: {TOTAL} devices, {TOTAL} change to SUSPENDED, 0 were that already, 0 left alone."
    assert all(session.lost.wait(10) for session in sessions), "a connection was left open"
    assert not staying.lost.is_set()
    assert states(listing(fleet, report, names=ALL), names) == {("SUSPENDED", "INACTIVE")}
    assert not any(each(lambda device: deployment.knock(device, AWAY), made[:WATCHED]))

    one = as_foreseen(fleet, "enable", "made-01")
    assert one == "enable: 1 devices, 1 change to ACTIVE, 0 were that already, 0 left alone."
    one_region = as_foreseen(fleet, "enable", ALL, limit=AWAY)
    assert one_region == f"enable: {TOTAL} devices, {TOTAL - 1} change to ACTIVE, 1 were that already, 0 left alone."
    assert states(listing(fleet, report, names=ALL, limit=AWAY), names) == {("ACTIVE", "ACTIVE")}
    each(lambda name: eventually(lambda: deployment.settled(HOME, name), seconds=600), names)
    for device in made[:WATCHED]:
        deployment.connected(device, HOME).close()

    deleted = as_foreseen(fleet, "delete", ALL)
    assert deleted == f"delete: {TOTAL} devices, {TOTAL} change to DELETED, 0 were that already, 0 left alone."
    found = listing(fleet, report)
    assert states(found, names) == {("DELETED", "REVOKED")}
    for region, devices_there in found.items():
        assert not any(devices_there[name]["thing"] for name in names)
        loose = json.loads(report.read_text())[region]["loose_certificates"]
        assert loose == []
        targets = at(deployment, region).client("iot").list_targets_for_policy(policyName="test-fleet-device")
        assert len(targets["targets"]) == len(three)
        assert deployment.dead_letters(region) == []
    staying.close()
