# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls keep to a quota, and slow down where AWS throttles all the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from botocore.hooks import HierarchicalEmitter
from botocore.model import ServiceId

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace


class Clock:
    """Goes on only when somebody sleeps."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seconds(pace: Pace, clock: Clock, calls: int) -> float:
    began = clock.now
    for _call in range(calls):
        pace.wait()
    return clock.now - began


def test_calls_come_no_faster_than_the_rate(clock: Clock) -> None:
    pace = Pace(10, clock=clock, sleep=clock.sleep)
    assert seconds(pace, clock, 101) == pytest.approx(10.0, abs=0.1)
    assert pace.calls == 101


def test_after_a_pause_a_seconds_worth_may_come_at_once(clock: Clock) -> None:
    pace = Pace(10, clock=clock, sleep=clock.sleep)
    clock.sleep(60)
    assert seconds(pace, clock, 10) == 0.0
    assert seconds(pace, clock, 10) == pytest.approx(1.0)


def test_throttling_halves_the_rate_for_a_while(clock: Clock) -> None:
    events, pace = HierarchicalEmitter(), Pace(10, clock=clock, sleep=clock.sleep)
    service = SimpleNamespace(service_id=ServiceId("IoT"))
    pace.watch(SimpleNamespace(meta=SimpleNamespace(events=events, service_model=service)), "ListThings")
    calm = seconds(pace, clock, 10)
    seen = [("ListThings", "ThrottlingException"), ("ListThings", "Other"), ("ListCertificates", "Throttling")]
    for operation, code in seen:
        events.emit(f"needs-retry.iot.{operation}", response=(None, {"Error": {"Code": code}}), attempts=1)
    events.emit("needs-retry.iot.ListThings", response=None, attempts=1)
    assert pace.throttles == 1
    assert seconds(pace, clock, 10) > 1.3 * calm
    seconds(pace, clock, 100)
    assert seconds(pace, clock, 10) == pytest.approx(1.0, abs=0.1), "and recovers"
