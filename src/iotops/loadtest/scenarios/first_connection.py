# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that nobody knows come all at once, and try until they are let in (just-in-time registration)."""

from __future__ import annotations

import asyncio
from functools import partial

from iotops.loadtest.device import Device, microseconds
from iotops.loadtest.scenarios.base import Scenario
from iotops.loadtest.schedule import Lane


class FirstConnection(Scenario):
    """From a device's first attempt until a message of it is acknowledged; it ends when all are in."""

    def lanes(self) -> list[Lane]:  # noqa: D102
        return []

    def prepare(self) -> None:  # noqa: D102
        self._accepted = self.stage.latencies.recorder("accepted")
        self._waiting = {device.name for device in self.stage.publishers}
        self._all_in = asyncio.Event()
        for device in self.stage.publishers:
            device.on_connected = self._try

    async def run(self, start: int) -> None:  # noqa: D102
        remaining = self.plan.duration - (microseconds() - start) / 1e6
        try:
            await asyncio.wait_for(self._all_in.wait(), max(remaining, 0) if self._waiting else 0)
        except TimeoutError:
            self.counts["waiting"] += len(self._waiting)

    def _try(self, device: Device) -> None:
        """Send a message with QoS 1: who may do nothing is not in."""
        connection = device.connection
        if connection is not None and device.name in self._waiting:
            now = microseconds()
            payload = device.writer.write(device.sent, now, now)
            device.sent += 1
            self.counts["sent"] += 1
            connection.publish(self.plan.topic_of(device.name).encode(), payload, 1, partial(self._is_in, device))

    def _is_in(self, device: Device) -> None:
        self.counts["acked"] += 1
        if device.name in self._waiting:
            self._accepted(microseconds() - device.since)
            self._waiting.discard(device.name)
            if not self._waiting:
                self._all_in.set()
