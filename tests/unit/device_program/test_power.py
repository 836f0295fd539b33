# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that loses its power at any moment of a rotation ends rotated."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.unit.device_program.cloud import OLD, Cloud, PowerCut, World, world, write_pair

__all__ = ["world"]


def rotated(world: World) -> None:
    assert world.held == world.cloud.current != OLD.fingerprint
    assert world.cloud.status() == ("SUCCEEDED", "")
    assert sorted(path.name for path in world.directory.iterdir()) == [
        "dev-1.cert.pem", "dev-1.key.pem", "previous", "root.cert.pem",
    ]  # fmt: skip


def restart(world: World) -> None:
    """A new cloud, the old certificate, one job."""
    for path in world.directory.rglob("*"):
        if path.is_file():
            path.unlink()
    write_pair(world.directory, OLD)
    world.cloud = Cloud()
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


def test_power_is_lost_once(world):
    for after in itertools.count():
        restart(world)
        if not run_until_the_power_goes(world, after):
            break
        world.run()
        rotated(world)
    assert after > 30


@pytest.mark.parametrize("seed", range(10))
def test_power_is_lost_again_and_again(world, seed):
    chance = random.Random(seed)
    restart(world)
    while run_until_the_power_goes(world, chance.randrange(1, 20)):
        pass
    world.run()
    rotated(world)
