# SPDX-License-Identifier: GPL-3.0-or-later
"""S3's scenario: P publishers send a message a second each, S subscribers stamp and forward each of them.

That is P x (1 + 2S) messages a second. Ours is a process of `iotops loadtest`, asked as that asks it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from benchmarks.loading import cost, s3
from benchmarks.loading.bench import Bench, node_modules
from benchmarks.loading.program import running
from iotops.loadtest.connection import Connection, Options
from iotops.loadtest.identities import Identity
from iotops.loadtest.measures import percentiles
from iotops.loadtest.plan import Plan

_SETTLE, _SETTLE_QUICK = 10.0, 2.0  # seconds of S3's: its SDK holds messages back in its first ones
_PATIENCE = 120.0


@dataclass(frozen=True)
class Cost:
    """Of one side: seconds until all were connected, MB, part of one core, part of the forwarded messages expected."""

    start: float
    memory: float
    processor: float
    sustained: float


def against_s3(bench: Bench) -> None:
    """Compare with S3's architecture."""
    publishers, subscribers, seconds = (20, 3, 3) if bench.quick else (94, 6, 20)
    settle = _SETTLE_QUICK if bench.quick else _SETTLE
    modules = node_modules()
    if not modules:
        return
    names = bench.names(publishers + subscribers + 1)
    observer = Identity.at(bench.devices, names[-1])
    with s3.running(
        modules, bench.broker.target, bench.devices, names[:publishers], names[publishers:-1], _PATIENCE
    ) as theirs:
        time.sleep(settle)
        before = theirs.processor()
        rate = _observe(bench, observer, seconds)
        part = (theirs.processor() - before) / seconds
        of_s3 = Cost(theirs.start_seconds, theirs.memory(), part, rate / (publishers * subscribers))
    time.sleep(_SETTLE_QUICK)  # the machine gives their memory back
    plan = _plan(bench, names[:-1], publishers, _SETTLE_QUICK + seconds + 1)
    starts = [_start(plan) for _turn in range(2)]  # a moment each, which anything disturbs
    with running(plan) as ours:
        starts.append(ours.start_seconds)
        time.sleep(_SETTLE_QUICK)
        before = cost.processor(cost.tree(ours.pid))
        rate = _observe(bench, observer, seconds)
        part = (cost.processor(cost.tree(ours.pid)) - before) / seconds
        memory = cost.memory(cost.tree(ours.pid))
        of_ours = Cost(median(starts), memory, part, rate / (publishers * subscribers))
    print(f"\nS3's scenario, {publishers} publishers and {subscribers} subscribers\n")
    print("| | start | memory | of one core | forwarded |\n|---|---|---|---|---|")
    for label, each in (("S3's architecture", of_s3), ("ours", of_ours)):
        print(f"| {label} | {each.start:.2f} s | {each.memory:.0f} MB | {each.processor:.1%} | {each.sustained:.1%} |")
    for key, ours_is, s3_is in (
        ("memory_vs_s3", of_ours.memory, of_s3.memory),
        ("start_vs_s3", of_ours.start, of_s3.start),
        ("cpu_vs_s3", of_ours.processor / of_ours.sustained, of_s3.processor / of_s3.sustained),  # for as many messages
    ):
        bench.figures[key] = round(ours_is / s3_is, 4)
        print(f"{key}: 1/{s3_is / ours_is:.1f}")


def _start(plan: Plan) -> float:
    with running(plan) as ours:
        return ours.start_seconds


def scenario(bench: Bench) -> None:
    """Run it at the size that S3 names for a host."""
    publishers, subscribers, seconds = (100, 10, 5) if bench.quick else (487, 20, 30)
    watched = seconds - 2
    with running(_plan(bench, bench.names(publishers + subscribers), publishers, seconds)) as ours:
        time.sleep(1)
        before, broker = cost.processor([ours.pid]), bench.broker_processor()
        time.sleep(watched)
        part = (cost.processor([ours.pid]) - before) / watched
        of_broker = (bench.broker_processor() - broker) / watched
        memory = cost.memory([ours.pid])
        result = ours.result()
    counts, latencies = result.counts, dict(percentiles(result.latencies["end_to_end"]))
    passed, due = counts["sent"] + result.received + counts["forwarded"], counts["due"] * (1 + 2 * subscribers)
    bench.figures |= {
        "sustained": round(passed / due, 5),
        "scenario_cpu": round(part, 3),
        "scenario_mb": round(memory, 1),
        "scenario_start": round(ours.start_seconds, 2),
        "scenario_p99_ms": round(latencies["p99"] / 1000, 1),
    }
    print(f"\nS3's scenario, {publishers} publishers and {subscribers} subscribers for {seconds} s")
    print(f"{passed / seconds:,.0f} messages a second, {passed / due:.3%} of those due")
    print(f"{result.lost} lost, {counts['duplicates']} twice, {counts['reordered']} out of order")
    print(
        f"connected after {ours.start_seconds:.2f} s, {memory:.0f} MB, {part:.0%} of one core, broker {of_broker:.0%}"
    )
    print("from due to received: " + ", ".join(f"{name} {value / 1000:.1f} ms" for name, value in latencies.items()))
    for line in result.limits:
        print(line)


def _plan(bench: Bench, names: list[str], publishers: int, seconds: float) -> Plan:
    return Plan(
        scenario="fan-out",
        targets=(bench.broker.target,),
        names=tuple(names),
        identities=str(bench.devices),
        publishers=publishers,
        subscribers=len(names) - publishers,
        duration=seconds,
        ramp=2000,
    )


def _observe(bench: Bench, identity: Identity, seconds: float) -> float:
    """Forwarded messages a second that one more subscriber gets."""

    async def run() -> int:
        heard = 0

        def hear(_topic: bytes, _payload: bytes) -> None:
            nonlocal heard
            heard += 1

        options = Options(identity.name)
        lost: list[Exception] = []
        connection = await Connection.open(bench.broker.target, identity, options, on_message=hear, on_lost=lost.append)
        await connection.subscribe("loadtest", 0)
        await asyncio.sleep(seconds)
        await connection.close()
        return heard

    return asyncio.run(run()) / seconds


__all__ = ["against_s3", "scenario"]
