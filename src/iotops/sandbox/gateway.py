# SPDX-License-Identifier: GPL-3.0-or-later
"""What every API call passes through: region cuts, fault rules, the journal, and our own /_sandbox/ paths."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from hypercorn.asyncio.tcp_server import TCPServer

from iotops.sandbox import persistence
from iotops.sandbox.calls import Call, call_of, needs_body, resources_of
from iotops.sandbox.error_bodies import error_answer, throttling
from iotops.sandbox.faults import Fault, Faults
from iotops.sandbox.journal import Journal
from iotops.sandbox.patching import replace

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TIMEOUT = 120.0  # seconds a call with effect ``timeout`` hangs unless the rule says otherwise
_ERROR_CODE = re.compile(rb'"__type"\s*:\s*"(?:[^"#]*#)?([^"]+)"|<Code>([^<]+)</Code>')
_transport: ContextVar[asyncio.Transport | None] = ContextVar("sandbox_gateway_transport", default=None)


class ConnectionReset(Exception):
    """The client is to see a reset connection and no answer."""


class Gateway:
    """The ASGI application in front of the base."""

    def __init__(self, inner: App, admin: App, faults: Faults, journal: Journal) -> None:
        self._inner, self._admin, self._faults, self._journal = inner, admin, faults, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_ministack/"):
            await self._inner(scope, receive, send)
        elif scope["path"].startswith("/_sandbox/"):
            await self._admin(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = None
        if needs_body(headers):
            body, receive = await _read(receive)
        call = call_of(dict(scope), headers, body)
        started = time.perf_counter()
        resources = resources_of(call, scope["path"], body)
        watched = _Watched(send, lambda: self._record(call, resources, watched, (time.perf_counter() - started) * 1000))
        try:
            if call.region in self._faults.cut:
                raise ConnectionReset
            await self._answer(call, scope, receive, watched)
        except ConnectionReset:
            if (transport := _transport.get()) is not None:
                transport.abort()
        finally:
            watched.end()

    async def _answer(self, call: Call, scope: Scope, receive: Receive, send: _Watched) -> None:
        for fault in self._faults.strike(call):
            if fault.effect == "delay":
                await asyncio.sleep(fault.delay or 0)
            else:
                if fault.effect == "fail-after":
                    await self._inner(scope, receive, _nowhere)
                return await _fail(call, fault, send)
        return await self._inner(scope, receive, send)

    def _record(self, call: Call, resources: list[str], watched: _Watched, milliseconds: float) -> None:
        if call.writes:
            persistence.touch()
        self._journal.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "region": call.region,
                "service": call.service,
                "operation": call.operation,
                "resources": resources,
                "caller": call.caller,
                "status": watched.status,
                "error": watched.error,
                "ms": round(milliseconds, 1),
            }
        )


class _Watched:
    """A ``send`` that remembers the status and, of an error, the code.

    The call is recorded before the last byte of the answer leaves: whoever has the answer finds it in the journal.
    """

    def __init__(self, send: Send, record: Callable[[], None]) -> None:
        self._send, self._record, self._ended = send, record, False
        self.status = 0
        self.error: str | None = None

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message.get("headers", ()):
                if name.lower() == b"x-amzn-errortype":
                    self.error = value.decode("latin-1").split(":")[0]
        elif (
            self.status >= 400 and self.error is None and (code := _ERROR_CODE.search(message.get("body", b"")[:4096]))
        ):
            self.error = (code.group(1) or code.group(2)).decode("latin-1")
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.end()
        await self._send(message)

    def end(self) -> None:
        """Record the call, once."""
        if not self._ended:
            self._ended = True
            self._record()


async def _fail(call: Call, fault: Fault, send: Send) -> None:
    if fault.effect == "refuse":
        raise ConnectionReset
    if fault.effect == "timeout":
        await asyncio.sleep(_TIMEOUT if fault.delay is None else fault.delay)
        raise ConnectionReset
    code, status = throttling(call) if fault.effect == "throttle" else (fault.error, fault.status)
    status, headers, body = error_answer(call, code, status, fault.message)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _nowhere(_message: dict[str, Any]) -> None:
    """The answer of a call that is to look failed."""


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a ``receive`` that hands it out again."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    body = b"".join(message.get("body", b"") for message in messages)

    async def again() -> dict[str, Any]:
        return messages.pop(0) if messages else await receive()

    return body, again


def _remembering_transport(original: Any) -> Any:
    async def run(self: Any) -> None:
        _transport.set(self.writer.transport)
        await original(self)

    return run


def install() -> None:
    """Let a request know its TCP transport, the only way to reset a connection from within ASGI."""
    replace(TCPServer, "run", "self", _remembering_transport)
