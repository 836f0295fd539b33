# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker that does what a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from iotops.loadtest.target import Target

CONNACK = b"\x20\x02\x00\x00"
CONNACK_OF_5 = b"\x20\x03\x00\x00\x00"
PINGRESP = b"\xd0\x00"
CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


@dataclass
class Peer:
    """One connection as the broker sees it. ``types``: of all packets read so far."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    types: list[int] = field(default_factory=list)

    async def read(self) -> tuple[int, bytes]:
        """Return type and body of the next packet."""
        first = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            octet = (await self.reader.readexactly(1))[0]
            length |= (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
        self.types.append(first >> 4)
        return first >> 4, await self.reader.readexactly(length)

    async def welcome(self, connack: bytes = CONNACK) -> None:
        """Read CONNECT and answer it."""
        await self.read()
        self.writer.write(connack)

    async def read_all(self) -> None:
        """Read until the device is gone."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.read()


@asynccontextmanager
async def broker(
    script: Callable[[Peer], Awaitable[None]], context: ssl.SSLContext | None = None, root: str = ""
) -> AsyncIterator[Target]:
    """Run one on a free port; each connection is closed at the end of the script."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(Peer(reader, writer))
        finally:
            with suppress(ConnectionError, ssl.SSLError):
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Target.parse(f"localhost:{port}", address="127.0.0.1", root=root, tls=context is not None)
    finally:
        server.close()
