"""``site.yml`` killed anywhere and run again ends where an uninterrupted run ends."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

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


def interrupted_runs_end_alike(tmp_path: Path, seed: int, kills: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - shown by pytest when the test fails
    chance = random.Random(seed)
    with_rest = Fleet(Sandbox(tmp_path / "whole").start())
    try:
        with_rest.run("site.yml").ok()
        total, wanted = calls(with_rest), resources(with_rest.sandbox, REGIONS)
    finally:
        with_rest.sandbox.stop()
    for number in range(kills):
        killed = Fleet(Sandbox(tmp_path / f"killed-{number}").start())
        try:
            at = chance.randrange(1, total)
            kill_after(killed, at)
            rerun = killed.run("site.yml")
            assert rerun.code == 0, f"seed {seed}, killed after call {at}: {rerun.output[-4000:]}"
            assert resources(killed.sandbox, REGIONS) == wanted, f"seed {seed}, killed after call {at}"
        finally:
            killed.sandbox.stop()


def test_two_interrupted_runs_end_as_an_uninterrupted_one(tmp_path: Path) -> None:
    interrupted_runs_end_alike(tmp_path, seed=random.SystemRandom().randrange(10**6), kills=2)


@pytest.mark.long
def test_ten_interrupted_runs_end_as_an_uninterrupted_one(tmp_path: Path) -> None:
    interrupted_runs_end_alike(tmp_path, seed=random.SystemRandom().randrange(10**6), kills=10)
