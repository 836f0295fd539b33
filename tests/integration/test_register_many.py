# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand devices are registered in two regions by a run that is killed and run again."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import BOTH, HOME
from tests.integration.revocable import Revocable
from tests.integration.sandbox.mqtt import Issued
from tests.processes import kill

pytestmark = pytest.mark.long

DEVICES, CONNECTING = 1000, 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("deployment"), BOTH)
    yield Revocable(deployment, tmp_path_factory.mktemp("registering"))
    sandbox.stop()


def each(function: Any, items: Any) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(function, items))


def killed_in_the_middle(fleet: Revocable, name: str, *arguments: str) -> None:
    """Start the playbook, and kill it with all that it started when the device has its row."""
    run = fleet.start(*arguments, name="register_devices")
    eventually(lambda: fleet.deployment.row(HOME, name) or run.poll() is not None, seconds=600)
    assert run.poll() is None, run.communicate()[0]
    kill(run)


def test_a_thousand_devices_are_in_before_they_connect(fleet: Revocable, tmp_path: Path) -> None:
    deployment = fleet.deployment
    names = [f"many-{number:04}" for number in range(DEVICES)]
    devices: dict[str, Issued] = dict(zip(names, fleet.issue(*names), strict=True))
    progress = tmp_path / "progress"
    arguments = [
        "registration_quota_share=1", "registration_timeout=900", f"registration_progress_path={progress}"
    ]  # fmt: skip
    began, start = deployment.sandbox.now(), time.monotonic()
    killed_in_the_middle(fleet, names[DEVICES // 3], *arguments)
    found = each(lambda name: deployment.row(HOME, name), names)
    rows = {name: row for name, row in zip(names, found, strict=True) if row}
    assert DEVICES // 3 < len(rows) < DEVICES // 2

    code, output = fleet.playbook(*arguments, name="register_devices")
    print(f"{DEVICES} devices in {time.monotonic() - start:.0f} s, killed after {len(rows)} rows")
    print(progress.read_text())
    assert code == 0, output[-6000:]
    assert f"{DEVICES - len(rows)} were new, {len(rows)} had their row, 0 were left alone" in output
    assert f"{DEVICES - len(rows)} rows were written, and every region has applied all of them" in output
    for region in BOTH:
        assert all(each(lambda name, region=region: deployment.settled(region, name), names))
        calls = deployment.sandbox.journal(since=began, region=region, service="iot")
        made = Counter(call["operation"] for call in calls if "ConvergeDevice" in call["caller"])
        assert {operation: made[operation] for operation in CALLS} == dict.fromkeys(CALLS, DEVICES), made
    assert {name: deployment.row(HOME, name) for name in rows} == rows, "a row was written again"
    assert re.search(r"\d+ of \d+ rows written, [\d.]+ a second, \d+ s left; not applied yet: ", progress.read_text())

    for number, name in enumerate(names[:: DEVICES // CONNECTING]):
        region = BOTH[number % 2]
        deployment.connected(devices[name], region).close()
        assert [each for each in BOTH if deployment.status(each, f"certificate/{devices[name].id}")] == []
    starts = deployment.sandbox.journal(since=began, service="stepfunctions", operation="StartExecution")
    assert not [start for start in starts if "register-device" in str(start["resources"])]
    for region in BOTH:
        assert deployment.dead_letters(region) == []
