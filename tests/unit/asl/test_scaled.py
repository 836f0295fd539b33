# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest

from tests.integration.scaled import scaled
from tests.unit.asl.definitions import definition, texts

LEASE = re.compile(r"\$floor\(\$millis\(\) / 1000\) \+ (\d+)\)")


def leases(machine: dict) -> list[int]:
    return [int(seconds) for text in texts(machine) for seconds in LEASE.findall(text)]


@pytest.mark.parametrize(("machine", "lease"), [("register-device", 60), ("converge-device", 300)])
def test_leases_shrink_and_times_to_live_stay(machine: str, lease: int) -> None:
    before, after = leases(definition(machine)), leases(scaled(0.1)(definition(machine)))
    assert lease in before
    assert after == [seconds // 10 if seconds == lease else seconds for seconds in before]


@pytest.mark.parametrize("machine", ["register-device", "converge-device"])
def test_a_lease_still_outlives_an_execution_of_converge_device(machine: str) -> None:
    small = scaled(0.1)(definition(machine))
    assert small["TimeoutSeconds"] == 27
    assert small["States"]["TakeLease"]["TimeoutSeconds"] == 2
    assert small["States"]["TakeLease"]["Retry"][0]["IntervalSeconds"] == pytest.approx(0.2)
    assert small["States"]["TakeLease"]["Retry"][0]["MaxDelaySeconds"] == 3


def test_the_end_of_patience_shrinks_too() -> None:
    assert "$elapsed > 12000 %}" in " ".join(texts(scaled(0.1)(definition("converge-device"))))


def test_waits_and_timeouts_may_have_factors_of_their_own() -> None:
    small = scaled(0.1, timeouts=0.5)(definition("converge-device"))
    assert small["TimeoutSeconds"] == 135
    assert leases(small) == [150]
    assert small["States"]["TakeLease"]["Retry"][0]["MaxDelaySeconds"] == 3


def test_nothing_but_numbers_of_time_changes() -> None:
    original = definition("converge-device")
    assert scaled(1.0)(original) == original
