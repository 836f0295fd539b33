# SPDX-License-Identifier: GPL-3.0-or-later
"""State machines whose every wait is shorter by one factor, so that a test sees hours in minutes.

``Deployment(..., definitions=scaled(0.1))`` uploads the real definitions with other numbers and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_SECONDS = ("IntervalSeconds", "MaxDelaySeconds", "TimeoutSeconds", "Seconds")
# Durations in expressions: what is added to the clock in seconds (a lease), what milliseconds are compared with.
_ADDED = re.compile(r"(\$millis\(\) / 1000\) \+ )(\d+)(?=\))")
_COMPARED = re.compile(r"(\$elapsed > )(\d+)")
LONGEST_LEASE = 3600  # seconds; what is added to the clock beyond that is a time to live, which no test waits for


def scaled(factor: float, *, timeouts: float | None = None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What ``Deployment.definitions`` wants.

    ``timeouts`` is the factor of TimeoutSeconds and of the leases, which outlive them; as ``factor`` when absent.
    """
    long = factor if timeouts is None else timeouts

    def scale(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: scale(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [scale(item) for item in value]
        if isinstance(value, str):
            return _COMPARED.sub(
                lambda found: _shorter(found, long), _ADDED.sub(lambda found: _lease(found, long), value)
            )
        return value * (long if key == "TimeoutSeconds" else factor) if key in _SECONDS else value

    return scale


def _lease(found: re.Match[str], factor: float) -> str:
    return found[0] if int(found[2]) > LONGEST_LEASE else _shorter(found, factor)


def _shorter(found: re.Match[str], factor: float) -> str:
    return f"{found[1]}{max(1, round(int(found[2]) * factor))}"
