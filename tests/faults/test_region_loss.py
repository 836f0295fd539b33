# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet onboards while a region is cut off for a while; in the end nobody is lost and both regions agree."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import BotoCoreError

from tests import invariants
from tests.faults.fleet import AWAY, HOME, FaultyFleet
from tests.faults.matrix import FACTOR, PATIENCE
from tests.integration.deployment import eventually
from tests.integration.sandbox.mqtt import Issued

CONNECTING_AT_ONCE = 12  # of two processors
LONGEST_PAUSE = 60 * FACTOR  # seconds between two attempts of a device
SWEPT_EVERY = 50 * FACTOR  # seconds
LONGEST_ARRIVAL = 600  # seconds in which the last device has to be in


@dataclass
class Crowd:
    """Devices that knock with growing pauses, as real ones do, until each of them has been let in by both regions."""

    fleet: FaultyFleet
    count: int
    devices: dict[str, Issued] = field(init=False)
    admitted: set[tuple[str, str]] = field(default_factory=set)
    swept: int = 0

    def __post_init__(self) -> None:
        self.devices = {f"crowd-{number}": self.fleet.issue(f"crowd-{number}") for number in range(self.count)}

    async def arrive(self, *events: Callable[[Crowd], Awaitable[None]]) -> None:
        """All devices at once, half of them to one region first and half to the other; ``events`` happen meanwhile."""
        self._turnstile = asyncio.Semaphore(CONNECTING_AT_ONCE)
        routes = ((HOME, AWAY), (AWAY, HOME))
        visits = [self._visit(name, routes[number % 2]) for number, name in enumerate(self.devices)]
        sweeping = asyncio.create_task(self._sweep())
        await asyncio.wait_for(asyncio.gather(*visits, *(event(self) for event in events)), LONGEST_ARRIVAL)
        sweeping.cancel()

    async def until(self, share: float) -> None:
        """Wait until so many of all visits have been made."""
        while len(self.admitted) < share * 2 * self.count:
            await asyncio.sleep(0.05)

    async def _visit(self, name: str, route: tuple[str, str]) -> None:
        for region in route:
            pause = 1 * FACTOR
            while not await self._knock(name, region):
                await asyncio.sleep(random.uniform(pause / 2, pause))
                pause = min(2 * pause, LONGEST_PAUSE)
            self.admitted.add((name, region))

    async def _sweep(self) -> None:
        """Nobody does it, it comes by itself. A device that is ACTIVE and has no policy yet cannot wake anything."""
        while True:
            await asyncio.sleep(SWEPT_EVERY)
            for region in self.fleet.regions:
                with contextlib.suppress(BotoCoreError):  # the region is away
                    self.swept += await asyncio.to_thread(self.fleet.sweep, region)

    async def _knock(self, name: str, region: str) -> bool:
        async with self._turnstile:
            try:
                return await asyncio.to_thread(self.fleet.knock, self.devices[name], region)
            except OSError:  # nobody is there
                return False


async def loses_a_region(crowd: Crowd, *, seconds: float) -> None:
    """AWAY is unreachable, and works on nothing, from a quarter of the way on."""
    await crowd.until(0.25)
    await asyncio.to_thread(crowd.fleet.sandbox.cut, AWAY)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(crowd.fleet.sandbox.restore, AWAY)


async def loses_a_region_and_is_killed(crowd: Crowd, *, seconds: float) -> None:
    """The same, and everything is killed without warning while the region is away."""
    await crowd.until(0.25)
    await asyncio.to_thread(crowd.fleet.sandbox.cut, AWAY)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(_kill, crowd)


def _kill(crowd: Crowd) -> None:
    crowd.fleet.sandbox.kill()
    crowd.fleet.sandbox.start()  # which knows nothing of a cut any more
    crowd.admitted.clear()


def heal(crowd: Crowd) -> int:
    """Redrive, while the sweep goes on; how many dead letters there were."""
    fleet = crowd.fleet
    letters = {region: fleet.letters(region) for region in fleet.regions}
    for region, taken in letters.items():
        fleet.redrive(region, taken)
    until = time.monotonic() + 400 * PATIENCE  # longer than any lease
    while any(fleet.late(region) for region in fleet.regions) and time.monotonic() < until:
        time.sleep(SWEPT_EVERY)
        crowd.swept += sum(fleet.sweep(region) for region in fleet.regions)
    return sum(map(len, letters.values()))


def nobody_is_lost(crowd: Crowd) -> None:
    fleet = crowd.fleet
    eventually(lambda: not any(fleet.late(region) for region in fleet.regions), seconds=60)
    regions = [invariants.look(fleet.sandbox, fleet.application, region) for region in fleet.regions]
    assert invariants.violations(regions) == []
    for region in regions:
        assert set(region.rows) == set(crowd.devices)
        assert {region.certificates[device.id] for device in crowd.devices.values()} == {"ACTIVE"}
        refused = [name for name, device in crowd.devices.items() if not fleet.knock(device, region.name)]
        assert refused == []
        assert fleet.letters(region.name) == []


def onboard(fleet: FaultyFleet, count: int, event: Callable[[Crowd], Awaitable[None]]) -> None:
    crowd = Crowd(fleet, count)
    began = time.monotonic()
    asyncio.run(crowd.arrive(event))
    arrived = time.monotonic() - began
    # Who was in when everything was killed finds out by the loss of its connection, and comes again.
    asyncio.run(crowd.arrive())
    letters = heal(crowd)
    print(f"REGION LOSS {count} devices arrived in {arrived:.0f} s, {letters} dead letters, {crowd.swept} swept")
    nobody_is_lost(crowd)


@pytest.fixture
def fleet(express: FaultyFleet) -> Iterator[FaultyFleet]:
    express.sandbox.replication(delay=0.3, jitter=0.3)
    yield express


@pytest.mark.defect("S1-24", "D-16")
@pytest.mark.quick
def test_a_few_devices_onboard_while_a_region_is_away(fleet: FaultyFleet) -> None:
    onboard(fleet, 12, lambda crowd: loses_a_region(crowd, seconds=2))


@pytest.mark.long
def test_200_devices_onboard_while_a_region_is_away(fleet: FaultyFleet) -> None:
    onboard(fleet, 200, lambda crowd: loses_a_region(crowd, seconds=200 * FACTOR))


@pytest.mark.long
def test_200_devices_onboard_while_a_region_is_away_and_all_is_killed(fleet: FaultyFleet) -> None:
    onboard(fleet, 200, lambda crowd: loses_a_region_and_is_killed(crowd, seconds=100 * FACTOR))
