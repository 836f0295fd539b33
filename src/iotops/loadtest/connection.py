# SPDX-License-Identifier: GPL-3.0-or-later
"""One device's session with a broker.

Packets that are sent in one turn of the event loop leave together: one TLS record, one system call.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import cast

from iotops.loadtest import codec, tls
from iotops.loadtest.errors import ConnectionTrouble, Lost, Malformed, Refused, Unreachable
from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Resolver, Target

WINDOW = 100
"""QoS 1 messages on their way at a time, AWS IoT's quota; a broker of MQTT 5 may allow fewer."""
_LAST_PACKET_ID = 0xFFFF
_FAREWELL = 5.0  # seconds for the last bytes to leave

_resolver = Resolver()
Acknowledged = Callable[[], None] | None


@dataclass(frozen=True)
class Options:
    """How a session is opened. ``version``: 4 is MQTT 3.1.1. ``session_expiry``, ``keep_alive``, ``timeout``: seconds.

    ``keep_alive`` 0: no pings. ``session_expiry`` needs MQTT 5.
    """

    client_id: str
    version: int = codec.MQTT_3_1_1
    clean: bool = True
    session_expiry: int = 0
    keep_alive: int = 60
    timeout: float = 30


class Connection(asyncio.Protocol):
    """An open session; ``open`` makes one. Not of use any more when it was lost, closed or aborted.

    ``connect_seconds``: from the first SYN to CONNACK. ``in_flight``: QoS 1 messages without PUBACK yet, those included
    that wait for a place. ``rejected``: those whose PUBACK said no (MQTT 5).
    """

    def __init__(
        self,
        target: Target,
        identity: Identity | None,
        options: Options,
        on_message: Callable[[bytes, bytes], None],
        on_lost: Callable[[ConnectionTrouble], None],
    ) -> None:
        self._target, self._options, self._version = target, options, options.version
        self._on_message, self._on_lost = on_message, on_lost
        self._channel = tls.Channel(target, identity) if target.tls else None
        self._decoder = codec.Decoder(
            options.version, on_publish=self._published, on_ack=self._acknowledged, on_packet=self._answered
        )
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[bytes] = []
        self._acks: dict[int, Acknowledged] = {}
        self._waiting: deque[tuple[bytes, bytes, Acknowledged]] = deque()
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._ids = count(1)
        self._window = WINDOW
        self._scheduled = self._paused = self._ended = self._sent = self._heard = self._pinged = False
        self.connect_seconds = 0.0
        self.session_present = False
        self.rejected = 0

    @classmethod
    async def open(
        cls,
        target: Target,
        identity: Identity | None,
        options: Options,
        *,
        on_message: Callable[[bytes, bytes], None],
        on_lost: Callable[[ConnectionTrouble], None],
    ) -> Connection:
        """Return a session that the broker has accepted.

        ``on_message`` gets topic and payload of each message; ``on_lost`` is called once if the session ends otherwise
        than by ``close`` or ``abort``. Both are called in the event loop and must not block it.

        Raises:
            Refused, Unreachable: there is none.
            LoadTestError: the identity's files or the root are not what they should be.

        """
        connection = cls(target, identity, options, on_message, on_lost)
        try:
            async with asyncio.timeout(options.timeout):
                await connection._connect(await _resolver.addresses(target))
                await connection._ready
        except TimeoutError as error:
            connection._drop()
            raise Unreachable(f"{target}: no answer within {options.timeout:g} s") from error
        except BaseException:
            connection._drop()
            raise
        return connection

    async def _connect(self, addresses: tuple[str, ...]) -> None:
        error: OSError | None = None
        for address in random.sample(addresses, len(addresses)):
            self.connect_seconds = -time.perf_counter()
            try:
                await self._loop.create_connection(lambda: self, address, self._target.port)
            except OSError as problem:
                error = problem
            else:
                return
        why = os.strerror(error.errno) if error and error.errno else error
        raise Unreachable(f"{self._target}: {why}") from error

    @property
    def in_flight(self) -> int:
        """QoS 1 messages that are not acknowledged yet."""
        return len(self._acks) + len(self._waiting)

    @property
    def congested(self) -> bool:
        """Whether the network takes less than was written: to go on writing fills memory."""
        return self._paused

    def publish(self, topic: bytes, payload: bytes, qos: int = 0, on_ack: Acknowledged = None) -> None:
        """Send a message at the end of this turn, with QoS 1 when there is a place in the window.

        Raises:
            Lost: the session has ended.

        """
        if self._ended:
            raise Lost(f"{self._target}: the session has ended")
        if not qos:
            self._write(codec.publish(topic, payload, 0, self._version))
        elif len(self._acks) < self._window:
            self._send(topic, payload, on_ack)
        else:
            self._waiting.append((topic, payload, on_ack))

    def _send(self, topic: bytes, payload: bytes, on_ack: Acknowledged) -> None:
        packet_id = self._next_id()
        self._acks[packet_id] = on_ack
        self._write(codec.publish(topic, payload, packet_id, self._version))

    def _next_id(self) -> int:
        packet_id = next(self._ids)
        if packet_id > _LAST_PACKET_ID:
            self._ids = count(1)
            return self._next_id()
        return self._next_id() if packet_id in self._acks or packet_id in self._answers else packet_id

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe to one filter.

        Raises:
            Refused: the broker does not allow it.
            Lost: the session has ended.

        """
        if self._ended:
            raise Lost(f"{self._target}: the session has ended")
        packet_id = self._next_id()
        answer = self._answers[packet_id] = self._loop.create_future()
        self._write(codec.subscribe(packet_id, topic_filter, qos, self._version))
        try:
            async with asyncio.timeout(self._options.timeout):
                codes = await answer
        except TimeoutError as error:
            raise Refused(f"{self._target}: no answer to the subscription to {topic_filter}") from error
        finally:
            self._answers.pop(packet_id, None)
        if codes[0] >= codec.FAILURE:
            reason = codec.reason(self._version, codes[0])
            raise Refused(f"{self._target}: no subscription to {topic_filter}: {reason}", codes[0])

    async def close(self) -> None:
        """Say goodbye and wait until that has left."""
        if self._ended or self._transport is None:
            return
        self._write(codec.DISCONNECT)
        self._flush()
        self._stop()
        if self._channel is not None:
            self._transport.write(self._channel.end())
        self._gone = self._loop.create_future()
        self._transport.close()
        try:
            await asyncio.wait_for(self._gone, _FAREWELL)
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """Vanish, as a device does whose power goes."""
        self._drop()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        if self._ended:  # given up meanwhile
            self._transport.abort()
        elif self._channel is None:
            self._greet()
        else:
            self._transport.write(self._channel.start())

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._heard = True
        self._scheduled = True  # what is written below leaves below
        try:
            if self._channel is not None:
                data = self._decrypt(self._channel, data)
            if data:
                self._decoder.feed(data)
        except Malformed as error:
            self._fail(f"not MQTT: {error}")
        except ssl.SSLError as error:
            self._end(tls.trouble(error, self._target))
        self._flush()

    def _decrypt(self, channel: tls.Channel, data: bytes) -> bytes:
        established = channel.established
        data = channel.receive(data)
        if self._transport is not None and (waiting := channel.to_send()):
            self._transport.write(waiting)
        if channel.established and not established:
            self._greet()
        return data

    def pause_writing(self) -> None:  # noqa: D102
        self._paused = True

    def resume_writing(self) -> None:  # noqa: D102
        self._paused = False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        how = "broke" if exc else "was closed by the broker"
        self._fail(f"the connection {how}{'' if self._is_open else ' before CONNACK'}")
        self._transport = None

    # What the decoder calls.

    def _published(self, topic: bytes, payload: bytes, packet_id: int) -> None:
        self._on_message(topic, payload)
        if packet_id:
            self._write(codec.puback(packet_id))

    def _acknowledged(self, packet_id: int, code: int) -> None:
        on_ack = self._acks.pop(packet_id, None)
        if code >= codec.FAILURE:
            self.rejected += 1
        elif on_ack is not None:
            on_ack()
        if self._waiting and not self._ended and len(self._acks) < self._window:
            self._send(*self._waiting.popleft())

    def _answered(self, packet: codec.Packet) -> None:
        match packet:
            case codec.ConnAck():
                self._welcomed(packet)
            case codec.SubAck():
                answer = self._answers.get(packet.packet_id)
                if answer is not None and not answer.done():
                    answer.set_result(packet.codes)
            case codec.Disconnect():
                self._fail(f"the broker ended the session: {codec.reason(self._version, packet.code)}")

    def _welcomed(self, packet: codec.ConnAck) -> None:
        if self._is_open:
            raise Malformed("a second CONNACK")
        if packet.code:
            reason = codec.reason(self._version, packet.code)
            self._end(Refused(f"{self._target}: CONNACK: {reason}", packet.code))
            return
        self.connect_seconds += time.perf_counter()
        self.session_present = packet.session_present
        self._window = min(WINDOW, cast(int, packet.properties.get(codec.RECEIVE_MAXIMUM, WINDOW)))
        keep_alive = cast(int, packet.properties.get(codec.SERVER_KEEP_ALIVE, self._options.keep_alive))
        if keep_alive:
            self._tick(keep_alive / 2)
        if not self._ready.done():
            self._ready.set_result(None)

    # Writing.

    def _greet(self) -> None:
        options = self._options
        self._write(
            codec.connect(
                options.client_id,
                version=options.version,
                clean=options.clean,
                keep_alive=options.keep_alive,
                session_expiry=options.session_expiry,
            )
        )

    def _write(self, packet: bytes) -> None:
        self._out.append(packet)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        out = self._out
        if not out or self._ended or self._transport is None:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        self._sent = True
        self._transport.write(data if self._channel is None else self._channel.send(data))

    def _tick(self, period: float) -> None:
        """Ping when nothing was sent for a period, so never later than after two."""
        if self._pinged and not self._heard:
            self._fail(f"no answer to a ping for {period:g} s")
            return
        self._pinged = not self._sent
        if self._pinged:
            self._write(codec.PINGREQ)
            self._flush()
        self._sent = self._heard = False
        self._timer = self._loop.call_later(period, self._tick, period)

    # The end.

    @property
    def _is_open(self) -> bool:
        return self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None

    def _fail(self, text: str) -> None:
        kind = Lost if self._is_open else Refused
        self._end(kind(f"{self._target}: {text}"))

    def _end(self, trouble: ConnectionTrouble) -> None:
        if self._ended:
            return
        was_open = self._is_open
        self._drop()
        if not was_open:
            if not self._ready.done():
                self._ready.set_exception(trouble)
            return
        lost = trouble if isinstance(trouble, Lost) else Lost(str(trouble))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(lost)
        self._on_lost(lost)

    def _drop(self) -> None:
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _stop(self) -> None:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


__all__ = ["WINDOW", "Connection", "Options"]
