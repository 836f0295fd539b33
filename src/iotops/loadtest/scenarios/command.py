# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands to devices and their answers: the time from when a command was due until its answer is there."""

from __future__ import annotations

from collections.abc import Sequence

from iotops.loadtest.device import Device
from iotops.loadtest.payload import read
from iotops.loadtest.scenarios.base import Listener, Scenario
from iotops.loadtest.schedule import Lane


class Command(Scenario):
    """Each subscriber commands its part of the publishers, one after the other; a device answers who asked it.

    Topics are ``<prefix>/<device>/command`` and ``<prefix>/<who commands>/response``; the answer is the command.
    """

    @property
    def rate(self) -> float:  # noqa: D102
        return self.plan.rate * self.plan.publishers / self.plan.subscribers

    def lanes(self) -> list[Lane]:  # noqa: D102
        return [Lane(each, self._commanded(number)) for number, each in enumerate(self.stage.subscribers)]

    def _commanded(self, number: int) -> list[bytes]:
        share, plan = self.stage.share, self.plan
        first = share.index + number * share.of  # among all who command
        names = plan.names[: plan.publishers][first :: plan.subscribers]
        return [f"{plan.prefix}/{name}/command".encode() for name in names]

    def prepare(self) -> None:  # noqa: D102
        for device in self.stage.publishers:
            device.filters = (f"{self.plan.prefix}/{device.name}/command",)
            device.on_message = _Obedient(self, device)
        for device in self.stage.subscribers:
            device.filters = (f"{self.plan.prefix}/{device.name}/response",)
            device.on_message = _Commander(self, device)

    @property
    def senders(self) -> Sequence[Device]:  # noqa: D102
        return self.stage.subscribers

    @property
    def listening(self) -> int:  # noqa: D102
        return int(self.stage.share.index == 0)  # who commands hears the answers to its own


class _Commander(Listener):
    kinds = ("round_trip", "round_trip_raw")


class _Obedient:
    def __init__(self, scenario: Command, device: Device) -> None:
        self._device, self._counts = device, scenario.counts
        self._prefix, self._qos = scenario.plan.prefix.encode(), scenario.plan.qos

    def __call__(self, _topic: bytes, payload: bytes) -> None:
        message, connection = read(payload), self._device.connection
        if message is None:
            self._counts["foreign"] += 1
        elif connection is not None:
            connection.publish(b"%s/%s/response" % (self._prefix, message.sender), payload, self._qos)
            self._counts["forwarded"] += 1
