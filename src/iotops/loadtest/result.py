# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test found out: of one process, of a host or of many. Two results become one by :func:`merge`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from hdrh.histogram import HdrHistogram

from iotops.loadtest.measures import new_histogram

COUNTS = {
    "due": "messages that the schedule wanted",
    "sent": "messages given to the network",
    "acked": "messages whose PUBACK came (QoS 1)",
    "rejected": "messages whose PUBACK said no (MQTT 5)",
    "received": "messages that receivers got, all copies",
    "duplicates": "copies of a message that the receiver had already",
    "reordered": "messages that came after a later one of the same sender",
    "forwarded": "messages that subscribers sent on",
    "foreign": "messages that are not of a load test",
    "attempts": "connections tried",
    "connects": "sessions opened",
    "refused": "connections that the broker turned away",
    "unreachable": "connections that nobody answered",
    "sessions_lost": "sessions that ended by themselves",
}
BUSY = 0.9  # of a core
LATE = 0.010  # seconds


@dataclass
class Interval:
    """One line of a report. ``at``: seconds since the start at its end. ``cpu``: of each process, ``lag`` the worst."""

    at: float
    counts: Counter[str] = field(default_factory=Counter)
    connected: int = 0
    cpu: list[float] = field(default_factory=list)
    lag: float = 0.0
    latencies: dict[str, HdrHistogram] = field(default_factory=dict)

    def plus(self, other: Interval) -> Interval:
        """The same interval over two processes."""
        return Interval(
            self.at,
            self.counts + other.counts,
            self.connected + other.connected,
            self.cpu + other.cpu,
            max(self.lag, other.lag),
            _sum(self.latencies, other.latencies),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads."""
        return {
            "at": round(self.at, 3),
            "counts": dict(self.counts),
            "connected": self.connected,
            "cpu": [round(each, 3) for each in self.cpu],
            "lag": round(self.lag, 6),
            "latencies": encoded(self.latencies),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Interval:
        """The interval of :meth:`to_json`."""
        return cls(**{**content, "counts": Counter(content["counts"]), "latencies": decoded(content["latencies"])})


@dataclass
class Result:
    """A result. ``seconds``: how long was published. ``receivers``: who listened to each sender.

    ``sent_by``: messages by sender; ``received_from``: different ones that receivers got, by sender. ``processes``: of
    each its host, share, ``memory`` (octets, the most) and whether it ended as it should. ``notes``: what went wrong.
    """

    seconds: float = 0.0
    started: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    receivers: int = 0
    sent_by: Counter[str] = field(default_factory=Counter)
    received_from: Counter[str] = field(default_factory=Counter)
    latencies: dict[str, HdrHistogram] = field(default_factory=dict)
    intervals: list[Interval] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def expected(self) -> int:
        """Messages that receivers should have got, each once."""
        return self.receivers * self.sent_by.total()

    @property
    def received(self) -> int:
        """Different messages that receivers got, of senders that are counted: one whose process died is not."""
        return sum(self.received_from[name] for name in self.sent_by)

    @property
    def lost(self) -> int:
        """Messages that a receiver should have got and had not got when the drain was over."""
        return self.expected - self.received

    @property
    def unsent(self) -> int:
        """Messages that were due and could not be sent before the end."""
        return self.counts["due"] - self.counts["sent"]

    @property
    def lost_by(self) -> dict[str, int]:
        """Senders whose messages were lost, and how many, the worst first."""
        lost = {name: self.receivers * sent - self.received_from[name] for name, sent in self.sent_by.items()}
        return dict(sorted(((n, c) for n, c in lost.items() if c > 0), key=lambda each: (-each[1], each[0])))

    @property
    def limits(self) -> list[str]:
        """Why the generator and not the broker may be what was measured; empty when it was not."""
        found = []
        busy = [cpu for interval in self.intervals for cpu in interval.cpu if cpu > BUSY]
        if busy:
            found.append(f"a process of the generator used up to {max(busy):.0%} of a core: use more cores or hosts")
        late = self.latencies.get("late")
        if late is not None and late.get_value_at_percentile(99) > LATE * 1e6:
            p99 = late.get_value_at_percentile(99) / 1000
            found.append(f"1 % of the messages were sent {p99:.0f} ms late or more, although the network took them")
        return found

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads; histograms are HDR's own encoding."""
        return {
            "seconds": self.seconds,
            "started": self.started,
            "counts": dict(self.counts),
            "receivers": self.receivers,
            "sent_by": dict(self.sent_by),
            "received_from": dict(self.received_from),
            "latencies": encoded(self.latencies),
            "intervals": [each.to_json() for each in self.intervals],
            "processes": self.processes,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Result:
        """The result of :meth:`to_json`."""
        counters = {name: Counter(content[name]) for name in ("counts", "sent_by", "received_from")}
        return cls(
            **{
                **content,
                **counters,
                "latencies": decoded(content["latencies"]),
                "intervals": [Interval.from_json(each) for each in content["intervals"]],
            }
        )


def merge(results: Iterable[Result]) -> Result:
    """One result over several processes or hosts of the same run."""
    return reduce(_plus, results, Result())


def _plus(one: Result, other: Result) -> Result:
    starts = [each.started for each in (one, other) if each.started]
    return Result(
        seconds=max(one.seconds, other.seconds),
        started=min(starts, default=0.0),
        counts=_add(one.counts, other.counts),
        receivers=one.receivers + other.receivers,
        sent_by=_add(one.sent_by, other.sent_by),
        received_from=_add(one.received_from, other.received_from),
        latencies=_sum(one.latencies, other.latencies),
        intervals=_side_by_side(one.intervals, other.intervals),
        processes=one.processes + other.processes,
        notes=one.notes + other.notes,
    )


def _add(one: Counter[str], other: Counter[str]) -> Counter[str]:
    total = Counter(one)
    total.update(other)  # + would drop names with 0
    return total


def _side_by_side(one: list[Interval], other: list[Interval]) -> list[Interval]:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    return [a.plus(b) for a, b in zip(longer, shorter, strict=False)] + longer[len(shorter) :]


def _sum(one: dict[str, HdrHistogram], other: dict[str, HdrHistogram]) -> dict[str, HdrHistogram]:
    total = {}
    for kind in sorted({*one, *other}):
        total[kind] = new_histogram()
        for each in (one, other):
            if kind in each:
                total[kind].add(each[kind])
    return total


def encoded(latencies: dict[str, HdrHistogram]) -> dict[str, str]:
    """Histograms as text."""
    return {kind: histogram.encode().decode("ascii") for kind, histogram in latencies.items()}


def decoded(latencies: dict[str, str]) -> dict[str, HdrHistogram]:
    """Histograms of their text."""
    return {kind: HdrHistogram.decode(text) for kind, text in latencies.items()}
