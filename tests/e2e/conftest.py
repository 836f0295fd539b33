"""Fleets for the end-to-end tests."""

from __future__ import annotations

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
def overheard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overheard]:
    """Another one, built in many words; test_teardown, the last that needs it, takes it down."""
    sandbox = Sandbox(tmp_path_factory.mktemp("overheard") / "sandbox").start()
    fleet, before = Fleet(sandbox), resources(sandbox, REGIONS)
    output = fleet.run("site.yml", "-vvv", "--diff", "-e", "fleet_devices=dev-1,dev-2").ok().output
    output += fleet.run("playbooks/verify.yml", "-vvv").ok().output
    yield Overheard(fleet, output, before)
    sandbox.stop()
