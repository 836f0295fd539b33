# SPDX-License-Identifier: GPL-3.0-or-later
"""Five hundred faults in a large fleet: found, repaired, and gone; and the same within AWS's quotas."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import default_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import found_at
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from benchmarks.checking import peer
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.drifting import PLANTERS, Drift, Seen
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.programs import answer, start

pytestmark = pytest.mark.long
SLOW = 0.3  # of AWS's default quotas
CHECK: dict[str, Any] = {"share": 1.0, "sample": 0, "settling": 0, "segments": 4}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    running = Sandbox(tmp_path / "sandbox").start()
    yield running
    running.stop()


def spoilt(sandbox: Sandbox, directory: Path, *, devices: int, rounds: int) -> Drift:
    """A fleet with so many faults of each kind in either region."""
    drift = Drift(Deployment(sandbox, directory, BOTH, features=("repair",)), devices, seed=devices)
    for _round in range(rounds):
        for region in BOTH:
            drift.plant(PLANTERS, region)
    return drift


def everywhere(drift: Drift, directory: Path, module: str, **options: Any) -> dict[str, dict[str, Any]]:
    """The answers of a module in all regions at once."""
    processes = {
        region: start(
            at(drift.fleet, region),
            module,
            **{"application": drift.fleet.application, "store": str(directory / f"{region}.sqlite"), **options},
        )
        for region in BOTH
    }
    return {region: answer(process) for region, process in processes.items()}


def seen(directory: Path) -> set[Seen]:
    return {
        (region, fault.name, fault.thing_name or fault.certificate_id)
        for region in BOTH
        for fault in Store(str(directory / f"{region}.sqlite")).faults()
    }


def test_five_hundred_faults_are_found_repaired_and_gone(sandbox: Sandbox, tmp_path: Path) -> None:
    drift = spoilt(sandbox, tmp_path, devices=10_000, rounds=17)
    assert len(drift.planted) == 17 * 2 * len(PLANTERS) > 500

    everywhere(drift, tmp_path, "fleet_replication_info", **CHECK, depth="registry")
    promised = {each for each in drift.planted if each[1] in found_at("registry")}
    extra = {each for each in seen(tmp_path) - promised if each[1] == "orphan_certificate"}
    assert len(extra) == 17 * 2, "whose they are, only a full check sees"
    assert seen(tmp_path) - extra == promised

    everywhere(drift, tmp_path, "fleet_replication_info", **CHECK, depth="full")
    assert seen(tmp_path) == drift.planted

    for region in BOTH:
        iot = drift.iot(region)
        iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "REGISTRY"})
        eventually(lambda iot=iot: iot.describe_index(indexName="AWS_Things")["indexStatus"] == "ACTIVE")
    compared = peer.compare(sandbox.gateway, HOME, AWAY, workers=10, devices=100_000)
    spoilt_devices = {thing for _region, kind, thing in drift.planted if kind != "orphan_certificate"}
    print(f"D's method says {dict(compared.devices)}; {len(spoilt_devices)} devices differ from their rows")

    foreseen = everywhere(drift, tmp_path, "fleet_replication", check=True, remove_orphans=True)
    assert all(each["changed"] for each in foreseen.values())
    repaired = everywhere(drift, tmp_path, "fleet_replication", remove_orphans=True, concurrency=10)
    for region in BOTH:
        assert repaired[region]["repair"]["failed"] == 0, repaired[region]
        assert repaired[region]["repair"]["devices"] == foreseen[region]["repair"]["devices"]

    everywhere(drift, tmp_path, "fleet_replication_info", **CHECK, depth="full")
    assert seen(tmp_path) == set()
    again = everywhere(drift, tmp_path, "fleet_replication", remove_orphans=True)
    assert not any(each["changed"] for each in again.values())


def test_within_the_quotas_nothing_fails_and_little_time_is_lost(sandbox: Sandbox, tmp_path: Path) -> None:
    """Check and repair take as long as their calls take at AWS's default quotas, and no more than 15 % longer.

    A repair would be bound by the sandbox then, so it meets a part of them. It uses nine tenths of what it is allowed,
    and has some seconds to begin and to end, so it has to be of some length.
    """
    drift = spoilt(sandbox, tmp_path, devices=2_000, rounds=60)

    def took(module: str, part: float, **options: Any) -> tuple[dict[str, dict[str, Any]], float, float]:
        began, started = sandbox.now(), time.monotonic()
        answers = everywhere(drift, tmp_path, module, **options)
        seconds = time.monotonic() - started
        needed = max(_needed(sandbox, region, began, part) for region in BOTH)
        print(f"{module}: {seconds:.0f} s, the quotas alone {needed:.0f} s")
        return answers, seconds, needed

    sandbox.enforce_quotas()
    checked, seconds, needed = took("fleet_replication_info", 1.0, **CHECK, depth="full")
    assert seconds < 1.15 * needed
    assert seen(tmp_path) == drift.planted
    assert all(each["replication"]["throttled"] < 5 for each in checked.values())
    sandbox.lift_quotas()
    for operation, rate in default_quotas(HOME, OPERATIONS).items():
        sandbox.fault(service="iot", operation=operation, effect="throttle", rate=rate * SLOW)
    repaired, seconds, needed = took("fleet_replication", SLOW, share=0.9 * SLOW, remove_orphans=True)
    assert seconds < 1.15 * needed
    assert [each["repair"]["failed"] for each in repaired.values()] == [0, 0]
    sandbox.clear_faults()
    everywhere(drift, tmp_path, "fleet_replication_info", **CHECK, depth="full")
    assert seen(tmp_path) == set()


def _needed(sandbox: Sandbox, region: str, since: Any, part: float) -> float:
    """Seconds that the calls that were carried out take at a part of AWS's default rates."""
    calls = [call for call in sandbox.journal(since=since, region=region, service="iot") if call["status"] != 429]
    counts = Counter(call["operation"] for call in calls)
    quotas = default_quotas(region, OPERATIONS)
    return max((count / (quotas[name] * part) for name, count in counts.items() if name in quotas), default=0.0)
