# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections with a key in a PKCS#11 token, by the AWS IoT Device SDK v2 (awscrt), which signs in the token.

It dials the name that it asks for: an endpoint whose host is another one cannot be connected to.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awscrt.io import Pkcs11Lib
from awsiot import mqtt5_client_builder

from iotops.device.connection import KEEP_ALIVE_SECONDS, Connection, Endpoint
from iotops.device.credentials import Pair
from iotops.device.errors import ConnectionProblem, Lost, Refused, Unreachable
from iotops.device.token import Token

_REFUSALS = (
    "AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE",
    "AWS_IO_TLS_ERROR_ALERT_RECEIVED",
    "AWS_IO_SOCKET_CLOSED",
    "AWS_ERROR_MQTT_UNEXPECTED_HANGUP",
)
_GOODBYE_SECONDS = 5
_NEVER_MILLISECONDS = 600_000
# Reason codes of MQTT 5 from here on are failures.
_LEAST_FAILURE = 0x80


class _Events:
    """What the client tells, from its own threads.

    Knows neither the client nor an exception that was raised, whose traceback knows it: they would live for ever.
    """

    def __init__(self, server_name: str) -> None:
        self._server_name = server_name
        self.connected: Future[tuple[type[ConnectionProblem], str] | None] = Future()
        self.stopped = threading.Event()
        self.closed = ""
        self.inbox: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()

    def on_success(self, _data: mqtt5.LifecycleConnectSuccessData) -> None:
        """Connected."""
        self.connected.set_result(None)

    def on_failure(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        """Not connected."""
        if data.connack_packet is not None:
            self.connected.set_result((Refused, f"CONNECT: {data.connack_packet.reason_code.name}"))
        else:
            name = _name(data.exception)
            problem = Refused if name in _REFUSALS else Unreachable
            self.connected.set_result((problem, f"{self._server_name}: {name}"))

    def on_disconnection(self, data: mqtt5.LifecycleDisconnectData) -> None:
        """Connected no more."""
        self.closed = _name(data.exception)
        self.inbox.put(None)

    def on_stopped(self, _data: mqtt5.LifecycleStoppedData) -> None:
        """Stopped as it was told to."""
        self.stopped.set()

    def on_publish(self, data: mqtt5.PublishReceivedData) -> None:
        """A message."""
        self.inbox.put((data.publish_packet.topic, bytes(data.publish_packet.payload or b"")))


class SdkConnection(Connection):
    """A connection with a certificate in a file and a key in a token."""

    def __init__(
        self, endpoint: Endpoint, client_id: str, root: Path, pair: Pair, token: Token, library: Pkcs11Lib
    ) -> None:
        self._server_name = endpoint.server_name
        self._events = events = _Events(endpoint.server_name)
        self._client = mqtt5_client_builder.mtls_with_pkcs11(
            pkcs11_lib=library,
            user_pin=token.pin,
            token_label=token.label,
            private_key_label=pair.key,
            cert_filepath=str(pair.certificate),
            ca_filepath=str(root),
            endpoint=endpoint.server_name,
            port=endpoint.port,
            client_id=client_id,
            keep_alive_interval_sec=KEEP_ALIVE_SECONDS,
            session_behavior=mqtt5.ClientSessionBehaviorType.CLEAN,
            # It would connect again by itself: the device stops it long before.
            min_reconnect_delay_ms=_NEVER_MILLISECONDS,
            max_reconnect_delay_ms=_NEVER_MILLISECONDS,
            on_publish_received=events.on_publish,
            on_lifecycle_connection_success=events.on_success,
            on_lifecycle_connection_failure=events.on_failure,
            on_lifecycle_disconnection=events.on_disconnection,
            on_lifecycle_stopped=events.on_stopped,
        )

    def connect(self, timeout: float) -> None:
        """Connect; see Connection."""
        self._client.start()
        try:
            problem = self._events.connected.result(timeout)
        except FutureTimeout as error:
            raise Unreachable(f"{self._server_name}: no answer within {timeout:g} s") from error
        if problem:
            kind, text = problem
            raise kind(text)

    def subscribe(self, filters: Sequence[str], timeout: float) -> None:
        """Subscribe; see Connection."""
        wanted = [mqtt5.Subscription(topic_filter=each, qos=mqtt5.QoS.AT_LEAST_ONCE) for each in filters]
        packet, what = mqtt5.SubscribePacket(subscriptions=wanted), f"SUBSCRIBE {', '.join(filters)}"
        self._granted(self._answer(self._client.subscribe(packet), what, timeout).reason_codes, what)

    def publish(self, topic: str, payload: bytes, timeout: float) -> None:
        """Publish; see Connection."""
        packet, what = (
            mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE),
            f"PUBLISH {topic}",
        )
        self._granted([self._answer(self._client.publish(packet), what, timeout).puback.reason_code], what)

    def receive(self, timeout: float) -> tuple[str, bytes] | None:
        """Return the next message; see Connection."""
        try:
            received = self._events.inbox.get(timeout=timeout)
        except queue.Empty:
            return None
        if received is None:
            raise Lost(f"waiting for messages: the broker closed the connection ({self._events.closed})")
        return received

    def close(self) -> None:
        """Say goodbye."""
        self._client.stop(mqtt5.DisconnectPacket())
        self._events.stopped.wait(_GOODBYE_SECONDS)

    def _answer(self, promised: Future[Any], what: str, timeout: float) -> Any:
        try:
            return promised.result(timeout)
        except FutureTimeout as error:
            raise Lost(f"{what}: no answer within {timeout:g} s") from error
        except AwsCrtError as error:
            raise Lost(f"{what}: {self._events.closed or error.name}") from error

    @staticmethod
    def _granted(codes: Sequence[Any], what: str) -> None:
        if any(code >= _LEAST_FAILURE for code in codes):
            raise Lost(f"{what}: refused")


def _name(error: Exception | None) -> str:
    return getattr(error, "name", str(error))


def library(token: Token) -> Pkcs11Lib:
    """Return the token's module as awscrt knows it. One for a process."""
    return Pkcs11Lib(file=str(token.module))
