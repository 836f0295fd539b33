# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate a device uses, and how devices are counted by its end."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.ends import Tally, days_until, end_of
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def after(days: float) -> str:
    return timestamp(NOW + timedelta(days=days))


def certificate(days: float, **more: str) -> dict[str, str]:
    return {"Status": "ACTIVE", "NotAfter": after(days), **more}


def row(
    name: str = "dev", state: str = "ACTIVE", current: str = "new", **certificates: dict[str, str]
) -> dict[str, Any]:
    return {"ThingName": name, "State": state, "CertificateId": current, "Certificates": certificates}


@pytest.mark.parametrize(
    ("device", "used"),
    [
        (row(new=certificate(10)), "new"),
        (row(new=certificate(-10)), "new"),
        (row(state="SUSPENDED", new=certificate(10)), "new"),
        (row(state="REVOKED", new=certificate(10)), None),
        (row(state="DELETED", new=certificate(10)), None),
        (row(), None),
        (row(new=certificate(10), old=certificate(5)), "new"),
        (row(new=certificate(10), old=certificate(50)), "new"),
        (row(new=certificate(10, Status="REVOKED"), old=certificate(5), older=certificate(2)), "old"),
        (row(new=certificate(10, Status="INACTIVE")), None),
        (row(new=certificate(10, RetireAt=after(-1)), old=certificate(5)), "old"),
        (row(new=certificate(10, RevokeAt=after(0)), old=certificate(5)), "old"),
        (row(new=certificate(10, RetireAt=after(1))), "new"),
        (row(current="gone", old=certificate(5), new=certificate(90, PresentBy=after(1))), "old"),
        (row(current="gone", old=certificate(5), new=certificate(90, PresentBy=after(1), PresentedAt=after(0))), "new"),
        ({"ThingName": "dev", "State": "ACTIVE", "Certificates": {"old": certificate(5)}}, "old"),
    ],
)
def test_the_certificate_in_use_is_the_current_one_unless_it_is_out_of_use(
    device: dict[str, Any], used: str | None
) -> None:
    end = end_of(device, NOW)
    assert (end.certificate_id if end else None) == used


def test_devices_are_counted_by_their_ends_and_the_soonest_are_named() -> None:
    tally = Tally(now=NOW, days=[30, 0, 14], named=3)
    for days in (100, 5, -1, 20, 30, 14, 200, 31):
        tally.add(row(f"dev-{days}", new=certificate(days)))
    tally.add(row("gone", "DELETED", new=certificate(-5)))
    assert (tally.in_use, tally.within) == (8, {0: 1, 14: 3, 30: 5})
    assert [end.thing_name for end in tally.soonest()] == ["dev--1", "dev-5", "dev-14"]
    assert tally.soonest()[0].not_after == NOW - timedelta(days=1)


def test_threads_count_together_and_no_row_is_kept() -> None:
    tally = Tally(now=NOW, days=[0], named=5)
    rows = 20_000

    def add(part: int) -> None:
        for number in range(part, rows, 4):
            tally.add(row(f"dev-{number}", new=certificate(number % 1000)))

    tracemalloc.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert (tally.in_use, tally.within) == (rows, {0: 20})
    assert len(tally.soonest()) == 5
    assert held < 200_000


@pytest.mark.parametrize(("end", "days"), [(timedelta(days=3), 3.0), (timedelta(hours=36), 1.5), (-timedelta(1), -1.0)])
def test_days_left_are_told_with_their_parts(end: timedelta, days: float) -> None:
    assert days_until(NOW + end, NOW) == days
