# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test makes of messages and connections, and what AWS IoT would charge for them.

https://aws.amazon.com/iot-core/pricing/: CONNECT, SUBSCRIBE and each message in and out are metered, in steps of 5 KB;
acknowledgements and pings are not. Rules, functions and tables that the messages reach are not in here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from iotops.loadtest.plan import Plan

USD_PER_MESSAGE = 1.00 / 1e6
USD_PER_CONNECTION_MINUTE = 0.08 / 1e6
_STEP = 5 * 1024


@dataclass(frozen=True)
class Load:
    """What a plan asks for: rates a second at their highest, and totals; ``usd`` in us-east-1."""

    messages_per_second: float
    connects_per_second: float
    messages: int
    connection_minutes: int
    usd: float

    def __str__(self) -> str:
        return (
            f"{self.messages:,} messages (up to {self.messages_per_second:,.0f} a second), "
            f"{self.connection_minutes:,} connection minutes, up to {self.connects_per_second:,.0f} connects a second; "
            f"on AWS about USD {self.usd:,.2f} for AWS IoT"
        )


def load_of(plan: Plan) -> Load:
    """What a plan asks for."""
    devices = plan.publishers + plan.subscribers
    rate = _per_message(plan) * plan.publishers * plan.rate
    connects = devices * (2 if plan.scenario == "reconnect" else 1)
    steps = max(1, math.ceil(plan.payload_size / _STEP))
    published = plan.publishers if plan.connects_at_start else round(rate * plan.duration)
    messages = published * steps + connects + plan.subscribers
    minutes = devices * math.ceil((devices / plan.ramp + plan.duration + plan.drain) / 60)
    usd = messages * USD_PER_MESSAGE + minutes * USD_PER_CONNECTION_MINUTE
    at_once = devices if plan.scenario == "reconnect" else min(devices, plan.ramp)
    return Load(0 if plan.connects_at_start else rate, at_once, messages, minutes, usd)


def _per_message(plan: Plan) -> int:
    """Messages in and out that one of the schedule makes."""
    if plan.scenario == "command":
        return 4  # in and out, and the answer
    return 1 + (2 if plan.scenario == "fan-out" else 1) * plan.subscribers
