# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that keep to a quota: a token bucket for one operation, which slows down where AWS throttles all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import THROTTLED_CODES

__all__ = ["Pace"]

SLOWEST = 1 / 16  # of the rate that was allowed at first
RECOVERY = 1.05  # with each call that was not throttled


class Pace:
    """At most ``rate`` calls a second, from any number of threads; after a pause up to a second's worth at once."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._factor, self._tokens, self._filled_at = 1.0, min(1.0, rate), clock()
        self._lock = threading.Lock()
        self.calls = 0
        self.throttles = 0

    def wait(self) -> None:
        """Return when the next call may be made."""
        with self._lock:
            now, rate = self._clock(), self._rate * self._factor
            self._tokens = min(max(rate, 1.0), self._tokens + (now - self._filled_at) * rate) - 1
            self._filled_at = now
            self._factor = min(1.0, self._factor * RECOVERY)
            self.calls += 1
            pause = -self._tokens / rate
        if pause > 0:
            self._sleep(pause)

    def watch(self, client: Any, operation: str) -> None:
        """Slow down whenever AWS throttles ``operation`` of the boto3 client, whoever repeats the call."""
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"needs-retry.{service}.{operation}", self._saw)

    def _saw(self, response: Any = None, **_other: Any) -> None:
        code = (response[1].get("Error") or {}).get("Code") if response else None
        if code in THROTTLED_CODES:
            with self._lock:
                self.throttles += 1
                self._factor = max(SLOWEST, self._factor / 2)
