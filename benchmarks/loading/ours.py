# SPDX-License-Identifier: GPL-3.0-or-later
"""Our connections in one process, asked through standard input (child.py): connect, publish, end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from iotops.loadtest.connection import Connection, Options
from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Target

PAYLOAD = b"x" * 64
CHUNK, LAG = 10, 4000  # messages at a time from each publisher; copies that may be on their way


class Generator:
    """Devices, and the messages that those of them have got which subscribe."""

    def __init__(self) -> None:
        self._open: list[Connection] = []
        self._received = self._acknowledged = 0

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

    def _hear(self, _topic: bytes, _payload: bytes) -> None:
        self._received += 1

    def _acknowledge(self) -> None:
        self._acknowledged += 1

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
                    publisher.publish(topic, PAYLOAD, qos, self._acknowledge)
            sent += CHUNK * count
            await asyncio.sleep(0)
            while sent * copies - self._received > LAG:
                await asyncio.sleep(0.0002)
        while self._received < sent * copies or self._acknowledged < sent * qos:
            await asyncio.sleep(0.001)
        return {"messages": sent * (1 + copies), "seconds": time.perf_counter() - started}

    async def beat(self, _question: dict[str, Any]) -> dict[str, Any]:
        """Let each device have one message acknowledged."""
        self._acknowledged = 0
        started = time.perf_counter()
        for connection in self._open:
            connection.publish(b"beat", PAYLOAD, 1, self._acknowledge)
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
