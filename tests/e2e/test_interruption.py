"""``site.yml`` killed anywhere and run again ends where an uninterrupted run ends."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import Fleet
from tests.e2e.listing import resources

REGIONS = ["eu-west-1", "us-west-2"]


def calls(fleet: Fleet) -> int:
    return len(fleet.sandbox.journal(since=None))


def kill_after(fleet: Fleet, call: int) -> None:
    """Start ``site.yml`` and SIGKILL its whole process group once the journal has ``call`` lines."""
    process = fleet.start("site.yml")
    deadline = time.monotonic() + 300
    while calls(fleet) < call and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def interrupted_runs_end_alike(tmp_path: Path, as_built: dict[str, Any], kills: int) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(kills):
        killed = Fleet(Sandbox(tmp_path / f"killed-{number}").start())
        try:
            at = chance.randrange(1, as_built["calls"])
            kill_after(killed, at)
            print(f"killed after call {at} of {as_built['calls']}")
            rerun = killed.run("site.yml")
            assert rerun.code == 0, f"seed {seed}, killed after call {at}: {rerun.output[-4000:]}"
            left = resources(killed.sandbox, REGIONS)
            differing = {
                name
                for name in left.keys() | as_built["resources"].keys()
                if left.get(name) != as_built["resources"].get(name)
            }
            assert not differing, f"seed {seed}, killed after call {at}: {[(n, left.get(n)) for n in differing]}"
        finally:
            killed.sandbox.stop()


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    fleet: Fleet, as_built: dict[str, Any], tmp_path: Path
) -> None:
    interrupted_runs_end_alike(tmp_path, as_built, kills=1)


@pytest.mark.long
def test_ten_interrupted_runs_end_as_an_uninterrupted_one(
    fleet: Fleet, as_built: dict[str, Any], tmp_path: Path
) -> None:
    interrupted_runs_end_alike(tmp_path, as_built, kills=10)
