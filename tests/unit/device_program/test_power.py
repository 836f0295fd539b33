# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that loses its power at any moment of a rotation ends where it would have ended."""

from __future__ import annotations

import itertools
import random
import shutil
from typing import Any

import pytest

from tests.certificates import Issued, issue
from tests.unit.device_program.cloud import AUTHORITY, OLD, THING, Cloud, PowerCut, Requested, World, world, write_pair

__all__ = ["world"]


def rotated(world: World) -> None:
    assert world.held == world.cloud.current != OLD.fingerprint
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert sorted(path.name for path in world.directory.iterdir()) == [
        "dev-1.accepted", "dev-1.cert.pem", "dev-1.key.pem", "previous", "root.cert.pem",
    ]  # fmt: skip
    assert (world.directory / "previous/dev-1.key.pem").read_text() == OLD.key_pem()
    assert (world.directory / "previous/dev-1.cert.pem").read_text() == OLD.pem


def not_rotated(world: World) -> None:
    assert world.held == world.cloud.current == OLD.fingerprint
    assert world.cloud.status()[0] == "FAILED"
    assert sorted(path.name for path in world.directory.iterdir()) == [
        "dev-1.accepted", "dev-1.cert.pem", "dev-1.key.pem", "root.cert.pem",
    ]  # fmt: skip


def never_known(csr: str, _job: str) -> Issued:
    """A certificate that no region has heard of."""
    return issue(THING, signer=AUTHORITY, key=Requested(csr))


def restart(world: World, **changes: Any) -> None:
    """A new cloud, the old certificate, one job."""
    for path in world.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_pair(world.directory, OLD)
    world.cloud = Cloud()
    for name, change in changes.items():
        setattr(world.cloud, name, change)
    world.cloud.give()


def run_until_the_power_goes(world: World, after: int) -> bool:
    """Whether it went; when it did, the device has a pair that the cloud lets in."""
    world.cloud.power.left = after
    try:
        world.run()
    except PowerCut:
        world.cloud.power.left = None
        world.cloud.line = None
        device = world.device()
        assert device.credentials.certificate_id() in world.cloud.active, f"locked out after {after} things"
        return True
    world.cloud.power.left = None
    return False


@pytest.mark.parametrize(("changes", "ends"), [({}, rotated), ({"sign": never_known}, not_rotated)])
def test_power_is_lost_once(world, changes, ends):
    for after in itertools.count():
        restart(world, **changes)
        if not run_until_the_power_goes(world, after):
            break
        world.run()
        ends(world)
    assert after > 25


@pytest.mark.parametrize("seed", range(10))
def test_power_is_lost_again_and_again(world, seed):
    chance = random.Random(seed)
    restart(world)
    while run_until_the_power_goes(world, chance.randrange(1, 20)):
        pass
    world.run()
    rotated(world)
