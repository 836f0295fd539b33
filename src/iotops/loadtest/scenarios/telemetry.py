# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices send their telemetry; subscribers, if there are any, watch all of it."""

from __future__ import annotations

from iotops.loadtest.device import Device
from iotops.loadtest.scenarios.base import Listener, Scenario


class Telemetry(Scenario):
    """Each publisher sends to its topic; each subscriber listens to those of all."""

    def prepare(self) -> None:  # noqa: D102
        for device in self.stage.subscribers:
            device.filters = (self.plan.topic_of("+"),)  # "#" would also match what is forwarded, for ever
            device.on_message = self.listener(device)

    def listener(self, device: Device) -> Listener:
        """What takes the messages of a subscriber."""
        return Listener(self, device)
