# SPDX-License-Identifier: GPL-3.0-or-later
"""A TLS server that shows what a test wants."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from pathlib import Path

from tests.certificates import Issued


class Shown:
    """A server on loopback; ``pairs`` are shown one after the other, the last one from then on."""

    def __init__(self, directory: Path, *pairs: Issued, chain: str) -> None:
        self.handshakes = 0
        self._contexts = itertools.chain(contexts := [self._context(directory, each, chain) for each in pairs])
        self._last = contexts[-1]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def _context(directory: Path, made: Issued, chain: str) -> ssl.SSLContext:
        path = directory / f"{made.fingerprint}.pem"
        path.write_text(made.pem + chain + made.key_pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _address = self._listener.accept()
                self.handshakes += 1
                with contextlib.suppress(OSError):
                    next(self._contexts, self._last).wrap_socket(plain, server_side=True).close()

    def close(self) -> None:
        """Answer nobody any more."""
        self._listener.close()
