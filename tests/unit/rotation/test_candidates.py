# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has to rotate, and in which waves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, Ledger
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.candidates import (
    Candidates,
    Ledgers,
    Wish,
    waves_of,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
G1, G2 = "11", "22"


def entry(days: float, **more: Any) -> dict[str, Any]:
    return {"Status": "ACTIVE", "NotAfter": timestamp(NOW + timedelta(days=days)), "IssuerFingerprint": G1, **more}


def row(name: str, days: float = 10, state: str = "ACTIVE", **certificates: Any) -> dict[str, Any]:
    return {
        "ThingName": name,
        "State": state,
        "CertificateId": "current",
        "Certificates": {"current": entry(days), **certificates},
    }


def found(wish: Wish, *rows: dict[str, Any], limit: int = 100, **more: Any) -> Candidates:
    candidates = Candidates(application="app", wish=wish, now=NOW, limit=limit, **more)
    for each in rows:
        candidates.take(each)
    return candidates


def names(candidates: Candidates) -> list[str]:
    return [each.thing_name for each in candidates.chosen()]


def test_those_whose_certificate_ends_within_the_days_the_soonest_first() -> None:
    rows = [row("c", 30), row("a", 31), row("b", 3), row("d", 2, "SUSPENDED"), row("e", -1), row("f", 1, "DELETED")]
    candidates = found(Wish(days=30), *rows)
    assert names(candidates) == ["b", "c"]
    assert candidates.left_out == {
        "d": "is SUSPENDED, without a certificate to connect with",
        "e": "its certificate has expired at 2026-01-30T12:00:00Z: it cannot connect",
    }


def test_the_issuer_of_the_certificate_that_is_used_counts_and_not_of_one_that_is_awaited() -> None:
    awaited = entry(300, IssuerFingerprint=G2, PresentBy=timestamp(NOW))
    renewed = {**row("b", current=entry(300, IssuerFingerprint=G2)), "Certificates": {
        "old": entry(10), "current": entry(300, IssuerFingerprint=G2)}}  # fmt: skip
    candidates = found(Wish(issuer=G1), row("a", 300, next=awaited), renewed)
    assert names(candidates) == ["a"]


def test_a_device_that_is_named_and_cannot_rotate_is_told() -> None:
    candidates = found(Wish(names={"a", "b", "c"}), row("a", 300), row("b", 3, "REVOKED"), row("other"))
    assert names(candidates) == ["a"]
    assert candidates.left_out == {"b": "is REVOKED, without a certificate to connect with"}
    assert candidates.seen == {"a", "b"}


def test_what_functions_signed_and_the_ledger_does_not_have_is_told(tmp_path: Path) -> None:
    known = Entry(status="V", expires=NOW, serial="0A", subject="/CN=a")
    ledger = Ledger(tmp_path / "index.txt")
    ledger.append([known])
    ledgers = Ledgers({G1: ledger})
    signed = {"Serial": "b", "Pem": "new", "JobId": "app-rotate-1"}
    more = {
        "recorded": entry(9, Serial="a", Pem="old", JobId="app-rotate-1"),
        "new": entry(9, **signed),
        "by hand": entry(9, Serial="c", Pem="by hand"),
        "of another CA": {**entry(9, **signed), "IssuerFingerprint": G2},
    }
    found(Wish(days=3), row("a", **more), ledgers=ledgers)
    assert ledgers.missing == {G1: ["new"]}


def test_of_many_devices_those_that_end_first_are_held_and_all_are_counted() -> None:
    candidates = found(Wish(days=3000), *(row(f"d{days}", days) for days in range(100, 0, -1)), limit=3)
    assert names(candidates) == ["d1", "d2", "d3"]
    assert candidates.due == 100
    assert len(candidates._soonest) <= 6


def test_who_has_a_job_is_left_alone_and_the_highest_number_is_found() -> None:
    more = {"x": entry(300, JobId="app-rotate-12"), "y": entry(300, JobId="app-other-99")}
    candidates = found(Wish(days=30), row("a", **more), row("b"), exclude={"a"})
    assert (names(candidates), candidates.excluded, candidates.last) == (["b"], 1, 12)


@pytest.mark.parametrize(
    ("canaries", "expected"),
    [
        (set(), [(True, "ab"), (False, "cde"), (False, "fg")]),
        ({"f", "b"}, [(True, "bf"), (False, "acd"), (False, "eg")]),
        ({"x"}, [(False, "abc"), (False, "def"), (False, "g")]),
    ],
)
def test_the_canary_wave_comes_first(canaries: set[str], expected: list[tuple[bool, str]]) -> None:
    chosen = found(Wish(days=300), *(row(name, days) for days, name in enumerate("abcdefg", start=1))).chosen()
    waves = waves_of(chosen, size=3, canary=2, canaries=canaries)
    assert [(canary, "".join(each.thing_name for each in devices)) for canary, devices in waves] == expected
