# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages by hand: a line that publishes, and one that prints what it hears. Neither does jobs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from iotops.device.credentials import Which
from iotops.device.line import SLICE_SECONDS, Line

# Control characters, and those that end a line in Unicode.
_CONTROLS = {
    **{code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))},
    **{9: "\\t", 10: "\\n", 13: "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029"},
}


class Publisher(Line):
    """Publishes a message a number of times, each until it was acknowledged. ``pause``: seconds between two."""

    def __init__(self, *arguments: Any, topic: str, payload: bytes, count: int, pause: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._topic = topic
        self._payload = payload
        self._count = count
        self._pause = pause
        self._published = 0

    def _serve(self, presented: Which) -> None:  # noqa: ARG002 - whichever was presented
        assert self._connection  # noqa: S101
        while not self._stopped.is_set():
            self._connection.publish(self._topic, self._payload, self._pace.network)
            self._published += 1
            self._log.info("published %d of %d to %s", self._published, self._count, self._topic)
            if self._published >= self._count:
                self.stop()
            else:
                self._rest()

    def _rest(self) -> None:
        assert self._connection  # noqa: S101
        end = self._clock.now() + self._pause
        while not self._stopped.is_set() and (left := end - self._clock.now()) > 0:
            self._connection.receive(min(left, SLICE_SECONDS))  # keeps the connection alive


class Subscriber(Line):
    """Hands on what it hears as topic and payload, until it was ``count`` messages; 0: for ever."""

    def __init__(
        self, *arguments: Any, topic: str, count: int, heard: Callable[[str, bytes], None], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._topic = topic
        self._left = count or -1
        self._heard = heard

    def _serve(self, presented: Which) -> None:  # noqa: ARG002 - whichever was presented
        assert self._connection  # noqa: S101
        self._connection.subscribe([self._topic], self._pace.network)
        self._log.info("subscribed to %s", self._topic)
        while not self._stopped.is_set():
            if received := self._connection.receive(SLICE_SECONDS):
                self._heard(*received)
                self._left -= 1
                if not self._left:
                    self.stop()


def line_of(topic: str, payload: bytes) -> bytes:
    r"""Return one line of UTF-8; what is none, or would end the line, is shown as ``\xff`` or ``\n``."""
    text = f"{topic} {payload.decode('utf-8', errors='backslashreplace')}"
    return text.translate(_CONTROLS).encode("utf-8", errors="backslashreplace") + b"\n"


def bytes_of(argument: str) -> bytes:
    """Return a command-line argument as the bytes that it was given as, whatever the locale."""
    return os.fsencode(argument)
