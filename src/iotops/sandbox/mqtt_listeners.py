# SPDX-License-Identifier: GPL-3.0-or-later
"""One mutual-TLS MQTT listener per region; a connection belongs to the region of the address it was made to.

The base has one listener for all regions and refuses a certificate that is ACTIVE in two of them as ambiguous. Here the
listener's region travels in a context variable, and every look-up of a presented certificate is limited to it.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import functools
import socket
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import iot

from iotops.sandbox import persistence
from iotops.sandbox.addresses import bind_region, endpoint_of, iot_regions
from iotops.sandbox.mqtt_trust import context_for
from iotops.sandbox.patching import replace

listener_region: ContextVar[str] = ContextVar("sandbox_listener_region", default="")
_cut: set[str] = set()
_transports: dict[str, set[asyncio.Transport]] = {}


class Acceptor(iot._MtlsAcceptor):
    """The base's acceptor for connections to one region's address."""

    def __init__(self, region: str) -> None:
        self.region = region

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the TLS upgrade, unless the region is cut off."""
        if self.region in _cut:
            transport.abort()
            return
        _transports.setdefault(self.region, set()).add(transport)
        persistence.touch()
        super().connection_made(transport)

    async def _upgrade(self, transport: asyncio.Transport) -> None:
        listener_region.set(self.region)  # of this task alone: everything the connection does happens in it
        # Before 3.11.4 a pause from within connection_made is undone right after it, and the ClientHello would be lost.
        transport.resume_reading()
        transport.pause_reading()
        try:
            await super()._upgrade(transport)
        finally:
            _transports[self.region].discard(transport)
            persistence.touch()


async def listen(remembered: Mapping[str, str]) -> dict[str, str]:
    """Open the listener of every region; returns region -> ``host:port``.

    ``remembered`` holds the addresses of the last run, so that a device that has one keeps it.
    """
    loop = asyncio.get_running_loop()
    bound = {region: bind_region(region, remembered) for region in iot_regions()}
    servers = [await _serve(loop, region, listener) for region, listener in bound.items()]
    iot._mtls_server, iot._mtls_loop = _Servers(servers), loop
    return {region: endpoint_of(listener) for region, listener in bound.items()}


async def _serve(loop: asyncio.AbstractEventLoop, region: str, listener: socket.socket) -> asyncio.AbstractServer:
    return await loop.create_server(functools.partial(Acceptor, region), sock=listener, backlog=1024)


class _Servers(list[asyncio.AbstractServer]):
    """All listeners under the one name that the base closes."""

    def close(self) -> None:
        """Close every listener."""
        for server in self:
            server.close()


def cut(region: str) -> None:
    """Reset the region's connections and refuse new ones, until ``restore``."""
    _cut.add(region)
    for transport in list(_transports.get(region, ())):
        transport.abort()


def restore(region: str) -> None:
    """Accept connections again."""
    _cut.discard(region)


def is_cut(region: str) -> bool:
    """Whether nobody reaches the region."""
    return region in _cut


def _start_nothing(_original: Any) -> Any:
    async def mtls_start_locked() -> None:
        """The base would listen on 0.0.0.0; ``listen`` has opened the regions' own addresses."""

    return mtls_start_locked


def _context(_original: Any) -> Any:
    async def mtls_context() -> ssl.SSLContext:
        return await asyncio.to_thread(context_for, listener_region.get(), None)

    return mtls_context


def _registrations_here(original: Any) -> Any:
    def mtls_active_registrations(cert_id: str, status: str | None = "ACTIVE") -> list[tuple[str, str, dict[str, Any]]]:
        region = listener_region.get()
        if not region:
            return list(original(cert_id, status))
        account = get_account_id()
        record = iot._certificates.get_scoped(account, region, cert_id)
        return [(account, region, record)] if record and status in (None, record.get("status")) else []

    return mtls_active_registrations


def _signers_here(original: Any) -> Any:
    def mtls_auto_registering_signers(cert_pem: str, server_name: str | None = None) -> list[tuple[str, str, str]]:
        region = listener_region.get()
        return [signer for signer in original(cert_pem, server_name) if region in ("", signer[1])]

    return mtls_auto_registering_signers


def _reason_here(_original: Any) -> Any:
    def mtls_refusal_reason(cert_id: str) -> str:
        region = listener_region.get()
        record = iot._certificates.get_scoped(get_account_id(), region, cert_id)
        return f"{record['status']} in {region}" if record else f"not registered in {region}"

    return mtls_refusal_reason


def install() -> None:
    """Make the base look up certificates in the listener's region and leave the listening to us."""
    asyncio.sslproto.SSLProtocol.max_size = 16384  # bytes; else 256 KiB a connection
    replace(iot, "_mtls_start_locked", "", _start_nothing)
    replace(iot, "_mtls_context", "", _context)
    replace(iot, "_mtls_active_registrations", "cert_id, status", _registrations_here)
    replace(iot, "_mtls_auto_registering_signers", "cert_pem, server_name", _signers_here)
    replace(iot, "_mtls_refusal_reason", "cert_id", _reason_here)
