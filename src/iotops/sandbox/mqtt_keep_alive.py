# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that is silent for one and a half times its keep-alive is closed (MQTT 3.1.1, section 3.1.2.10).

AWS IoT accepts 30 to 1200 seconds; less counts as 30, and 0 or more as 1200.
https://docs.aws.amazon.com/general/latest/gr/iot-core.html
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ministack.services import iot

from iotops.sandbox.patching import replace

SHORTEST, LONGEST = 30, 1200  # seconds
_CONNECT = 0x10


def seconds(packet: bytes) -> int | None:
    """The keep-alive that the broker honours for this CONNECT packet; None for anything else."""
    if not packet or packet[0] & 0xF0 != _CONNECT:
        return None
    at = 1
    while at < len(packet) and packet[at] & 0x80:  # the remaining length has up to four bytes
        at += 1
    name = int.from_bytes(packet[at + 1 : at + 3], "big")
    found = packet[at + 5 + name : at + 7 + name]  # after protocol name, level and flags
    if len(found) < 2:
        return None
    asked = int.from_bytes(found, "big")
    return min(max(asked, SHORTEST), LONGEST) if asked else LONGEST


def _fed(original: Any) -> Any:
    async def feed_session(session: Any, data: bytes, max_buffer: int) -> bool:
        session.sandbox_heard_at = time.monotonic()
        if not hasattr(session, "sandbox_keep_alive") and (allowed := seconds(data)) is not None:
            session.sandbox_keep_alive = allowed
            _look_again(session)
        return bool(await original(session, data, max_buffer))

    return feed_session


def _look_again(session: Any) -> None:
    """Close the session when it has been silent too long, else look again when it could have been."""
    silent = time.monotonic() - session.sandbox_heard_at
    left = 1.5 * session.sandbox_keep_alive - silent
    loop = asyncio.get_running_loop()
    if session._cleaned_up:
        return
    if left > 0:
        loop.call_later(left, _look_again, session)
        return
    session._forced_disconnect_reason = "MQTT_KEEP_ALIVE_TIMEOUT"
    session.sandbox_closing = loop.create_task(session._send({"type": "websocket.close", "code": 1000}))


def install() -> None:
    """Watch every session's packets."""
    replace(iot, "_feed_session", "session, data, max_buffer", _fed)
