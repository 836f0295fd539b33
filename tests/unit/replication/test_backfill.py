# SPDX-License-Identifier: GPL-3.0-or-later
"""What a region takes to apply its rows is reckoned from the rows themselves, by the planner's arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import backfill_calls
from ansible_collections.iotops.fleet.plugins.module_utils._replication.backfill import needed
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "rows.sqlite"))


def take(
    store: Store,
    thing: str,
    *statuses: str,
    live: bool = True,
    expired: int = 0,
    policies: int = 1,
    groups: int = 0,
    fault: str = "not_applied",
) -> None:
    """A row whose certificates are to have these statuses."""
    store.take("row", [(thing, "w", 1, 0, "ACTIVE" if live else "REVOKED", int(live), "t", "")])
    store.take("row_certificate", [(f"{thing}-{n}", thing, s, s, expired, 0) for n, s in enumerate(statuses)])
    store.take("row_policy", [(thing, f"policy-{n}") for n in range(policies)])
    store.take("row_group", [(thing, f"group-{n}") for n in range(groups)])
    if fault:
        store.take("fault", [(thing, fault, "", "")])


def test_one_kind_of_devices_takes_what_the_planner_says(store: Store) -> None:
    for number in range(20):
        take(store, f"live-{number}", "ACTIVE")
    for number in range(3):
        take(store, f"ended-{number}", "REVOKED", live=False)
    assert needed(store) == ({"live": 20, "ended": 3}, backfill_calls(20, 3))


def test_devices_take_what_their_own_rows_say(store: Store) -> None:
    take(store, "rotating", "ACTIVE", "INACTIVE", "REVOKED", policies=2, groups=1)
    devices, calls = needed(store)
    assert devices == {"live": 1, "ended": 0}
    assert calls == {
        "CreateThing": 1,
        "RegisterCertificate": 3,
        "AttachThingPrincipal": 2,
        "AttachPolicy": 4,
        "UpdateCertificate": 1,
        "AddThingToThingGroup": 1,
    }


def test_what_has_expired_is_registered_nowhere_anew(store: Store) -> None:
    take(store, "old", "ACTIVE", expired=1)
    assert needed(store)[1] == {"CreateThing": 1}


@pytest.mark.parametrize(("fault", "counted"), [("not_applied", 1), ("failed", 1), ("row_missing", 0), ("", 0)])
def test_only_what_is_not_applied_counts(store: Store, fault: str, counted: int) -> None:
    take(store, "dev-1", "ACTIVE", fault=fault)
    devices, calls = needed(store)
    assert devices["live"] == counted
    assert bool(calls) == bool(counted)
