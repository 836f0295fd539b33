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
    for label, command in generators().items():
        with bench.generator(command) as running:
            running.ask(**bench.connecting(bench.names(PUBLISHERS + SUBSCRIBERS)))
            running.ask(what="subscribe", count=SUBSCRIBERS)
            for qos in (0, 1):
                speed = speeds[label, qos] = _publish(bench, running, label, qos)
                print(f"| {label} | {qos} | {speed.rate:,.0f} | {speed.processor:.1f} us | {speed.broker:.1f} us |")
    for qos in (0, 1):
        bench.figures[f"qos{qos}_per_second"] = round(speeds["ours", qos].rate)
    if ("Locust", 0) in speeds:
        ratios = [speeds["Locust", qos].processor / speeds["ours", qos].processor for qos in (0, 1)]
        bench.figures["vs_locust"] = round(min(ratios), 1)
        print(
            f"\nmessages for the same processor against Locust: {ratios[0]:.1f} times (QoS 0), {ratios[1]:.1f} (QoS 1)"
        )


def _publish(bench: Bench, running: Child, label: str, qos: int) -> Speed:
    each = (200 if bench.quick else 1000) if label == "Locust" else (1000 if bench.quick else 5000)
    processor, broker = running.processor(), bench.broker_processor()
    answer = running.ask(what="publish", publishers=PUBLISHERS, subscribers=SUBSCRIBERS, messages=each, qos=qos)
    count = answer["messages"]
    return Speed(
        count / answer["seconds"],
        (running.processor() - processor) / count * 1e6,
        (bench.broker_processor() - broker) / count * 1e6,
    )


__all__ = ["messages"]
