# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import asyncio
import types

import pytest

pytest.importorskip("ministack", reason="the sandbox's base is not installed")

from iotops.sandbox import mqtt_keep_alive


def connect(keep_alive, level=4, padding=0):
    body = b"\x00\x04MQTT" + bytes([level, 2]) + keep_alive.to_bytes(2, "big") + b"\x00\x01a" + bytes(padding)
    length = len(body)
    encoded = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    return b"\x10" + encoded + body


@pytest.mark.parametrize(("asked", "honoured"), [(60, 60), (5, 30), (30, 30), (1200, 1200), (5000, 1200), (0, 1200)])
def test_the_keep_alive_is_within_the_bounds_of_aws(asked, honoured):
    assert mqtt_keep_alive.seconds(connect(asked)) == honoured
    assert mqtt_keep_alive.seconds(connect(asked, level=5, padding=200)) == honoured


@pytest.mark.parametrize("packet", [b"", b"\xc0\x00", b"\x10\x0c\x00\x04MQ"])
def test_anything_but_a_connect_packet_has_none(packet):
    assert mqtt_keep_alive.seconds(packet) is None


def test_a_silent_session_is_closed_and_a_talking_one_is_not():
    async def accept(_session, _data, _max_buffer):
        return True

    async def scenario():
        feed = mqtt_keep_alive._fed(accept)
        closed = {"silent": 0, "talking": 0}

        def session(name):
            async def send(message):
                closed[name] += message["type"] == "websocket.close"

            return types.SimpleNamespace(_send=send, _cleaned_up=False, _forced_disconnect_reason=None)

        silent, talking = session("silent"), session("talking")
        for one in (silent, talking):
            await feed(one, connect(0), 100)
            one.sandbox_keep_alive = 0.2
            mqtt_keep_alive._look_again(one)
        for _ in range(8):
            await asyncio.sleep(0.1)
            await feed(talking, b"\xc0\x00", 100)
        return closed, silent._forced_disconnect_reason

    closed, reason = asyncio.run(scenario())
    assert closed == {"silent": 1, "talking": 0}
    assert reason == "MQTT_KEEP_ALIVE_TIMEOUT"
