# SPDX-License-Identifier: GPL-3.0-or-later
"""Five hundred faults in a large fleet: found, repaired, and gone; and the same within AWS's quotas."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import found_at
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from benchmarks.checking import peer
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment
from tests.integration.drifting import PLANTERS, Drift, Seen
from tests.integration.operators import AWAY, BOTH, HOME, at
from tests.integration.programs import answer, start

pytestmark = pytest.mark.long
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
    compared = peer.compare(sandbox.gateway, HOME, AWAY, workers=10, devices=100_000)
    spoilt_devices = {thing for _region, kind, thing in drift.planted if kind != "orphan_certificate"}
    print(f"D's method says that {compared.different} of {compared.devices} devices differ, {len(spoilt_devices)} do")

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
    """As long as the calls that were made take at AWS's default rates, and no more than 15 % longer."""
    drift = spoilt(sandbox, tmp_path, devices=1_000, rounds=10)
    sandbox.enforce_quotas()
    for module, options in (
        ("fleet_replication_info", {**CHECK, "depth": "full"}),
        ("fleet_replication", {"remove_orphans": True, "concurrency": 40}),
    ):
        began, started = sandbox.now(), time.monotonic()
        answers = everywhere(drift, tmp_path, module, **options)
        seconds = time.monotonic() - started
        needed = max(_needed(sandbox, region, began) for region in BOTH)
        print(f"{module}: {seconds:.0f} s, the quotas alone {needed:.0f} s")
        assert seconds < 1.15 * needed + 10, "ten seconds to start and to end"
        for each in answers.values():
            assert each.get("repair", {}).get("failed", 0) == 0
    sandbox.lift_quotas()
    everywhere(drift, tmp_path, "fleet_replication_info", **CHECK, depth="full")
    assert seen(tmp_path) == set()


def _needed(sandbox: Sandbox, region: str, since: Any) -> float:
    """Seconds that the calls that were carried out take at the default rates."""
    from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import default_quotas
    from ansible_collections.iotops.fleet.plugins.module_utils._quotas.operations import OPERATIONS

    calls = [call for call in sandbox.journal(since=since, region=region, service="iot") if call["status"] < 400]
    counts = Counter(call["operation"] for call in calls)
    quotas = default_quotas(region, [operation for operation in counts if operation in OPERATIONS])
    return max((counts[operation] / rate for operation, rate in quotas.items()), default=0.0)
