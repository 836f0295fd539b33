# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes to a broker and back, through TLS or plain TCP.

What is written in one turn of the event loop leaves together: one TLS record, one system call.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable
from typing import cast

from iotops.loadtest import tls
from iotops.loadtest.errors import ConnectionTrouble, Malformed, Refused, Unreachable
from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Resolver, Target

_FAREWELL = 5.0  # seconds for the last bytes to leave

_resolver = Resolver()


class Link(asyncio.Protocol):
    """One connection. ``on_ready`` is called when bytes can be sent, ``on_data`` with those that come.

    ``on_end`` is called once when it ends otherwise than by ``close`` or ``abort``; it may come before ``on_ready``.
    ``started``: of the clock time.perf_counter, right before the first SYN. ``sent`` and ``heard``: whether anything
    was since they were set to False. ``ended``: nothing is sent any more.
    """

    def __init__(
        self,
        target: Target,
        identity: Identity | None,
        *,
        on_ready: Callable[[], None],
        on_data: Callable[[bytes], None],
        on_end: Callable[[ConnectionTrouble], None],
    ) -> None:
        self._target = target
        self._on_ready, self._on_data, self._on_end = on_ready, on_data, on_end
        self._channel = tls.Channel(target, identity) if target.tls else None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] | None = None
        self._out: list[bytes] = []
        self._scheduled = False
        self.started = 0.0
        self.congested = self.sent = self.heard = self.ended = False

    async def connect(self) -> None:
        """Connect to any of the target's addresses.

        Raises:
            Unreachable: nobody is there.

        """
        addresses = await _resolver.addresses(self._target)
        error: OSError | None = None
        for address in random.sample(addresses, len(addresses)):
            self.started = time.perf_counter()
            try:
                await self._loop.create_connection(lambda: self, address, self._target.port)
            except OSError as problem:
                error = problem
            else:
                return
        why = os.strerror(error.errno) if error and error.errno else error
        raise Unreachable(f"{self._target}: {why}") from error

    def write(self, data: bytes) -> None:
        """Send at the end of this turn of the event loop."""
        self._out.append(data)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        out = self._out
        if not out or self.ended or self._transport is None:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self._out = []
        self.sent = True
        try:
            self._transport.write(data if self._channel is None else self._channel.send(data))
        except ssl.SSLError as error:
            self.fail(tls.trouble(error, self._target))

    async def close(self) -> None:
        """Send what was written and wait until that has left."""
        if self.ended or self._transport is None:
            return
        self._flush()
        self.ended = True
        if self._channel is not None:
            self._transport.write(self._channel.end())
        self._gone = self._loop.create_future()
        self._transport.close()
        try:
            await asyncio.wait_for(self._gone, _FAREWELL)
        except TimeoutError:
            self._transport.abort()

    def abort(self) -> None:
        """Send nothing more and vanish."""
        self.ended = True
        if self._transport is not None:
            self._transport.abort()

    def fail(self, trouble: ConnectionTrouble) -> None:
        """End it because of this."""
        if not self.ended:
            self.abort()
            self._on_end(trouble)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        self._transport = cast(asyncio.Transport, transport)
        if self.ended:  # given up meanwhile
            self._transport.abort()
        elif self._channel is None:
            self._on_ready()
        else:
            self._transport.write(self._channel.start())

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self.heard = True
        self._scheduled = True  # what is written below leaves below
        try:
            if self._channel is not None:
                data = self._decrypt(self._channel, data)
            if data:
                self._on_data(data)
            if self._channel is not None and self._channel.finished:
                self.fail(Refused(f"{self._target}: the connection was closed by the broker"))
        except Malformed as error:
            self.fail(Refused(f"{self._target}: not MQTT: {error}"))
        except ssl.SSLError as error:
            self.fail(tls.trouble(error, self._target))
        self._flush()

    def _decrypt(self, channel: tls.Channel, data: bytes) -> bytes:
        established = channel.established
        data = channel.receive(data)
        if self._transport is not None and (waiting := channel.to_send()):
            self._transport.write(waiting)
        if channel.established and not established:
            self._on_ready()
        return data

    def pause_writing(self) -> None:  # noqa: D102
        self.congested = True

    def resume_writing(self) -> None:  # noqa: D102
        self.congested = False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: D102
        self._transport = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self.fail(Refused(f"{self._target}: the connection {'broke' if exc else 'was closed by the broker'}"))


__all__ = ["Link"]
