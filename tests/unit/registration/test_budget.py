# SPDX-License-Identifier: GPL-3.0-or-later
"""No region is asked for more than its share of a quota."""

from __future__ import annotations

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import SLOWEST, Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import Quotas, default_quotas


class Clock:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def budget(clock: Clock, share: float = 1.0, **away: float) -> Budget:
    """Of two regions with AWS's defaults, but for what is said of the second one."""
    return Budget(
        [
            Quotas("eu-west-1", default_quotas("eu-west-1"), "test"),
            Quotas("us-west-2", {**default_quotas("us-west-2"), **away}, "test"),
        ],
        share,
        clock=clock,
    )


def times(limited: Budget, clock: Clock, devices: int) -> list[float]:
    """When each of so many devices is admitted, by somebody who waits for nothing else."""
    began, admitted = clock.now, []
    while len(admitted) < devices:
        seconds = limited.wait()
        if seconds:
            clock.sleep(seconds)
        else:
            admitted.append(clock.now - began)
    return admitted


@pytest.mark.parametrize(
    ("share", "away", "rate", "bound_by"),
    [
        (1.0, {}, 10.0, ("eu-west-1", "RegisterCertificate")),
        (0.5, {}, 5.0, ("eu-west-1", "RegisterCertificate")),
        (0.5, {"AttachPolicy": 3.0}, 1.5, ("us-west-2", "AttachPolicy")),
        (0.1, {"RegisterCertificate": 100.0}, 1.0, ("eu-west-1", "RegisterCertificate")),
    ],
)
def test_the_tightest_quota_of_any_region_decides(
    share: float, away: dict[str, float], rate: float, bound_by: tuple[str, str]
) -> None:
    clock = Clock()
    limited = budget(clock, share, **away)
    assert limited.rate == pytest.approx(rate)
    assert (limited.tightest.region, limited.tightest.operation) == bound_by
    admitted = times(limited, clock, 200)
    assert admitted[-1] == pytest.approx(200 / rate)
    assert admitted[0] > 0


def test_after_a_pause_a_second_s_worth_may_come_at_once_and_no_more() -> None:
    clock = Clock()
    limited = budget(clock)
    clock.sleep(3600)
    admitted = times(limited, clock, 30)
    assert admitted[9] == 0
    assert admitted[10] == pytest.approx(0.1)
    assert admitted[29] == pytest.approx(2.0)


def test_who_was_throttled_goes_half_as_fast_and_recovers() -> None:
    clock = Clock()
    limited = budget(clock)
    limited.throttled()
    assert limited.rate == pytest.approx(5.0)
    assert times(limited, clock, 50)[-1] == pytest.approx(10.0)
    for _each in range(20):
        limited.throttled()
    assert limited.rate == pytest.approx(10 * SLOWEST)
    rates = []
    for _each in range(200):
        limited.recover()
        rates.append(limited.rate)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(10.0)


def test_a_share_of_a_slow_quota_is_slow_and_not_nothing() -> None:
    clock = Clock()
    limited = budget(clock, 0.01)
    assert times(limited, clock, 3) == pytest.approx([10.0, 20.0, 30.0])
