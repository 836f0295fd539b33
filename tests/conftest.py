# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest

from iotops.sandbox.client import Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox of this test process (one per xdist worker), on a free port, gone at the end."""
    running = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    yield running
    running.stop()
