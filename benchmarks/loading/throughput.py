# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages: 20 publishers and 4 subscribers in one process, as fast as the subscribers get them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.loading.bench import Bench, generators
from benchmarks.loading.child import Child

PUBLISHERS, SUBSCRIBERS = 20, 4


@dataclass(frozen=True)
class Speed:
    """Messages a second, sent and received, and microseconds of processor for each: generator's and broker's."""

    rate: float
    processor: float
    broker: float


def messages(bench: Bench) -> None:
    """Compare generators with both qualities of service."""
    print(f"\n{PUBLISHERS} publishers, {SUBSCRIBERS} subscribers, messages of 64 bytes, sent and received\n")
    print("| | QoS | a second | processor each | of the broker |\n|---|---|---|---|---|")
    speeds: dict[tuple[str, int], Speed] = {}
    for label, command in generators(bench).items():
        with bench.generator(command) as running:
            running.ask(**bench.connecting(bench.names(PUBLISHERS + SUBSCRIBERS)))
            running.ask(what="subscribe", count=SUBSCRIBERS)
            for qos in (0, 1):
                speed = speeds[label, qos] = _publish(bench, running, label, qos)
                print(f"| {label} | {qos} | {speed.rate:,.0f} | {speed.processor:.1f} us | {speed.broker:.1f} us |")
    for qos in (0, 1):
        bench.figures[f"qos{qos}_per_second"] = round(speeds["ours", qos].rate)
    for label in ("Locust", "Locust, with selectors"):
        if (label, 0) in speeds:
            each, both = _ratios(speeds, label)
            bench.figures.setdefault("vs_locust", both)
            print(f"messages for the same processor, ours against {label}: {each[0]} times (QoS 0), {each[1]} (QoS 1)")


def _ratios(speeds: dict[tuple[str, int], Speed], label: str) -> tuple[list[float], float]:
    """How much more processor it takes than ours: with each quality of service, and for as many messages of both."""
    theirs, ours = ([speeds[who, qos].processor for qos in (0, 1)] for who in (label, "ours"))
    return [round(other / own, 1) for other, own in zip(theirs, ours, strict=True)], round(sum(theirs) / sum(ours), 1)


def _publish(bench: Bench, running: Child, label: str, qos: int) -> Speed:
    each = (200 if bench.quick else 1000) if label.startswith("Locust") else (1000 if bench.quick else 5000)
    processor, broker = running.processor(), bench.broker_processor()
    answer = running.ask(what="publish", publishers=PUBLISHERS, subscribers=SUBSCRIBERS, messages=each, qos=qos)
    count = answer["messages"]
    return Speed(
        count / answer["seconds"],
        (running.processor() - processor) / count * 1e6,
        (bench.broker_processor() - broker) / count * 1e6,
    )


__all__ = ["messages"]
