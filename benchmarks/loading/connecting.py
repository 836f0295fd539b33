# SPDX-License-Identifier: GPL-3.0-or-later
"""Connecting: how fast, at what cost, how much memory a connection takes, and how many there can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.loading import handshakes
from benchmarks.loading.bench import OURS, Bench, generators


def connections(bench: Bench) -> None:
    """Compare generators, each with a process of its own and as many devices."""
    count = 100 if bench.quick else 300
    print(f"\n{count} devices of one process connect, 50 at a time\n")
    print("| | a second | processor each | of the broker | memory each |\n|---|---|---|---|---|")
    for label, command in generators(bench).items():
        rate, processor, broker, memory = _connect(bench, command, count)
        print(f"| {label} | {rate:.0f} | {processor:.1f} ms | {broker:.1f} ms | {memory:.0f} kB |")


def rate(bench: Bench) -> None:
    """Compare our rate with that of ``openssl s_time``, by turns."""
    count, seconds, turns = (200, 1, 1) if bench.quick else (1000, 3, 3)
    identity = bench.identity()
    bare, ours = [], []
    for _ in range(turns):
        bare.append(handshakes.rate(bench.broker.target, identity, seconds))
        ours.append(_connect(bench, OURS, count))
    rates = [rate for rate, *_rest in ours]
    bench.figures["connects_per_second"] = round(median(rates))
    bench.figures["vs_s_time"] = round(median(rates) / median(bare), 2)
    bench.figures["kb_per_connection"] = round(median(memory for *_rest, memory in ours), 1)
    print(f"\n{count} devices connect, medians of {turns}: {median(rates):.0f} a second, MQTT included;"
          f" `openssl s_time`: {median(bare):.0f}, {bench.figures['vs_s_time']} times;"
          f" {bench.figures['kb_per_connection']} kB a connection")  # fmt: skip


def many(bench: Bench) -> None:
    """Hold as many connections as the issue of this benchmark asks for, and hear from each."""
    count = 500 if bench.quick else 10_000
    names = bench.names(count)
    with bench.generator(OURS) as ours:
        answer = ours.ask(**bench.connecting(names))
        beat = ours.ask(what="beat")
        memory = ours.memory()
    bench.figures["live_connections"] = beat["devices"]
    print(f"\n{beat['devices']} live connections in one process after {answer['seconds']:.1f} s,"
          f" {memory:.0f} MB; each had a QoS 1 message acknowledged, all within {beat['seconds']:.1f} s")  # fmt: skip


def _connect(bench: Bench, command: Sequence[str | Path], count: int) -> tuple[float, float, float, float]:
    """Connections a second, ms of processor each, the broker's, and kB each."""
    names = bench.names(count)
    with bench.generator(command) as running:
        memory, processor, broker = running.memory(), running.processor(), bench.broker_processor()
        seconds = running.ask(**bench.connecting(names))["seconds"]
        return (
            count / seconds,
            (running.processor() - processor) / count * 1e3,
            (bench.broker_processor() - broker) / count * 1e3,
            (running.memory() - memory) / count * 1e3,
        )


__all__ = ["connections", "many", "rate"]
