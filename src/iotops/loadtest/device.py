# SPDX-License-Identifier: GPL-3.0-or-later
"""One device of a load test: it connects, and connects again when its session ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable

from iotops.loadtest.connection import WINDOW, Connection, Options
from iotops.loadtest.errors import ConnectionTrouble, Refused, Unreachable
from iotops.loadtest.identities import Identity
from iotops.loadtest.measures import Latencies
from iotops.loadtest.payload import Writer
from iotops.loadtest.plan import Plan

OnMessage = Callable[[bytes, bytes], None]
LEAST_PAUSE = 1.0  # AWS IoT takes one connection a second of a client id
_MOST_HANDSHAKES = 256  # at a time: those who wait longer would only time out


def microseconds() -> int:
    """The monotonic clock of this host."""
    return time.monotonic_ns() // 1000


def _ignore(_topic: bytes, _payload: bytes) -> None:
    pass


class Network:
    """What the devices of a process share: where they connect to, and what is counted of it."""

    def __init__(self, plan: Plan, counts: Counter[str], latencies: Latencies) -> None:
        self.plan, self.counts, self.latencies = plan, counts, latencies
        self.connected = 0
        self.lost_targets = 0  # the first so many are not tried any more
        self.handshakes = asyncio.Semaphore(_MOST_HANDSHAKES)


class Device:
    """A device. ``filters``: what it subscribes to; ``writer``: makes its messages.

    ``late``: its messages that are due and not sent, as (number, due, topic). ``sent``: how many it has sent.
    ``since``: when it began to want the session that it has or wants, in microseconds.
    """

    def __init__(self, name: str, identity: Identity | None, network: Network, writer: Writer) -> None:
        self.name, self._identity, self._network, self.writer = name, identity, network, writer
        self.filters: tuple[str, ...] = ()
        self.on_message: OnMessage = _ignore
        self.on_connected: Callable[[Device], None] | None = None
        self.connection: Connection | None = None
        self.late: deque[tuple[int, int, bytes]] = deque()
        self.sent = 0
        self.since = 0
        self.was_lost = False
        self._attempts = 0
        self._ended: asyncio.Event = asyncio.Event()
        self._first = asyncio.Event()

    @property
    def can_send(self) -> bool:
        """Whether a message would leave now, and not wait anywhere where it is out of reach."""
        connection = self.connection
        return connection is not None and not connection.congested and connection.in_flight < WINDOW

    async def connected(self) -> None:
        """Wait until it was connected once."""
        await self._first.wait()

    async def stay_connected(self) -> None:
        """Connect, and again after each loss, until cancelled."""
        self.since = microseconds()
        failures = 0
        while True:
            last = time.monotonic()
            try:
                await self._connect()
                failures = 0
                await self._ended.wait()
            except ConnectionTrouble as trouble:
                failures += 1
                self._count(trouble)
            # Full jitter, and never more often than a client id may.
            pause = random.uniform(0, min(self._network.plan.patience, 2.0**failures))  # noqa: S311 - no secret
            await asyncio.sleep(max(pause, last + LEAST_PAUSE - time.monotonic()))

    async def _connect(self) -> None:
        network, plan = self._network, self._network.plan
        self._ended.clear()
        options = Options(
            self.name,
            version=plan.version,
            clean=not plan.persistent,
            session_expiry=3600 if plan.persistent and plan.version == 5 else 0,
            keep_alive=plan.keep_alive,
        )
        targets = plan.targets[min(network.lost_targets, len(plan.targets) - 1) :]
        target = targets[self._attempts % len(targets)]
        async with network.handshakes:
            network.counts["attempts"] += 1
            connection = await Connection.open(
                target, self._identity, options, on_message=self.on_message, on_lost=self._lost
            )
        if self._ended.is_set():
            raise Unreachable(f"{target}: the session ended at once")
        self.connection = connection
        network.counts["connects"] += 1
        network.connected += 1
        network.latencies.recorder("connect")(round(connection.connect_seconds * 1e6))
        try:
            if not connection.session_present:
                for each in self.filters:
                    await connection.subscribe(each, plan.qos)
        except ConnectionTrouble:
            if self.connection is connection:
                self._forget(connection)
                connection.abort()
            raise
        self._works()

    def _works(self) -> None:
        if self.was_lost:
            self._network.latencies.recorder("recovered")(microseconds() - self.since)
        self.was_lost = False
        self._first.set()
        if self.on_connected is not None:
            self.on_connected(self)

    def _lost(self, _trouble: ConnectionTrouble) -> None:
        self._network.counts["sessions_lost"] += 1
        if self.connection is not None:
            self._forget(self.connection)
        self.was_lost, self.since = True, microseconds()
        self._attempts += 1  # the next target, if there is one
        self._ended.set()

    def _forget(self, connection: Connection) -> None:
        self._network.connected -= 1
        self._network.counts["rejected"] += connection.rejected
        self.connection = None

    def _count(self, trouble: ConnectionTrouble) -> None:
        if isinstance(trouble, Refused):
            self._network.counts["refused"] += 1
        elif isinstance(trouble, Unreachable):
            self._network.counts["unreachable"] += 1
            self._attempts += 1

    def drop(self) -> None:
        """Lose the session, as if the network had."""
        connection = self.connection
        if connection is not None:
            connection.abort()
            self._lost(Unreachable("the target is lost"))

    async def close(self) -> None:
        """Say goodbye."""
        connection = self.connection
        if connection is not None:
            self._forget(connection)
            await connection.close()
