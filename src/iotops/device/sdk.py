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
from iotops.device.errors import Lost, Refused, Unreachable
from iotops.device.token import Token

_REFUSALS = (
    "AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE",
    "AWS_IO_TLS_ERROR_ALERT_RECEIVED",
    "AWS_IO_SOCKET_CLOSED",
    "AWS_ERROR_MQTT_UNEXPECTED_HANGUP",
)
_GOODBYE_SECONDS = 5


class SdkConnection(Connection):
    """A connection with a certificate in a file and a key in a token."""

    def __init__(
        self, endpoint: Endpoint, client_id: str, root: Path, pair: Pair, token: Token, library: Pkcs11Lib
    ) -> None:
        self._endpoint = endpoint
        self._connected: Future[None] = Future()
        self._stopped = threading.Event()
        self._closed: str | None = None
        self._inbox: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
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
            on_publish_received=self._on_publish,
            on_lifecycle_connection_success=lambda _data: self._connected.set_result(None),
            on_lifecycle_connection_failure=self._on_failure,
            on_lifecycle_disconnection=self._on_disconnect,
            on_lifecycle_stopped=lambda _data: self._stopped.set(),
        )

    def connect(self, timeout: float) -> None:
        """Connect; see Connection."""
        self._client.start()
        try:
            self._connected.result(timeout)
        except FutureTimeout as error:
            raise Unreachable(f"{self._endpoint.server_name}: no answer within {timeout:g} s") from error

    def subscribe(self, filters: Sequence[str], timeout: float) -> None:
        """Subscribe; see Connection."""
        wanted = [mqtt5.Subscription(topic_filter=each, qos=mqtt5.QoS.AT_LEAST_ONCE) for each in filters]
        packet = mqtt5.SubscribePacket(subscriptions=wanted)
        answer = self._answer(self._client.subscribe(packet), f"SUBSCRIBE {', '.join(filters)}", timeout)
        self._granted(answer.reason_codes, f"SUBSCRIBE {', '.join(filters)}")

    def publish(self, topic: str, payload: bytes, timeout: float) -> None:
        """Publish; see Connection."""
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        answer = self._answer(self._client.publish(packet), f"PUBLISH {topic}", timeout)
        self._granted([answer.puback.reason_code], f"PUBLISH {topic}")

    def receive(self, timeout: float) -> tuple[str, bytes] | None:
        """Return the next message; see Connection."""
        try:
            received = self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None
        if received is None:
            raise Lost(f"waiting for messages: the broker closed the connection ({self._closed})")
        return received

    def close(self) -> None:
        """Say goodbye."""
        self._client.stop(mqtt5.DisconnectPacket())
        self._stopped.wait(_GOODBYE_SECONDS)

    def _answer(self, promised: Future[Any], what: str, timeout: float) -> Any:
        try:
            return promised.result(timeout)
        except FutureTimeout as error:
            raise Lost(f"{what}: no answer within {timeout:g} s") from error
        except AwsCrtError as error:
            raise Lost(f"{what}: {self._closed or error.name}") from error

    @staticmethod
    def _granted(codes: Sequence[Any], what: str) -> None:
        if any(code >= 0x80 for code in codes):
            raise Lost(f"{what}: refused")

    def _on_failure(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        self._client.stop()  # it would try again by itself
        if self._connected.done():
            return
        if data.connack_packet is not None:
            self._connected.set_exception(Refused(f"CONNECT: {data.connack_packet.reason_code.name}"))
        else:
            name = getattr(data.exception, "name", str(data.exception))
            problem = Refused if name in _REFUSALS else Unreachable
            self._connected.set_exception(problem(f"{self._endpoint.server_name}: {name}"))

    def _on_disconnect(self, data: mqtt5.LifecycleDisconnectData) -> None:
        self._client.stop()
        self._closed = getattr(data.exception, "name", str(data.exception))
        self._inbox.put(None)

    def _on_publish(self, data: mqtt5.PublishReceivedData) -> None:
        self._inbox.put((data.publish_packet.topic, bytes(data.publish_packet.payload or b"")))


def library(token: Token) -> Pkcs11Lib:
    """Return the token's module as awscrt knows it. One for a process."""
    return Pkcs11Lib(file=str(token.module))
