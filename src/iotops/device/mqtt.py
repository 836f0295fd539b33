# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections with keys in files, by paho-mqtt.

The network work is done inside the calls, so that a device needs no other thread than its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from iotops.device.clocks import trouble
from iotops.device.connection import HTTPS_PORT, KEEP_ALIVE_SECONDS, MQTT_ALPN, Connection, Endpoint, Turns
from iotops.device.credentials import Pair
from iotops.device.errors import ConnectionProblem, Lost, Refused, Unreachable

_TICK_SECONDS = 0.2


class _Socket(ssl.SSLSocket):
    """Tells a server that turns the client away from one that never said who it is."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands.

        Raises:
            Refused: the server has ended it after its own part.

        """
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError:
            raise
        except (ssl.SSLError, ConnectionError) as error:
            if self.cipher() is None:
                raise
            raise Refused(f"in the TLS handshake: {error}") from error


class _NamedContext(ssl.SSLContext):
    """Asks for and verifies one fixed server name, whatever address is dialled."""

    sslsocket_class = _Socket
    server_name: str

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,  # noqa: ARG002 - replaced by the fixed name
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """Wrap ``sock`` for the fixed server name."""
        return super().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, self.server_name, session
        )


class PahoConnection(Connection):
    """A connection with a certificate and a key in files."""

    def __init__(self, turns: Turns, client_id: str, root: Path, pair: Pair) -> None:
        self._turns = turns
        self._endpoint = endpoint = turns.endpoint
        self._closed: str | None = None
        self._accepted: Any = None
        self._answers: dict[int, Sequence[Any]] = {}
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, reconnect_on_failure=False
        )
        context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.server_name = endpoint.server_name
        context.load_verify_locations(cafile=root)
        context.load_cert_chain(pair.certificate, pair.key)
        if endpoint.port == HTTPS_PORT:
            context.set_alpn_protocols([MQTT_ALPN])
        client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = lambda _client, _data, message, reasons, _properties: self._answer(message, reasons)
        client.on_publish = lambda _client, _data, message, reason, _properties: self._answer(message, [reason])
        client.on_message = lambda _client, _data, message: self._inbox.append((message.topic, message.payload))

    def connect(self, timeout: float) -> None:
        """Connect; see Connection."""
        try:
            self._connect(timeout)
        except ConnectionProblem as problem:
            self._turns.failed(problem)
            raise
        self._turns.accepted()

    def _connect(self, timeout: float) -> None:
        self._client.connect_timeout = timeout
        try:
            self._client.connect(self._endpoint.host, self._endpoint.port, keepalive=KEEP_ALIVE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"{self._endpoint.server_name}: {trouble(error)}") from error
        except OSError as error:
            raise Unreachable(f"{self._endpoint.host}:{self._endpoint.port}: {error}") from error
        try:
            self._await(lambda: self._accepted is not None, "CONNECT", timeout)
        except Lost as error:
            raise (Refused if self._closed else Unreachable)(str(error)) from error
        if self._accepted.is_failure:
            raise Refused(f"CONNECT: {self._accepted}")

    @property
    def peer(self) -> Endpoint | None:
        """Who answers; see Connection."""
        try:
            host, port, *_scope = self._client.socket().getpeername()
        except (OSError, AttributeError):  # the connection is gone
            return None
        return Endpoint(host, port, self._endpoint.server_name)

    def subscribe(self, filters: Sequence[str], timeout: float) -> None:
        """Subscribe; see Connection."""
        _code, message = self._client.subscribe([(each, 1) for each in filters])
        self._acknowledged(message, f"SUBSCRIBE {', '.join(filters)}", timeout)

    def publish(self, topic: str, payload: bytes, timeout: float) -> None:
        """Publish; see Connection."""
        self._acknowledged(self._client.publish(topic, payload, qos=1).mid, f"PUBLISH {topic}", timeout)

    def receive(self, timeout: float) -> tuple[str, bytes] | None:
        """Return the next message; see Connection."""
        end = time.monotonic() + timeout
        while not self._inbox:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._work(left, "waiting for messages")
        return self._inbox.popleft()

    def close(self) -> None:
        """Say goodbye, and leave no sockets to the garbage collector: its turn may come after the system's limit."""
        client = self._client
        client.disconnect()
        client.loop(0)
        client.on_connect = client.on_disconnect = client.on_subscribe = client.on_publish = client.on_message = None

    def _acknowledged(self, message: int | None, what: str, timeout: float) -> None:
        self._await(lambda: message in self._answers, what, timeout)
        if any(reason.is_failure for reason in self._answers.pop(message or 0)):
            raise Lost(f"{what}: refused")

    def _await(self, answered: Callable[[], bool], what: str, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not answered():
            if time.monotonic() > end:
                raise Lost(f"{what}: no answer within {timeout:g} s")
            self._work(_TICK_SECONDS, what)

    def _work(self, seconds: float, what: str) -> None:
        if self._closed is None and (code := self._client.loop(seconds)) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._closed = self._closed or str(code)  # on_disconnect knows better
        if self._closed is not None:
            raise Lost(f"{what}: the broker closed the connection ({self._closed})")

    def _answer(self, message: int, reasons: Sequence[Any]) -> None:
        self._answers[message] = reasons

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._accepted = reason

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._closed = str(reason)
