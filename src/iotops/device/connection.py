# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to the broker, as the device needs it: one attempt, and calls that wait for their answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from iotops.device.errors import ConnectionProblem, DeviceError, Refused

HTTPS_PORT = 443
MQTT_ALPN = "x-amzn-mqtt-ca"
KEEP_ALIVE_SECONDS = 60


@dataclass(frozen=True)
class Endpoint:
    """Where to dial, and the server name to ask for there."""

    host: str
    port: int
    server_name: str

    @classmethod
    def parse(cls, server_name: str, address: str = "") -> Endpoint:
        """Return the endpoint; ``address`` is ``host`` or ``host:port``, the server's name and 8883 unless given.

        Raises:
            DeviceError: the port is none.

        """
        host, _colon, port = address.partition(":")
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise DeviceError(f"--address {address}: {port!r} is no port: give host or host:port")
        return cls(host or server_name, int(port or 8883), server_name)


class Turns:
    """Endpoints of which a device uses one as long as that works, else the next. At least one."""

    _REFUSALS = 3

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = deque(endpoints)
        self._refusals = 0

    @property
    def endpoint(self) -> Endpoint:
        """The one whose turn it is."""
        return self._endpoints[0]

    def accepted(self) -> None:
        """Stay with it."""
        self._refusals = 0

    def failed(self, problem: ConnectionProblem) -> None:
        """Go on to the next; of a broker that refuses only after a while, for a new device is refused at first."""
        self._refusals += isinstance(problem, Refused)
        if not isinstance(problem, Refused) or self._refusals >= self._REFUSALS:
            self._endpoints.rotate(-1)
            self._refusals = 0


class Connection(ABC):
    """One MQTT connection with a clean session. Used by one thread."""

    @abstractmethod
    def connect(self, timeout: float) -> None:
        """Connect.

        Raises:
            Refused, Unreachable: see their docstrings.

        """

    @property
    def peer(self) -> Endpoint | None:
        """Who answers, to be dialled again; None when that is not known."""
        return None

    @abstractmethod
    def subscribe(self, filters: Sequence[str], timeout: float) -> None:
        """Subscribe with QoS 1.

        Raises:
            Lost: the connection ended, or no answer came.

        """

    @abstractmethod
    def publish(self, topic: str, payload: bytes, timeout: float) -> None:
        """Publish with QoS 1 and wait for the acknowledgement.

        Raises:
            Lost: the connection ended (AWS ends that of who may not publish there), or no acknowledgement came.

        """

    @abstractmethod
    def receive(self, timeout: float) -> tuple[str, bytes] | None:
        """Return the next message as topic and payload; None when none came in time.

        Raises:
            Lost: the connection ended.

        """

    @abstractmethod
    def close(self) -> None:
        """Say goodbye; harmless when the connection is gone already."""
