# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run that goes on: of what takes hours nothing is to be lost but the last minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from iotops.loadtest import report
from iotops.loadtest.measures import new_histogram
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Interval, Result, merge

_EVERY = 60.0  # seconds between two reports


class SoFar:
    """Takes the intervals of all shares of a plan, and writes the report into ``directory`` each minute."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self._plan, self._directory = plan, directory
        self._shares: dict[int, Result] = {}
        self._saved = time.monotonic()

    def add(self, event: dict[str, Any]) -> None:
        """Take an ``interval`` of a generator."""
        share = event["share"]
        line = Interval.from_json(
            {name: event[name] for name in ("at", "counts", "connected", "cpu", "lag", "latencies")}
        )
        so_far = self._shares.setdefault(share, Result(notes=[f"of share {share} so far"]))
        so_far.intervals.append(line)
        so_far.counts.update(line.counts)
        for kind, histogram in line.latencies.items():
            so_far.latencies.setdefault(kind, new_histogram()).add(histogram)
        so_far.seconds = line.at
        if time.monotonic() - self._saved >= _EVERY:
            self._saved = time.monotonic()
            report.write(self._directory, self._plan, merge(self._shares.values()))


__all__ = ["SoFar"]
