# SPDX-License-Identifier: GPL-3.0-or-later
"""A check that is stopped at any moment, and run again, finds what one that was left alone finds."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.drifting import PLANTERS, Drift
from tests.integration.operators import HOME, at
from tests.integration.programs import answer, start


def written(store: Path) -> int:
    """When the store was written last; 0 when it never was."""
    return max((each.stat().st_mtime_ns for each in store.parent.glob(f"{store.name}*")), default=0)


def found(path: Path) -> list[Fault]:
    return list(Store(str(path)).faults())


@pytest.mark.parametrize(
    ("devices", "depth", "stops"),
    [
        (60, "full", 2),
        pytest.param(400, "full", 20, marks=pytest.mark.long),
        pytest.param(20_000, "registry", 20, marks=pytest.mark.long),
    ],
)
def test_stopped_at_random_and_run_again(tmp_path: Path, devices: int, depth: str, stops: int) -> None:
    sandbox = Sandbox(tmp_path / "sandbox").start()
    try:
        drift = Drift(Deployment(sandbox, tmp_path, (HOME,)), devices)
        drift.plant(PLANTERS, HOME)
        region = at(drift.fleet)
        # Pages of a tenth of a second, so that there is something to interrupt.
        sandbox.fault(service="iot", operation="List*", effect="delay", delay=0.1)
        asked = {"application": drift.fleet.application, "depth": depth, "sample": 0}
        settings = {**asked, "share": 1.0, "settling": 0}
        began = time.monotonic()
        region.run("fleet_replication_info", **settings, store=str(tmp_path / "whole"))
        whole, seconds = found(tmp_path / "whole"), time.monotonic() - began
        chance, store = random.Random(devices), tmp_path / "stopped"
        ended = 0
        for stop in range(stops):
            before = written(store)
            process = start(region, "fleet_replication_info", **settings, store=str(store))
            eventually(lambda before=before: written(store) > before)
            try:
                process.wait(chance.uniform(0, 1.5 * seconds / stops))
                ended += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL if stop % 2 else signal.SIGINT)
                process.wait()
        assert ended < stops, "none was stopped"
        last = answer(start(region, "fleet_replication_info", **settings, store=str(store)))["replication"]
        print(f"stopped {stops - ended} times of {stops}, resumed at last: {last['resumed']}")
        assert found(store) == whole
        assert len(found(store)) == sum(last["faults"].values())
    finally:
        sandbox.stop()
