# SPDX-License-Identifier: GPL-3.0-or-later
"""When each message is due, whatever became of the one before: an open schedule.

Message ``n`` of a device is due ``n / rate`` seconds after the device's phase, and devices have their phases evenly
spread. What cannot be sent in time is sent late and keeps its due time, which latencies are taken from: a sender that
is held up would otherwise leave out the very messages that would have shown it ("coordinated omission",
Gil Tene, How NOT to Measure Latency, 2013).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from iotops.loadtest.device import Device, microseconds
from iotops.loadtest.measures import Work

_TURN = 1000  # messages after which others get their turn
_SHORTEST = 0.001  # seconds
_LONGEST = 0.05

Send = Callable[[Device, int, int, bytes], None]


class Lane:
    """What one sender sends: to each of ``topics`` in turn, ``rate`` messages a second altogether."""

    __slots__ = ("device", "topics")

    def __init__(self, device: Device, topics: Sequence[bytes]) -> None:
        self.device, self.topics = device, topics


class Schedule:
    """Sends the messages of all senders of a process when they are due.

    ``late`` is told of each message that the network was ready for how late (microseconds) it was all the same.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        rate: float,
        duration: float,
        send: Send,
        late: Callable[[int], None],
        work: Work,
    ) -> None:
        self._lanes, self._send, self._late, self._work = lanes, send, late, work
        self._every = 1e6 / (rate * len(lanes)) if lanes else 0.0
        self._total = round(rate * duration) * len(lanes)
        self._behind: set[Device] = set()
        self.due = 0

    async def run(self, start: int) -> None:
        """Send all, the first one at ``start`` (microseconds)."""
        while self.due < self._total:
            now = microseconds()
            self._catch_up()
            wanted = min(self._total, int((now - start) / self._every) + 1 if now >= start else 0, self.due + _TURN)
            for index in range(self.due, wanted):
                self._one(index, start + round(index * self._every))
            self.due = wanted
            await self._wait(start)
        while self._behind:
            self._catch_up()
            await asyncio.sleep(_SHORTEST)

    async def _wait(self, start: int) -> None:
        next_due = start + self.due * self._every
        seconds = min(max((next_due - microseconds()) / 1e6, 0), _LONGEST)
        if seconds > 0:
            seconds = max(seconds, _SHORTEST)
        asked = microseconds()
        await asyncio.sleep(seconds)
        self._work.saw_lag((microseconds() - asked) / 1e6 - seconds)

    def _one(self, index: int, due: int) -> None:
        number, position = divmod(index, len(self._lanes))
        lane = self._lanes[position]
        device, topic = lane.device, lane.topics[number % len(lane.topics)]
        if device.late or not device.can_send:
            device.late.append((number, due, topic))
            self._behind.add(device)
        else:
            self._late(microseconds() - due)
            self._send(device, number, due, topic)

    def _catch_up(self) -> None:
        for device in list(self._behind):
            while device.late and device.can_send:
                self._send(device, *device.late.popleft())
            if not device.late:
                self._behind.discard(device)
