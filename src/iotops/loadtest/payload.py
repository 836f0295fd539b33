# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measured message says: JSON, since topic rules and consumers are to read it, of a layout that is read fast.

``{"sequence":         7,"due":    123456789,"sent":    123456790,"from":"dev-1","host":"3f2a9c01","pad":"..."}``: the
number of the message among those of its device, and when it was due and when it was sent, in microseconds of the
monotonic clock of that host.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import NamedTuple

_HEAD, _DUE, _SENT = b'{"sequence":', b',"due":', b',"sent":'
_FROM, _HOST, _PAD = b',"from":"', b'","host":"', b'","pad":"'
_SEQUENCE_WIDTH, _TIME_WIDTH = 10, 16
_SEQUENCE_AT = len(_HEAD)
_SEQUENCE_END = _SEQUENCE_AT + _SEQUENCE_WIDTH
_DUE_AT = _SEQUENCE_END + len(_DUE)
_DUE_END = _DUE_AT + _TIME_WIDTH
_SENT_AT = _DUE_END + len(_SENT)
_SENT_END = _SENT_AT + _TIME_WIDTH
_FROM_AT = _SENT_END + len(_FROM)
_HOST_WIDTH = 8


class Message(NamedTuple):
    """A measured message. ``due``, ``sent``: microseconds. ``host``: whose clock that is."""

    sequence: int
    due: int
    sent: int
    sender: bytes
    host: bytes


def host_id() -> bytes:
    """What tells hosts apart: processes with the same one have the same monotonic clock."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        text = platform.node()
    return hashlib.sha256(text.encode()).hexdigest()[:_HOST_WIDTH].encode()


class Writer:
    """Makes the messages of one device, of ``size`` octets at least."""

    def __init__(self, name: str, host: bytes, size: int = 0) -> None:
        self._tail = _FROM + name.encode() + _HOST + host + b'"}'
        missing = size - _SENT_END - len(self._tail)
        if missing > 0:
            self._tail = self._tail[:-2] + _PAD + b"x" * max(0, missing - len(_PAD)) + b'"}'

    def write(self, sequence: int, due: int, sent: int) -> bytes:
        """The payload of a message."""
        return b"%s%10d%s%16d%s%16d%s" % (_HEAD, sequence, _DUE, due, _SENT, sent, self._tail)


def read(payload: bytes) -> Message | None:
    """What a payload says, None when it is nobody's message of a load test."""
    if not payload.startswith(_HEAD):
        return None
    end = payload.find(b'"', _FROM_AT)
    host = end + len(_HOST)
    try:
        return Message(
            int(payload[_SEQUENCE_AT:_SEQUENCE_END]),
            int(payload[_DUE_AT:_DUE_END]),
            int(payload[_SENT_AT:_SENT_END]),
            payload[_FROM_AT:end],
            payload[host : host + _HOST_WIDTH],
        )
    except ValueError:
        return None


def stamped(payload: bytes, by: str, took: int) -> bytes:
    """A message as who received it sends it on: with his name, and the microseconds that he had it for."""
    return b'%s,"by":"%s","took":%d}' % (payload[:-1], by.encode(), took)
