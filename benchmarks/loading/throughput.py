# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages: 20 publishers and 4 subscribers in one process, as fast as the subscribers get them."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, fields
from statistics import median

from benchmarks.loading import cost
from benchmarks.loading.bench import Bench, generators
from benchmarks.loading.child import Child
from benchmarks.loading.program import running
from iotops.loadtest.plan import Plan

PUBLISHERS, SUBSCRIBERS = 20, 4


@dataclass(frozen=True)
class Speed:
    """Messages a second, sent and received, and microseconds of processor for each: generator's and broker's."""

    rate: float
    processor: float
    broker: float


def messages(bench: Bench) -> None:
    """Compare generators with both qualities of service."""
    turns = 1 if bench.quick else 3
    print(f"\n{PUBLISHERS} publishers, {SUBSCRIBERS} subscribers, messages of 64 bytes, sent and received; medians of")
    print(f"{turns}, by turns\n\n| | QoS | a second | processor each | of the broker |\n|---|---|---|---|---|")
    found: dict[tuple[str, int], list[Speed]] = defaultdict(list)
    for _turn in range(turns):
        for label, command in generators(bench).items():
            with bench.generator(command) as asked:
                asked.ask(**bench.connecting(bench.names(PUBLISHERS + SUBSCRIBERS)))
                asked.ask(what="subscribe", count=SUBSCRIBERS)
                for qos in (0, 1):
                    found[label, qos].append(_publish(bench, asked, label, qos))
    speeds = {key: _middle(each) for key, each in found.items()}
    for (label, qos), speed in speeds.items():
        print(f"| {label} | {qos} | {speed.rate:,.0f} | {speed.processor:.1f} us | {speed.broker:.1f} us |")
    for qos in (0, 1):
        bench.figures[f"qos{qos}_per_second"] = round(speeds["ours", qos].rate)
    for label in ("Locust", "Locust, with selectors"):
        if (label, 0) in speeds:
            each, both = _ratios(speeds, label)
            bench.figures.setdefault("vs_locust", both)
            print(f"messages for the same processor, ours against {label}: {each[0]} times (QoS 0), {each[1]} (QoS 1)")


def _middle(speeds: list[Speed]) -> Speed:
    return Speed(*(median(getattr(each, field.name) for each in speeds) for field in fields(Speed)))


def _ratios(speeds: dict[tuple[str, int], Speed], label: str) -> tuple[list[float], float]:
    """How much more processor it takes than ours: with each quality of service, and for as many messages of both."""
    theirs, ours = ([speeds[who, qos].processor for qos in (0, 1)] for who in (label, "ours"))
    return [round(other / own, 1) for other, own in zip(theirs, ours, strict=True)], round(sum(theirs) / sum(ours), 1)


def _publish(bench: Bench, asked: Child, label: str, qos: int) -> Speed:
    each = (100 if bench.quick else 500) if label.startswith("Locust") else (1000 if bench.quick else 3000)
    processor, broker = asked.processor(), bench.broker_processor()
    answer = asked.ask(what="publish", publishers=PUBLISHERS, subscribers=SUBSCRIBERS, messages=each, qos=qos)
    count = answer["messages"]
    return Speed(
        count / answer["seconds"],
        (asked.processor() - processor) / count * 1e6,
        (bench.broker_processor() - broker) / count * 1e6,
    )


def accounted(bench: Bench) -> None:
    """Let `iotops loadtest` carry a given rate, with each message counted by its number and timed."""
    seconds, watched = (3, 1) if bench.quick else (12, 10)
    names = bench.names(PUBLISHERS + SUBSCRIBERS)
    print(f"\n`iotops loadtest`, one process, {PUBLISHERS} publishers, {SUBSCRIBERS} subscribers, on schedule\n")
    print("| QoS | wanted | arrived | of one core | p99 |\n|---|---|---|---|---|")
    for qos, wanted in ((0, 100_000), (1, 80_000)):
        plan = Plan(
            scenario="telemetry",
            targets=(bench.broker.target,),
            names=tuple(names),
            identities=str(bench.devices),
            publishers=PUBLISHERS,
            subscribers=SUBSCRIBERS,
            rate=wanted / PUBLISHERS / (1 + SUBSCRIBERS),
            duration=seconds,
            qos=qos,
            ramp=2000,
            drain=1,
        )
        with running(plan) as ours:
            time.sleep(1)
            before = cost.processor([ours.pid])
            time.sleep(watched)
            part = (cost.processor([ours.pid]) - before) / watched
            result = ours.result()
        arrived = (result.counts["sent"] + result.received) / (result.counts["due"] * (1 + SUBSCRIBERS))
        p99 = result.latencies["end_to_end"].get_value_at_percentile(99) / 1000
        bench.figures[f"qos{qos}_accounted"] = round(arrived, 5)
        print(f"| {qos} | {wanted:,} a second | {arrived:.3%} | {part:.0%} | {p99:.0f} ms |")


__all__ = ["accounted", "messages"]
