# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A writer of many rows, held back to what the regions can follow. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower, Written
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# How far the writer may be ahead of the slowest region, in seconds of its own rate.
AHEAD_SECONDS = 60
LOOK_SECONDS = 2.0
REPORT_SECONDS = 10.0


class Writer(Protocol):
    """Who writes."""

    @property
    def report(self) -> Callable[[str], None]:
        """It is told how far the writer is."""

    @property
    def clock(self) -> Callable[[], float]:
        """As ``time.monotonic``."""

    @property
    def sleep(self) -> Callable[[float], None]:
        """As ``time.sleep``."""


class WritersPace:
    """Holds the writer back: to the budget, and to what the slowest region has applied."""

    def __init__(
        self, writer: Writer, budget: Budget, followers: Sequence[Follower], timeout: float, *, total: int
    ) -> None:
        self._clock, self._sleep, self._report = writer.clock, writer.sleep, writer.report
        self._budget, self._followers, self._timeout, self._total = budget, followers, timeout, total
        self.written = 0
        self._began = self._reported_at = self._changed_at = self._clock()
        self._looked_at = float("-inf")
        self._failed_before: dict[str, int] = {}

    def admit(self, count: int) -> None:
        """Return when so many more rows may be written."""
        for _each in range(count):
            while True:
                self._watch()
                seconds = LOOK_SECONDS if self._is_ahead() else self._budget.wait()
                if not seconds:
                    break
                self._sleep(min(seconds, LOOK_SECONDS))

    def expect(self, rows: Mapping[str, Written]) -> None:
        """Every region is to apply these."""
        for each in self._followers:
            each.expect(rows)

    def wrote(self, rows: Mapping[str, Written]) -> None:
        """Count these, and expect them."""
        self.written += len(rows)
        self.expect(rows)
        if self._clock() - self._reported_at >= REPORT_SECONDS or self.written == self._total:
            self._tell()

    def _watch(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        applied, throttled = _look(self._followers)
        for each in self._followers:
            self._failed_before.setdefault(each.region, len(each.failed))
        if throttled:
            self._budget.throttled()
        else:
            self._budget.recover()
        if applied or not self._is_ahead():
            self._changed_at = now
        if now - self._changed_at >= self._timeout:
            raise FleetError(
                f"{self.written} of {self._total} rows are written, and for {self._timeout:g} s no region has applied "
                f"another one ({_behind(self._followers)} left); see playbooks/fleet_status.yml, then run this again"
            )
        if now - self._reported_at >= REPORT_SECONDS:
            self._tell()

    def _is_ahead(self) -> bool:
        """Whether a region has too much left; what it could not apply counts, unless that was so before this run."""
        left = max(len(each.pending) - self._failed_before[each.region] for each in self._followers)
        return left >= max(1, AHEAD_SECONDS * self._budget.rate)

    def _tell(self) -> None:
        self._reported_at = self._clock()
        rate = self.written / max(self._reported_at - self._began, 1e-3)
        left = f"{(self._total - self.written) / rate:.0f} s left" if rate else "waiting"
        self._report(
            f"{self.written} of {self._total} rows written, {rate:.1f} a second, {left}; "
            f"not applied yet: {_behind(self._followers)}"
        )


def await_applied(writer: Writer, followers: Sequence[Follower], timeout: float) -> None:
    """Wait until every region has applied all that it was expected to, or nothing more for ``timeout`` seconds."""
    changed_at = reported_at = writer.clock()
    while True:
        applied, _throttled = _look(followers)
        now = writer.clock()
        changed_at = now if applied else changed_at
        done = not any(each.pending for each in followers)
        if done or now - reported_at >= REPORT_SECONDS:
            writer.report(f"all rows are written; not applied yet: {_behind(followers)}")
            reported_at = now
        if done or now - changed_at >= timeout:
            return
        writer.sleep(LOOK_SECONDS)


def _look(followers: Sequence[Follower]) -> tuple[int, bool]:
    with ThreadPoolExecutor(len(followers)) as pool:
        seen = list(pool.map(lambda each: each.look(), followers))
    return sum(applied for applied, _throttled in seen), any(throttled for _applied, throttled in seen)


def _behind(followers: Sequence[Follower]) -> str:
    return ", ".join(
        f"{each.region} {each.behind}" + (f" (and {len(each.failed)} failed)" if each.failed else "")
        for each in followers
    )


__all__ = ["AHEAD_SECONDS", "Writer", "WritersPace", "await_applied"]
