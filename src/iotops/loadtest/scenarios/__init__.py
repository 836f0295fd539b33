# SPDX-License-Identifier: GPL-3.0-or-later
"""What devices do under load; ``SCENARIOS`` has each by its name."""

from __future__ import annotations

from iotops.loadtest.scenarios.base import Scenario
from iotops.loadtest.scenarios.command import Command
from iotops.loadtest.scenarios.fan_out import FanOut
from iotops.loadtest.scenarios.first_connection import FirstConnection
from iotops.loadtest.scenarios.reconnect import Reconnect
from iotops.loadtest.scenarios.telemetry import Telemetry

SCENARIOS: dict[str, type[Scenario]] = {
    "fan-out": FanOut,
    "telemetry": Telemetry,
    "command": Command,
    "first-connection": FirstConnection,
    "reconnect": Reconnect,
    "soak": Telemetry,  # for hours; the report is written while it runs
}
