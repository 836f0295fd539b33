# SPDX-License-Identifier: GPL-3.0-or-later
"""Every subscriber sends on what every publisher sends: P publishers and S subscribers make P x (1 + 2 S) messages."""

from __future__ import annotations

from iotops.loadtest.device import Device, microseconds
from iotops.loadtest.payload import stamped
from iotops.loadtest.scenarios.base import Listener
from iotops.loadtest.scenarios.telemetry import Telemetry


class FanOut(Telemetry):
    """Telemetry whose subscribers add their name and the time that they took, and forward to the prefix itself."""

    def listener(self, device: Device) -> Listener:  # noqa: D102
        return _Forwarder(self, device)


class _Forwarder(Listener):
    def __init__(self, scenario: FanOut, device: Device) -> None:
        super().__init__(scenario, device)
        self._topic = scenario.plan.prefix.encode()
        self._qos = scenario.plan.qos

    def first_time(self, payload: bytes) -> None:
        started = microseconds()
        connection = self.device.connection
        if connection is not None:
            connection.publish(self._topic, stamped(payload, self.device.name, microseconds() - started), self._qos)
            self._counts["forwarded"] += 1
