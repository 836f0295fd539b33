# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check has read outlives the process, each page once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication.comparisons import compare
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

SCOPE = {"application": "fleet", "region": "eu-west-1", "depth": "registry"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "below" / "store.sqlite"))


def test_a_check_that_was_not_finished_goes_on_and_a_finished_one_begins_anew(store: Store) -> None:
    assert not store.begin(SCOPE)
    store.page("certificates", "next", {"certificate": [("a", "ACTIVE", 0)]})
    again = Store(store.path)
    assert again.begin(SCOPE)
    assert again.token("certificates") == ("next", False)
    again.page("certificates", "", {"certificate": [("b", "ACTIVE", 0)]})
    assert again.token("certificates") == ("", True)
    again.remember({"finished_at": "2026-01-31T12:00:00Z"})
    assert not store.begin(SCOPE)
    assert store.number("SELECT count(*) FROM certificate") == 0


def test_another_depth_is_another_check(store: Store) -> None:
    store.begin(SCOPE)
    assert not store.begin({**SCOPE, "depth": "full"})


def test_a_page_that_cannot_be_written_leaves_neither_rows_nor_token(store: Store) -> None:
    def rows() -> Iterator[tuple[Any, ...]]:
        yield ("a", "ACTIVE", 0)
        raise KeyboardInterrupt

    store.begin(SCOPE)
    with pytest.raises(KeyboardInterrupt):
        store.page("certificates", "next", {"certificate": rows()})
    assert store.token("certificates") == ("", False)
    assert store.number("SELECT count(*) FROM certificate") == 0
    store.page("certificates", "next", {"certificate": [("a", "ACTIVE", 0)]})
    assert store.token("certificates") == ("next", False)


def test_faults_of_the_region_come_before_those_of_devices_by_name(store: Store) -> None:
    store.begin(SCOPE)
    found = [("dev-2", "type", "", ""), ("", "ca_missing", "", "G1"), ("dev-1", "groups", "", "in red")]
    store.take("fault", found)
    assert [fault.name for fault in store.faults()] == ["ca_missing", "groups", "type"]
    assert list(store.faults(["groups"])) == [Fault("groups", "dev-1", "", "in red")]


def test_a_file_that_is_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not a database" * 100)
    with pytest.raises(FleetError, match=r"^store=.*other cannot be used: file is not a database; give a path"):
        Store(str(other))
    assert other.read_text().startswith("not a database")


def test_an_active_certificate_that_was_just_registered_may_be_in_no_row_yet(store: Store) -> None:
    """AWS IoT provisioned a device, which ingestion has yet to take in; whoever repaired it would turn it away."""
    store.begin(SCOPE)
    store.remember({"policy": "fleet-device"})
    store.take("certificate", [("old", "ACTIVE", 100), ("new", "ACTIVE", 101)])
    store.take("target", [("old", "fleet-device"), ("new", "fleet-device")])
    compare(store, depth="registry", began=200, lately=100)
    assert [(fault.name, fault.certificate_id) for fault in store.faults()] == [("orphan_certificate", "old")]
