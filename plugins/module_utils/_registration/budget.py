# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast devices may be registered: a token bucket for each operation and region. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS, Quotas

SLOWEST = 1 / 16  # of the rate that was allowed at first
RECOVERY = 1.02  # with each look at which nothing was throttled
ROUNDING = 1e-6  # seconds


@dataclass
class Bucket:
    """Calls of one operation in one region: ``rate`` a second, of which a second's worth may come at once."""

    region: str
    operation: str
    quota: float
    rate: float
    calls: int
    tokens: float = 0.0
    filled_at: float = 0.0

    @property
    def devices(self) -> float:
        """Devices a second."""
        return self.rate / self.calls

    def wait(self, now: float, factor: float) -> float:
        """Seconds until there is enough for a device."""
        rate = self.rate * factor
        self.tokens = min(max(rate, self.calls), self.tokens + (now - self.filled_at) * rate)
        self.filled_at = now
        return max(0.0, (self.calls - self.tokens) / rate)

    def take(self) -> None:
        """Take what a device needs, after :meth:`wait` was 0."""
        self.tokens -= self.calls


class Budget:
    """The buckets of all regions; a device needs what it takes from each of them.

    ``share``: the part of a quota that may be used, more than 0 and at most 1; the rest is for devices that are live.
    ``calls``: what a device costs each region, by operation.
    """

    def __init__(
        self,
        quotas: Iterable[Quotas],
        share: float,
        *,
        clock: Callable[[], float],
        calls: Mapping[str, int] = CALLS,
    ) -> None:
        self._clock, self._factor = clock, 1.0
        self._buckets = [
            Bucket(each.region, operation, each.per_second[operation], each.per_second[operation] * share, count)
            for each in quotas
            for operation, count in calls.items()
        ]
        now = clock()
        for bucket in self._buckets:
            bucket.filled_at = now

    @property
    def tightest(self) -> Bucket:
        """The bucket that decides; of several the first."""
        return min(self._buckets, key=lambda bucket: bucket.devices)

    @property
    def rate(self) -> float:
        """Devices a second that are allowed now."""
        return self.tightest.devices * self._factor

    def wait(self) -> float:
        """Seconds until the next device may be registered; 0 takes what it needs."""
        now = self._clock()
        seconds = max(bucket.wait(now, self._factor) for bucket in self._buckets)
        if seconds > ROUNDING:
            return seconds
        for bucket in self._buckets:
            bucket.take()
        return 0.0

    def throttled(self) -> None:
        """Go half as fast from now on: AWS has refused calls."""
        self._factor = max(SLOWEST, self._factor / 2)

    def recover(self) -> None:
        """Go a little faster, up to the rate that was allowed at first."""
        self._factor = min(1.0, self._factor * RECOVERY)


__all__ = ["Budget"]
