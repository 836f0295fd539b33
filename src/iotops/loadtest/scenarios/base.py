# SPDX-License-Identifier: GPL-3.0-or-later
"""What scenarios have in common: devices that send on a schedule, and receivers that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from iotops.loadtest.connection import Connection
from iotops.loadtest.device import Device, Network, microseconds
from iotops.loadtest.measures import Latencies, Receiver, Work
from iotops.loadtest.payload import read
from iotops.loadtest.plan import Plan, Share
from iotops.loadtest.schedule import Lane, Schedule


@dataclass
class Stage:
    """What a scenario finds in its process."""

    plan: Plan
    share: Share
    host: bytes
    network: Network
    latencies: Latencies
    work: Work
    publishers: Sequence[Device]
    subscribers: Sequence[Device]


class Scenario:
    """Publishers send on a schedule, nobody listens; others do more. ``receivers``: what each listener got."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.plan, self.counts = stage, stage.plan, stage.network.counts
        self.receivers: list[Receiver] = []
        self._acknowledged = stage.latencies.recorder("publish")
        self._acknowledged_raw = stage.latencies.recorder("publish_raw")
        self.schedule = Schedule(
            self.lanes(), self.rate, self.plan.duration, self.send, stage.latencies.recorder("late"), stage.work
        )

    @property
    def rate(self) -> float:
        """Messages a second of each lane."""
        return self.plan.rate

    def lanes(self) -> list[Lane]:
        """Who sends what where."""
        return [Lane(each, [self.plan.topic_of(each.name).encode()]) for each in self.stage.publishers]

    def prepare(self) -> None:
        """Tell the devices what they listen to, before they connect."""

    async def run(self, start: int) -> None:
        """Do what is measured, from ``start`` (microseconds) to the end."""
        await self.schedule.run(start)

    @property
    def listening(self) -> int:
        """How many receivers there are in this process for the messages of each sender anywhere."""
        return len(self.receivers)

    @property
    def senders(self) -> Sequence[Device]:
        """Whose messages receivers count."""
        return self.stage.publishers

    def send(self, device: Device, number: int, due: int, topic: bytes) -> None:
        """Send one message of the schedule."""
        now = microseconds()
        connection = cast("Connection", device.connection)
        payload = device.writer.write(number, due, now)
        if not self.plan.qos:
            connection.publish(topic, payload)
        else:
            connection.publish(topic, payload, 1, partial(self._acked, due, now))
        device.sent += 1
        self.counts["sent"] += 1

    def _acked(self, due: int, sent: int) -> None:
        now = microseconds()
        self.counts["acked"] += 1
        self._acknowledged(now - due)
        self._acknowledged_raw(now - sent)


class Listener:
    """A subscriber that counts what it gets, and takes the time where the sender's clock is its own."""

    kinds = ("end_to_end", "end_to_end_raw")

    def __init__(self, scenario: Scenario, device: Device) -> None:
        self.device = device
        self._counts = scenario.counts
        self._host = scenario.stage.host
        self._got = Receiver()
        scenario.receivers.append(self._got)
        latencies = scenario.stage.latencies
        self._corrected, self._raw = (latencies.recorder(kind) for kind in self.kinds)

    def __call__(self, _topic: bytes, payload: bytes) -> None:
        """Take a message."""
        message = read(payload)
        if message is None:
            self._counts["foreign"] += 1
            return
        self._counts["received"] += 1
        if self._got[message.sender].got(message.sequence):
            if message.host == self._host:
                now = microseconds()
                self._corrected(now - message.due)
                self._raw(now - message.sent)
            self.first_time(payload)

    def first_time(self, payload: bytes) -> None:
        """What is done with a message besides."""
