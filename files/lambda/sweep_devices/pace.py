"""A token bucket."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Lets callers through at a rate: those of one second at once when nobody came before."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = per_second, clock, sleep
        self._tokens, self._at = max(per_second, 1.0), clock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._at) * self._rate, max(self._rate, 1.0)) - 1
        self._at = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self._rate)
