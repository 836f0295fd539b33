# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from iotops.sandbox.client import Sandbox

if TYPE_CHECKING:
    from tests.faults.fleet import FaultyFleet


def _fleet(tmp_path_factory: pytest.TempPathFactory, machine_type: str) -> Iterator[FaultyFleet]:
    # Not above: pytest-ansible makes the collection importable only after this file was read.
    from tests.faults.fleet import AWAY, HOME, FaultyFleet
    from tests.faults.matrix import FACTOR, PATIENCE
    from tests.integration.scaled import scaled

    sandbox = Sandbox(tmp_path_factory.mktemp("faults-sandbox")).start()
    directory = tmp_path_factory.mktemp("faults")
    yield FaultyFleet(
        sandbox, directory, (HOME, AWAY), machine_type=machine_type, definitions=scaled(FACTOR, timeouts=PATIENCE)
    )
    sandbox.stop()


@pytest.fixture
def express(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyFleet]:
    """Two regions with EXPRESS machines, as deployed by default, whose waits are a tenth."""
    yield from _fleet(tmp_path_factory, "EXPRESS")


@pytest.fixture
def standard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyFleet]:
    """The same with STANDARD machines, whose executions can be listed and stopped."""
    yield from _fleet(tmp_path_factory, "STANDARD")
