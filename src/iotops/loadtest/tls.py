# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS between bytes and bytes, one context for all devices of a process.

asyncio's own TLS holds 256 KiB a connection. It also makes the TLS object of a connection only when the event loop gets
there, while a context has the certificate that was loaded last: with one context for many devices some would show that
of another. Here the object is made right after its certificate was loaded, and there are no buffers but those of
OpenSSL, which gives them back between messages.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from iotops.loadtest.errors import ConnectionTrouble, LoadTestError, Refused, Unreachable

if TYPE_CHECKING:
    from iotops.loadtest.identities import Identity
    from iotops.loadtest.target import Target

_RECORD = 16 << 10  # bytes at most (RFC 8446, 5.1); a read never gives more than one record
_READ = memoryview(bytearray(256 << 10))  # one for all: a loop reads one connection at a time
_ROOM = len(_READ) - _RECORD


@lru_cache(64)
def _context(root: str, alpn: tuple[str, ...], *, certified: bool) -> ssl.SSLContext:  # noqa: ARG001 - of the key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if not root:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(root)
    except OSError as error:
        what = "it is no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise LoadTestError(f"root {root}: {what}: give the file of the broker's root") from error
    return context


class Channel:
    """The TLS of one connection. Raises ssl.SSLError from ``start``, ``receive`` and ``send``: see ``trouble``.

    ``established``: bytes can be sent; ``finished``: the peer has said that nothing follows.
    """

    __slots__ = ("_incoming", "_outgoing", "_tls", "established", "finished")

    def __init__(self, target: Target, identity: Identity | None) -> None:
        context = _context(target.root, target.alpn, certified=identity is not None)
        if identity is not None:
            _load(context, identity)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=target.asked_name)
        self.established = self.finished = False

    def start(self) -> bytes:
        """Return the first bytes to send."""
        self._shake_hands()
        return self._outgoing.read()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def receive(self, data: bytes) -> bytes:
        """Return what the peer says in these bytes; ``to_send`` may have something afterwards."""
        incoming, tls = self._incoming, self._tls
        incoming.write(data)
        if not self.established:
            self._shake_hands()
            if not self.established:
                return b""
        size = 0
        pieces = []
        read = tls.read
        while incoming.pending:
            try:
                count = cast(int, read(_RECORD, _READ[size:]))
            except ssl.SSLWantReadError:
                break
            if not count:
                self.finished = True
                break
            size += count
            if size > _ROOM:
                pieces.append(bytes(_READ[:size]))
                size = 0
        last = bytes(_READ[:size])
        return b"".join((*pieces, last)) if pieces else last

    def send(self, data: bytes) -> bytes:
        """Return the bytes that say this to the peer."""
        self._tls.write(data)
        return self._outgoing.read()

    def to_send(self) -> bytes:
        """Return what has to be sent besides."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> bytes:
        """Return the bytes that tell the peer that nothing follows."""
        with suppress(ssl.SSLError):  # its answer is still to come, which nobody waits for
            self._tls.unwrap()
        return self._outgoing.read()


def _load(context: ssl.SSLContext, identity: Identity) -> None:
    try:
        context.load_cert_chain(identity.certificate, identity.key)
    except OSError as error:  # SSLError is one
        missing = error.filename or (f"{identity.certificate} or {identity.key}" if error.errno == 2 else "")
        what = f"{missing}: {error.strerror}" if missing else f"{identity.certificate}: not a pair with {identity.key}"
        raise LoadTestError(f"device {identity.name}: {what}: restore its files or leave it out") from error


def trouble(error: ssl.SSLError, target: Target) -> ConnectionTrouble:
    """Return what an error of TLS means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(f"{target}: its certificate is not trusted: {error.verify_message}")
    return Refused(f"{target}: {(error.reason or str(error)).replace('_', ' ').lower()}")
