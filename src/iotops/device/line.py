# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays connected, or connects again; what is said over the connection is for the classes that are made of it."""

from __future__ import annotations

import errno
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing

from iotops.device.attempts import Attempts, Clock, Limits, Pace
from iotops.device.connection import Connection
from iotops.device.credentials import Credentials, Pair, Which
from iotops.device.errors import ConnectionProblem, Refused
from iotops.device.rotation import Patience, Rotation

Dial = Callable[[Pair], Connection]
SLICE_SECONDS = 1.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Line(ABC):
    """One device on the line.

    Raises:
        DeviceError: a file is missing, damaged or does not fit.

    """

    def __init__(
        self,
        credentials: Credentials,
        dial: Dial,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.credentials = credentials
        self._dial = dial
        self._pace = pace or Pace()
        self._clock = clock or Clock()
        self._attempts = Attempts(credentials, self._pace, limits or Limits(), self._clock.now)
        self.rotation = Rotation(credentials, patience, self._clock.now)
        self._log = logging.getLogger(f"iotops.device.{credentials.thing_name}")
        self._stopped = threading.Event()
        self._connection: Connection | None = None
        credentials.check()

    def stop(self) -> None:
        """End soon; from any thread or signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Connect, and again, until stopped.

        Raises:
            DeviceError: a pair cannot be read any more, or the limits are reached.

        """
        while not self._stopped.is_set():
            presented = self.rotation.presents
            try:
                with closing(self.open(presented)) as self._connection:
                    self._attempts.accepted(presented)
                    self._serve(presented)
                pause = self._pace.settle
            except ConnectionProblem as error:
                self._log.warning("%s: %s", type(error).__name__.lower(), error)
                if isinstance(error, Refused):
                    self.rotation.refused(presented, str(error))
                pause = self._attempts.failed(error, presented)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._log.error("%s: %s: the device goes on when there is room", error.filename, error.strerror)
                pause = self._pace.most
            self._clock.wait(pause, self._stopped)

    def open(self, presented: Which) -> Connection:
        """Connect with the current or the next pair.

        Raises:
            Refused, Unreachable: see their docstrings.

        """
        connection = self._dial(self.credentials.pair(presented))
        try:
            connection.connect(self._pace.network)
        except ConnectionProblem:
            connection.close()
            raise
        return connection

    @abstractmethod
    def _serve(self, presented: Which) -> None:
        """Do what there is to do over ``self._connection``, until it is done or another pair is to be presented."""
