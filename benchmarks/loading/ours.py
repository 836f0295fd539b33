# SPDX-License-Identifier: GPL-3.0-or-later
"""Our connections in one process, asked through standard input (child.py): connect, subscribe, publish, beat.

The time that each message was on its way goes into a histogram, as in a load test.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from hdrh.histogram import HdrHistogram

from iotops.loadtest.connection import Connection, Options
from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Target

PAD = b"x" * 48
CHUNK, LAG = 10, 4000  # messages at a time from each publisher; copies that may be on their way
_HOUR = 3_600_000_000  # microseconds


class Generator:
    """Devices, and what those of them have got which subscribe."""

    def __init__(self) -> None:
        self._open: list[Connection] = []
        self._histogram = HdrHistogram(1, _HOUR, 3)
        self._latencies: list[int] = []  # microseconds that are not in the histogram yet
        self._received = self._acknowledged = 0
        self._awaited = sys.maxsize  # of the received ones
        self._enough = asyncio.Event()

    async def ready(self, _question: dict[str, Any]) -> dict[str, Any]:
        """All is loaded."""
        return {}

    async def connect(self, question: dict[str, Any]) -> dict[str, Any]:
        """Connect devices, so many at a time."""
        target = Target(question["host"], question["port"], addresses=("127.0.0.1",), root=question["root"])
        places = asyncio.Semaphore(question["parallel"])
        directory = Path(question["devices"])

        async def one(name: str) -> Connection:
            async with places:
                return await Connection.open(
                    target,
                    Identity.at(directory, name),
                    Options(name, keep_alive=600),
                    on_message=self._hear,
                    on_lost=lambda trouble: print(trouble, file=sys.stderr),
                )

        started = time.perf_counter()
        self._open += await asyncio.gather(*map(one, question["names"]))
        return {"seconds": time.perf_counter() - started}

    def _hear(self, _topic: bytes, payload: bytes) -> None:
        self._latencies.append((time.monotonic_ns() - int(payload[:16])) // 1000)
        self._received += 1
        if self._received == self._awaited:
            self._enough.set()

    def _acknowledge(self) -> None:
        self._acknowledged += 1

    def _fold(self) -> None:
        latencies, self._latencies = self._latencies, []
        for latency, count in Counter(latencies).items():
            self._histogram.record_value(latency, count)

    async def _until_received(self, count: int) -> None:
        if self._received < count:  # without looking again and again, which would cost processor time
            self._awaited = count
            self._enough.clear()
            await self._enough.wait()

    async def subscribe(self, question: dict[str, Any]) -> dict[str, Any]:
        """Let the last ones listen to all topics of the benchmark."""
        for connection in self._open[-question["count"] :]:
            await connection.subscribe("bench/+", 1)
        return {}

    async def publish(self, question: dict[str, Any]) -> dict[str, Any]:
        """Publish as fast as the subscribers get it."""
        count, messages, qos = question["publishers"], question["messages"], question["qos"]
        publishers, copies = self._open[:count], question["subscribers"]
        self._received = self._acknowledged = sent = 0
        started = time.perf_counter()
        for _ in range(0, messages, CHUNK):
            for number, publisher in enumerate(publishers):
                topic = b"bench/%d" % number
                for _ in range(CHUNK):
                    publisher.publish(topic, b"%016d%s" % (time.monotonic_ns(), PAD), qos, self._acknowledge)
            sent += CHUNK * count
            await asyncio.sleep(0)
            await self._until_received(sent * copies - LAG)
            if len(self._latencies) > 100_000:  # about once a second
                self._fold()
        await self._until_received(sent * copies)
        while self._acknowledged < sent * qos:
            await asyncio.sleep(0.001)
        self._fold()
        return {"messages": sent * (1 + copies), "seconds": time.perf_counter() - started}

    async def beat(self, _question: dict[str, Any]) -> dict[str, Any]:
        """Let each device have one message acknowledged."""
        self._acknowledged = 0
        started = time.perf_counter()
        for connection in self._open:
            connection.publish(b"beat", PAD, 1, self._acknowledge)
        while self._acknowledged < len(self._open):
            await asyncio.sleep(0.01)
        return {"devices": self._acknowledged, "seconds": time.perf_counter() - started}


async def main() -> None:
    """Answer until standard input ends."""
    generator, loop = Generator(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        print(json.dumps(await getattr(generator, question.pop("what"))(question)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
