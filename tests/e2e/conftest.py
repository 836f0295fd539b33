"""Fleets for the end-to-end tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.e2e.fleet import REGIONS, Fleet, Overheard
from tests.e2e.listing import resources


@pytest.fixture
def empty_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fresh sandbox with nothing in it."""
    sandbox = Sandbox(tmp_path / "sandbox").start()
    yield Fleet(sandbox)
    sandbox.stop()


@pytest.fixture(scope="session")
def as_built() -> dict[str, Any]:
    """How an uninterrupted ``site.yml`` ended: ``calls`` it made, ``resources`` it left."""
    return {}


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, as_built: dict[str, Any]) -> Iterator[Fleet]:
    """A fleet of two regions as ``site.yml`` builds it; shared, so leave it as it was."""
    sandbox = Sandbox(tmp_path_factory.mktemp("fleet") / "sandbox").start()
    built = Fleet(sandbox)
    built.run("site.yml").ok()
    as_built["calls"] = len(sandbox.journal())
    as_built["resources"] = resources(sandbox, REGIONS)
    yield built
    sandbox.stop()


@pytest.fixture(scope="session")
def overheard(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet, as_built: dict[str, Any]) -> Iterator[Overheard]:
    """Another one, built in two runs and many words; test_teardown, the last that needs it, takes it down."""
    del fleet  # only its ``as_built`` is needed
    sandbox = Sandbox(tmp_path_factory.mktemp("overheard") / "sandbox").start()
    other, before = Fleet(sandbox), resources(sandbox, REGIONS)
    call = random.SystemRandom().randrange(1, as_built["calls"])
    loud = ("site.yml", "-vvv", "--diff", "-e", "fleet_devices=dev-1,dev-2")
    output = other.run_until(call, *loud) + other.run(*loud).ok().output
    built = resources(sandbox, REGIONS)
    output += other.run("playbooks/verify.yml", "-vvv").ok().output
    yield Overheard(other, output, before, built, f"after call {call} of {as_built['calls']}")
    sandbox.stop()
