# SPDX-License-Identifier: GPL-3.0-or-later
"""One device's session with a broker."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from iotops.loadtest import codec
from iotops.loadtest.errors import ConnectionTrouble, Lost, Malformed, Refused, Unreachable
from iotops.loadtest.identities import Identity
from iotops.loadtest.link import Link
from iotops.loadtest.target import Target

WINDOW = 100
"""QoS 1 messages on their way at a time, AWS IoT's quota; a broker of MQTT 5 may allow fewer."""
_LAST_PACKET_ID = 0xFFFF

OnAck = Callable[[], None] | None


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


class Connection:
    """An open session; ``open`` makes one. Not of use any more when it was lost, closed or aborted.

    ``connect_seconds``: from the first SYN to CONNACK. ``rejected``: messages whose PUBACK said no (MQTT 5). What was
    not acknowledged when a session ended is not sent again: whoever counts messages would count it twice.
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
        self._loop = asyncio.get_running_loop()
        decoder = codec.Decoder(
            options.version, on_publish=self._published, on_ack=self._acknowledged, on_packet=self._answered
        )
        self._link = Link(target, identity, on_ready=self._greet, on_data=decoder.feed, on_end=self._ended)
        self._write = self._link.write
        self._welcome: asyncio.Future[None] | None = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._acks: dict[int, OnAck] = {}
        self._waiting: deque[tuple[bytes, bytes, OnAck]] = deque()
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._last_id = 0
        self._window = WINDOW
        self._pinged = False
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
        welcome = cast("asyncio.Future[None]", connection._welcome)
        try:
            async with asyncio.timeout(options.timeout):
                await connection._link.connect()
                await welcome
        except TimeoutError as error:
            connection.abort()
            raise Unreachable(f"{target}: no answer within {options.timeout:g} s") from error
        except BaseException:
            connection.abort()
            raise
        connection._welcome = None
        return connection

    @property
    def in_flight(self) -> int:
        """QoS 1 messages without PUBACK yet, those included that wait for a place in the window."""
        return len(self._acks) + len(self._waiting)

    @property
    def congested(self) -> bool:
        """Whether the network takes less than was written: to go on writing fills memory."""
        return self._link.congested

    def publish(self, topic: bytes, payload: bytes, qos: int = 0, on_ack: OnAck = None) -> None:
        """Send a message at the end of this turn, with QoS 1 when there is a place in the window.

        Raises:
            Lost: the session has ended.

        """
        self._require_open()
        if not qos:
            self._write(codec.publish(topic, payload, 0, self._version))
        elif len(self._acks) < self._window:
            self._send(topic, payload, on_ack)
        else:
            self._waiting.append((topic, payload, on_ack))

    def _require_open(self) -> None:
        if self._link.ended:
            raise Lost(f"{self._target}: the session has ended")

    def _send(self, topic: bytes, payload: bytes, on_ack: OnAck) -> None:
        packet_id = self._next_id()
        self._acks[packet_id] = on_ack
        self._write(codec.publish(topic, payload, packet_id, self._version))

    def _next_id(self) -> int:
        packet_id = self._last_id % _LAST_PACKET_ID + 1
        while packet_id in self._acks or packet_id in self._answers:
            packet_id = packet_id % _LAST_PACKET_ID + 1
        self._last_id = packet_id
        return packet_id

    async def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe to one filter.

        Raises:
            Refused: the broker does not allow it.
            Lost: the session has ended.

        """
        self._require_open()
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
        self._stop_pinging()
        if not self._link.ended:
            self._write(codec.DISCONNECT)
        await self._link.close()

    def abort(self) -> None:
        """Vanish, as a device does whose power goes."""
        self._stop_pinging()
        self._link.abort()

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
        if self._waiting and len(self._acks) < self._window and not self._link.ended:
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
                reason = codec.reason(self._version, packet.code)
                self._link.fail(Refused(f"{self._target}: the broker ended the session: {reason}", packet.code))

    # The session.

    def _greet(self) -> None:
        options = self._options
        packet = codec.connect(
            options.client_id,
            version=options.version,
            clean=options.clean,
            keep_alive=options.keep_alive,
            session_expiry=options.session_expiry,
        )
        self._write(packet)

    def _welcomed(self, packet: codec.ConnAck) -> None:
        if self._welcome is None or self._welcome.done():
            raise Malformed("a second CONNACK")
        if packet.code:
            reason = codec.reason(self._version, packet.code)
            self._link.fail(Refused(f"{self._target}: {reason}", packet.code))
            return
        self.connect_seconds = time.perf_counter() - self._link.started
        self.session_present = packet.session_present
        self._window = min(WINDOW, cast(int, packet.properties.get(codec.RECEIVE_MAXIMUM, WINDOW)))
        keep_alive = cast(int, packet.properties.get(codec.SERVER_KEEP_ALIVE, self._options.keep_alive))
        if keep_alive:
            self._tick(keep_alive / 2)
        self._welcome.set_result(None)

    def _tick(self, period: float) -> None:
        """Ping when nothing was sent for a period, so never later than after two."""
        link = self._link
        if self._pinged and not link.heard:
            link.fail(Lost(f"{self._target}: no answer to a ping for {period:g} s"))
            return
        self._pinged = not link.sent
        if self._pinged:
            self._write(codec.PINGREQ)
        link.sent = link.heard = False
        self._timer = self._loop.call_later(period, self._tick, period)

    def _stop_pinging(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ended(self, trouble: ConnectionTrouble) -> None:
        self._stop_pinging()
        welcome = self._welcome
        if welcome is not None and not welcome.done():
            welcome.set_exception(trouble)
            return
        lost = Lost(str(trouble))
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(lost)
        self._on_lost(lost)


__all__ = ["WINDOW", "Connection", "Options"]
