# SPDX-License-Identifier: GPL-3.0-or-later
"""While a run goes on, its report is written anew."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from iotops.loadtest import report, so_far
from iotops.loadtest.measures import new_histogram
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Interval
from iotops.loadtest.target import Target

PLAN = Plan(scenario="soak", targets=(Target("127.0.0.1", 1883, tls=False),), names=("a", "b"), publishers=2)


def test_it_has_all_intervals_of_all_shares_and_says_that_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(so_far, "_EVERY", 0.0)
    kept = so_far.SoFar(PLAN, tmp_path)
    for second in (1, 2, 3):
        for share in (0, 1):
            latency = new_histogram()
            latency.record_value(1000 * second)
            line = Interval(second, Counter(sent=10), 1, [0.1], 0.0, {"publish": latency})
            kept.add({"share": share, **line.to_json()})
        _plan, result = report.read(tmp_path)
        assert (result.counts["sent"], len(result.intervals), result.seconds) == (20 * second, second, second)
        assert result.latencies["publish"].get_total_count() == 2 * second
    assert sorted(result.notes) == ["of share 0 so far", "of share 1 so far"]
