# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One MQTT 3.1.1 connection of one device. Private to the collection.

Ports and ALPN: https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import (
    Denied,
    Dropped,
    Unanswered,
    Unreachable,
    Untrusted,
)
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity, client_context

HTTPS_PORT = 443
MQTT_ALPN = "x-amzn-mqtt-ca"
KEEP_ALIVE_SECONDS = 60
TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Endpoint:
    """Where to dial, and the server name to ask for there."""

    host: str
    port: int
    server_name: str

    @classmethod
    def parse(cls, address: str, *, server_name: str) -> Endpoint:
        """Return the endpoint of ``host`` or ``host:port`` (8883 without a port).

        Raises:
            ValueError: the port is no number.

        """
        host, _colon, port = address.partition(":")
        return cls(host=host, port=int(port or 8883), server_name=server_name)


class Session:
    """A clean MQTT session; its network work is done inside its calls, so it needs no thread of its own."""

    def __init__(self, *, identity: Identity, endpoint: Endpoint, client_id: str | None = None) -> None:
        self._endpoint = endpoint
        self._closed: str | None = None
        self._answer: Any = None
        self._answers: dict[int, Any] = {}
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id or identity.thing_name,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        context = client_context(identity=identity, server_name=endpoint.server_name)
        if endpoint.port == HTTPS_PORT:
            context.set_alpn_protocols([MQTT_ALPN])
        self._client.tls_set_context(context)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, *, timeout: float) -> None:
        """Connect and wait for the broker's word.

        Raises:
            Unreachable, Untrusted, Dropped, Denied, Unanswered: see their docstrings.

        """
        self._client.connect_timeout = timeout
        try:
            self._client.connect(self._endpoint.host, self._endpoint.port, keepalive=KEEP_ALIVE_SECONDS)
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(
                f"{self._endpoint.server_name}: {error.verify_message} (a new domain configuration may take AWS up to"
                " 60 minutes to serve: try again later)"
            ) from error
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError) as error:
            raise Dropped(f"during the TLS handshake: {error}") from error
        except OSError as error:
            raise Unreachable(f"{self._endpoint.host}:{self._endpoint.port}: {error}") from error
        self._wait(lambda: self._answer is not None, what="CONNECT", timeout=timeout)
        if self._answer.is_failure:
            raise Denied(f"CONNECT refused: {self._answer}")

    def subscribe(self, topic_filter: str, *, timeout: float) -> None:
        """Subscribe with QoS 1.

        Raises:
            Denied: the broker refused the filter.
            Dropped, Unanswered: see their docstrings.

        """
        _code, message_id = self._client.subscribe(topic_filter, qos=1)
        what = f"SUBSCRIBE {topic_filter}"
        self._wait(lambda: message_id in self._answers, what=what, timeout=timeout)
        reasons = self._answers.pop(message_id)
        if any(reason.is_failure for reason in reasons):
            raise Denied(f"{what} refused")

    def publish(self, topic: str, payload: str, *, timeout: float) -> float:
        """Publish with QoS 1 and return the seconds until the broker acknowledged it.

        Raises:
            Dropped, Unanswered: see their docstrings; AWS closes the connection of who may not publish there.

        """
        started = time.monotonic()
        message_id = self._client.publish(topic, payload, qos=1).mid
        self._wait(lambda: message_id in self._answers, what=f"PUBLISH {topic}", timeout=timeout)
        del self._answers[message_id]
        return time.monotonic() - started

    def close(self) -> None:
        """Say goodbye and close the socket; harmless when the connection is gone already."""
        self._client.disconnect()
        self._client.loop(TICK_SECONDS)

    def _wait(self, answered: Callable[[], bool], *, what: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while not answered():
            if self._closed is not None:
                raise Dropped(f"{what}: connection closed by the broker ({self._closed})")
            if time.monotonic() > deadline:
                raise Unanswered(f"{what}: no answer within {timeout:g} s")
            self._client.loop(TICK_SECONDS)

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._answer = reason

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._closed = str(reason)

    def _on_subscribe(self, _client: Client, _data: Any, message_id: int, reasons: Any, _properties: Any) -> None:
        self._answers[message_id] = reasons

    def _on_publish(self, _client: Client, _data: Any, message_id: int, reason: Any, _properties: Any) -> None:
        self._answers[message_id] = reason


__all__ = ["Endpoint", "Session"]
