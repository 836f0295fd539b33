# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.modules import INVENTORY_VARIABLE, Region, inventory_region

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

REGIONS = ("eu-west-1", "us-west-2")


def _region(request: pytest.FixtureRequest, position: int) -> Region:
    if inventory := os.environ.get(INVENTORY_VARIABLE):
        return inventory_region(inventory, position)
    gateway = request.getfixturevalue("sandbox").gateway
    return Region(
        {"region": REGIONS[position], "endpoint_url": gateway, "access_key": "test", "secret_key": "any-will-do"}
    )


@pytest.fixture(scope="session")
def region(request: pytest.FixtureRequest) -> Region:
    """The first region."""
    return _region(request, 0)


@pytest.fixture(scope="session")
def other_region(request: pytest.FixtureRequest) -> Region:
    """The second region."""
    return _region(request, 1)


@pytest.fixture(scope="session")
def sandbox_only(request: pytest.FixtureRequest) -> Any:
    """The sandbox behind the regions, for faults and journal; such a test is skipped on AWS."""
    if os.environ.get(INVENTORY_VARIABLE):
        pytest.skip(f"needs the sandbox, and {INVENTORY_VARIABLE} is set")
    return request.getfixturevalue("sandbox")


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A fleet of two regions in a sandbox of its own."""
    # Not above: pytest-ansible makes the collection importable only after this file was read.
    from tests.integration.deployment import Deployment

    sandbox = Sandbox(tmp_path_factory.mktemp("deployment-sandbox")).start()
    yield Deployment(sandbox, tmp_path_factory.mktemp("deployment"), REGIONS)
    sandbox.stop()
