# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured while it happens: latencies, messages by sequence number, the work of this process.

Each is cheap where it is called for each message, and is folded into its summary once an interval.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3  # microseconds: up to an hour, three significant digits
KINDS = (
    "connect",
    "accepted",
    "publish",
    "publish_raw",
    "end_to_end",
    "end_to_end_raw",
    "round_trip",
    "round_trip_raw",
    "recovered",
    "late",
)


def new_histogram() -> HdrHistogram:
    """An empty histogram of microseconds."""
    return HdrHistogram(LOWEST, HIGHEST, DIGITS)


class Latencies:
    """Latencies of several kinds in microseconds, of this interval and altogether."""

    def __init__(self) -> None:
        self._fresh: dict[str, list[int]] = {}
        self.total: dict[str, HdrHistogram] = {}

    def recorder(self, kind: str) -> Callable[[int], None]:
        """What records one of a kind: called for each message, so it only appends."""
        fresh = self._fresh.setdefault(kind, [])
        return fresh.append

    def fold(self) -> dict[str, HdrHistogram]:
        """Those since the last call, by kind; they are in ``total`` from now on."""
        interval = {}
        for kind, fresh in self._fresh.items():
            if fresh:
                interval[kind] = histogram = new_histogram()
                for value, count in Counter(fresh).items():
                    histogram.record_value(min(max(value, LOWEST), HIGHEST), count)
                fresh.clear()  # the list stays: recorders append to it
                self.total.setdefault(kind, new_histogram()).add(histogram)
        return interval


class Sequence:
    """The messages of one sender as one receiver gets them, by their sequence numbers, which start at 0."""

    __slots__ = ("duplicates", "missing", "next", "reordered")

    def __init__(self) -> None:
        self.next = self.duplicates = self.reordered = 0
        self.missing: set[int] = set()

    def got(self, number: int) -> bool:
        """Count a message; whether it is the first time that it is got."""
        if number == self.next:
            self.next += 1
            return True
        if number > self.next:
            self.missing.update(range(self.next, number))
            self.next = number + 1
            return True
        if number in self.missing:
            self.missing.remove(number)
            self.reordered += 1
            return True
        self.duplicates += 1
        return False

    @property
    def received(self) -> int:
        """Different messages that were got."""
        return self.next - len(self.missing)


class Receiver(dict[bytes, Sequence]):
    """What one receiver got, by sender."""

    def __missing__(self, sender: bytes) -> Sequence:
        sequence = self[sender] = Sequence()
        return sequence


def received_from(receivers: list[Receiver]) -> Mapping[str, int]:
    """Different messages by sender, over several receivers."""
    total: Counter[str] = Counter()
    for receiver in receivers:
        for sender, sequence in receiver.items():
            total[sender.decode()] += sequence.received
    return total


def disorder(receivers: list[Receiver]) -> tuple[int, int]:
    """Duplicates and reordered messages over several receivers."""
    sequences = [each for receiver in receivers for each in receiver.values()]
    return sum(each.duplicates for each in sequences), sum(each.reordered for each in sequences)


@dataclass
class Work:
    """How busy this process is: ``cpu`` as a part of one core since the last call, ``lag`` of its event loop."""

    lag: float = 0.0
    _cpu: float = field(default_factory=lambda: _cpu_seconds())
    _time: float = field(default_factory=time.monotonic)

    def saw_lag(self, seconds: float) -> None:
        """The event loop called something so much later than it was asked to."""
        self.lag = max(self.lag, seconds)

    def since_last(self) -> tuple[float, float]:
        """CPU as a part of one core, and the longest lag in seconds, since the last call."""
        cpu, now = _cpu_seconds(), time.monotonic()
        busy = (cpu - self._cpu) / max(now - self._time, 1e-6)
        lag, self.lag, self._cpu, self._time = self.lag, 0.0, cpu, now
        return busy, lag


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def memory_peak() -> int:
    """Most memory that this process ever had, in octets."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def percentiles(histogram: HdrHistogram) -> Iterator[tuple[str, int]]:
    """Those that a report shows, in microseconds."""
    for name, percent in (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)):
        yield name, int(histogram.get_value_at_percentile(percent))
    yield "max", int(histogram.get_max_value())
