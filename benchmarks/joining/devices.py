# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that join: mutual TLS and two MQTT packets on asyncio, a pause after every refusal."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import contextlib
import random
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 10.0  # seconds; AWS refuses a client id that connects more than once a second
PATIENCE = 900.0  # seconds after which a device gives up
KEEP_ALIVE = 1200  # seconds, AWS's longest
asyncio.sslproto.SSLProtocol.max_size = 16384  # type: ignore[attr-defined]  # bytes of buffer; else 256 KiB a connection


@dataclass
class Device:
    """One device, what it needs to connect, and what it met."""

    name: str
    certificate: Path
    key: Path
    trust: Path
    server_name: str
    refused: int = 0
    # Monotonic seconds.
    first_connect: float = 0.0
    accepted: float = 0.0
    _streams: list[asyncio.StreamWriter] = field(default_factory=list)

    async def join(self, address: str) -> None:
        """Connect until the broker accepts; the connection stays open until ``leave``.

        Raises:
            TimeoutError: not accepted within ``PATIENCE``.

        """
        self.first_connect, pause = time.monotonic(), FIRST_PAUSE
        while not await self.connect(address):
            self.refused += 1
            if time.monotonic() > self.first_connect + PATIENCE:
                raise TimeoutError(f"{self.name}: refused {self.refused} times in {PATIENCE:.0f} s at {address}")
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)
        self.accepted = time.monotonic()

    async def connect(self, address: str) -> bool:
        """One attempt; whether it was accepted."""
        host, _colon, port = address.rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(
                host, int(port), ssl=self._context(), server_hostname=self.server_name, ssl_handshake_timeout=60
            )
        except OSError:  # also ssl.SSLError
            return False
        try:
            writer.write(_connect(self.name))
            answer = await reader.readexactly(4)
        except (OSError, asyncio.IncompleteReadError):
            answer = b""
        if answer != b"\x20\x02\x00\x00":
            writer.transport.abort()
            return False
        self._streams.append(writer)
        return True

    async def leave(self) -> None:
        """Say goodbye."""
        for writer in self._streams:
            with contextlib.suppress(OSError):
                writer.write(b"\xe0\x00")
                writer.close()
                await writer.wait_closed()
        self._streams.clear()

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.trust)
        context.load_cert_chain(self.certificate, self.key)
        return context


def _connect(client_id: str) -> bytes:
    """CONNECT of MQTT 3.1.1, clean session; for client ids up to 115 bytes."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02" + KEEP_ALIVE.to_bytes(2, "big") + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body
