"""``site.yml`` killed anywhere and run again ends where an uninterrupted run ends."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import REGIONS, Fleet, Overheard
from tests.e2e.listing import resources


def require_alike(as_built: dict[str, Any], left: dict[str, Any], killed: str) -> None:
    differing = [name for name in left.keys() | as_built.keys() if left.get(name) != as_built.get(name)]
    assert not differing, f"killed {killed}: {[(name, left.get(name)) for name in differing]}"


def test_an_interrupted_run_ends_as_an_uninterrupted_one(overheard: Overheard, as_built: dict[str, Any]) -> None:
    print(f"killed {overheard.killed}")
    require_alike(as_built["resources"], overheard.built, overheard.killed)


@pytest.mark.long
def test_ten_interrupted_runs_end_as_an_uninterrupted_one(
    fleet: Fleet, as_built: dict[str, Any], tmp_path: Path
) -> None:
    for number in range(10):
        other = Fleet(Sandbox(tmp_path / f"killed-{number}").start())
        try:
            call = random.SystemRandom().randrange(1, as_built["calls"])
            other.run_until(call, "site.yml")
            rerun = other.run("site.yml")
            assert rerun.code == 0, f"killed after call {call}: {rerun.output[-4000:]}"
            require_alike(as_built["resources"], resources(other.sandbox, REGIONS), f"after call {call}")
        finally:
            other.sandbox.stop()
