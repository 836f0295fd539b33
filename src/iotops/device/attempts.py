# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device goes on trying: ever later and at random, and when it stops."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from iotops.device.credentials import Credentials, Which
from iotops.device.errors import ConnectionProblem, NotNow, Refused, TurnedAway


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a device goes. In seconds.

    ``least`` and ``most``: bounds of the pause before another attempt, which doubles and is drawn at random.
    AWS takes one CONNECT a second of a client id. ``settle``: between two pairs. ``network``: for one answer.
    """

    least: float = 1
    most: float = 60
    settle: float = 2
    network: float = 20

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        return random.uniform(self.least, min(self.most, self.least * 2.0 ** min(failures, 32)))  # noqa: S311 - jitter


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a device stops trying. In seconds; 0: never.

    ``alone``: no connection. ``refused``: a certificate that a broker has accepted before is refused, again and again.
    """

    alone: float = 0
    refused: float = 0


class Clock:
    """The time, and waiting."""

    def now(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def date(self) -> float:
        """Return seconds since 1970, which go on while the device is off."""
        return time.time()

    def wait(self, seconds: float, stopped: threading.Event) -> None:
        """Wait, or until stopped."""
        stopped.wait(seconds)


class Attempts:
    """The attempts of one device to connect."""

    def __init__(self, credentials: Credentials, pace: Pace, limits: Limits, now: Callable[[], float]) -> None:
        self._credentials = credentials
        self._pace = pace
        self._limits = limits
        self._now = now
        self._failures = 0
        self._alone_since: float | None = None
        self._refused_since: float | None = None
        self._refused_last = 0.0

    def accepted(self, presented: Which) -> None:
        """Take note that a broker accepted a pair; remembered when the program ends."""
        self._failures, self._alone_since, self._refused_since = 0, None, None
        self._credentials.remember_accepted(presented)

    def failed(self, error: ConnectionProblem, presented: Which) -> float:
        """Return how long to wait before the next attempt.

        Raises:
            NotNow, TurnedAway: there shall be none.

        """
        now = self._now()
        self._alone_since = now if self._alone_since is None else self._alone_since
        if isinstance(error, Refused) and self._credentials.was_accepted(presented):
            self._count_refusal(now, error, presented)
        if self._limits.alone and now - self._alone_since >= self._limits.alone:
            raise NotNow(f"no connection for {self._limits.alone:g} s; last: {error}")
        self._failures += 1
        return self._pace.pause(self._failures)

    def _count_refusal(self, now: float, error: Refused, presented: Which) -> None:
        # A broker that stops or starts also closes connections: refusals far apart are not "again and again".
        if self._refused_since is None or now - self._refused_last > 10 * self._pace.most:
            self._refused_since = now
        self._refused_last = now
        if self._limits.refused and now - self._refused_since >= self._limits.refused:
            raise TurnedAway(
                f"certificate {self._credentials.certificate_id(presented)} was accepted before and has been refused"
                f" for {self._limits.refused:g} s (revoked?), the device stops; last: {error}"
            )
