# SPDX-License-Identifier: GPL-3.0-or-later
"""A million devices do not fill the memory: names are made when they are asked for, of lines only places are kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.iotops.fleet.plugins.module_utils._pki.index import Index
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, Ledger, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import expand
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import devices_by_name

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def peak(work: Callable[[], Any]) -> int:
    """Return the most octets that Python had at one time because of `work`."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_range_of_names_is_not_kept() -> None:
    assert peak(lambda: sum(len(device.name) for device in devices_by_name(["dev-[1:50000]"]))) < 50_000


@given(st.lists(st.sampled_from(["[1:11]", "[8:12:2]", "[01:03]", "[a:c]", "[y:B]", "x", "1", "-"]), max_size=3))
def test_names_that_are_said_to_be_distinct_are(parts: list[str]) -> None:
    names = expand("".join(parts))
    every = list(names)
    assert len(names) == len(every)
    assert len(names.longest) == max(map(len, every))
    assert not names.are_distinct or len(set(every)) == len(every)


def test_names_that_can_be_made_in_two_ways_are_there_once() -> None:
    devices = devices_by_name(["dev-[1:11][1:11]"])
    names = [device.name for device in devices]
    assert len(devices) == len(names) == len(set(names)) < 121


@given(st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 2**40 - 2))))
def test_an_index_knows_every_place_in_order(lines: list[tuple[bytes, int]]) -> None:
    index = Index(len(lines))
    for key, place in lines:
        index.add(key, place)
    for key, _place in lines:
        assert list(index.places(key)) == [place for other, place in lines if other == key]
    assert list(index.places(b"another")) == []


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 20,000 certificates of 10,000 devices."""
    path = tmp_path_factory.mktemp("ledger") / "index.txt"
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    path.write_text(
        "".join(
            Entry(
                status="R" if number < 10_000 else "V",
                expires=expires,
                serial=serial_text(number + (1 << 100)),
                subject=f"/O=Example/CN=dev-{number % 10_000}",
                revocation="260101000000Z" if number < 10_000 else "",
            ).line()
            + "\n"
            for number in range(20_000)
        )
    )
    return path


def test_a_ledger_keeps_only_where_its_lines_are(big: Path) -> None:
    assert peak(lambda: Ledger(big)) < 50 * 20_000


def test_a_large_ledger_finds_every_certificate(big: Path) -> None:
    ledger = Ledger(big)
    for number in (0, 1, 9_999, 10_000, 19_999):
        found = ledger.find(serial_text(number + (1 << 100)))
        assert found is not None
        assert found.common_name == f"dev-{number % 10_000}"
        assert [entry.serial for entry in ledger.live(found.common_name, NOW)] == [
            serial_text(number % 10_000 + 10_000 + (1 << 100))
        ]
    assert ledger.find("00") is None
    assert ledger.live("dev-10000", NOW) == []
