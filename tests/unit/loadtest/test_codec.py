# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes are compared with those that the specifications give, section by section."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iotops.loadtest import codec
from iotops.loadtest.codec import MQTT_3_1_1, MQTT_5, ConnAck, Disconnect, PingResp, SubAck, UnsubAck
from iotops.loadtest.errors import Malformed

VERSIONS = st.sampled_from([MQTT_3_1_1, MQTT_5])


class Heard:
    """What a decoder found, in order."""

    def __init__(self, version: int = MQTT_3_1_1) -> None:
        self.all: list[Any] = []
        self.decoder = codec.Decoder(
            version,
            on_publish=lambda topic, payload, packet_id: self.all.append((topic, payload, packet_id)),
            on_ack=lambda packet_id, code: self.all.append((packet_id, code)),
            on_packet=self.all.append,
        )

    def feed(self, *pieces: bytes) -> list[Any]:
        for piece in pieces:
            self.decoder.feed(piece)
        return self.all


def decoded(data: bytes, version: int = MQTT_3_1_1) -> list[Any]:
    return Heard(version).feed(data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


# What a device says.


def test_connect_of_3_1_1() -> None:
    """3.1: name, level 4, flags, keep alive, then the payload."""
    packet = codec.connect("dev", version=MQTT_3_1_1, clean=True, keep_alive=10)
    assert packet == b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x0a\x00\x03dev"


def test_connect_that_resumes_a_session() -> None:
    packet = codec.connect("dev", version=MQTT_3_1_1, clean=False, keep_alive=0x0102)
    assert packet == b"\x10\x0f\x00\x04MQTT\x04\x00\x01\x02\x00\x03dev"


def test_connect_of_5() -> None:
    """3.1.2.11: properties come after keep alive; 0x27 is the largest packet we read, 0x11 when a session expires."""
    packet = codec.connect("dev", version=MQTT_5, clean=False, keep_alive=60, session_expiry=3600)
    properties = b"\x0a\x27\x01\x00\x00\x00\x11\x00\x00\x0e\x10"
    assert packet == b"\x10\x1a\x00\x04MQTT\x05\x00\x00\x3c" + properties + b"\x00\x03dev"


def test_publish_of_qos_0() -> None:
    assert codec.publish(b"a/b", b"hello") == b"\x30\x0a\x00\x03a/bhello"


def test_publish_of_qos_1() -> None:
    """3.3.1.2 and 3.3.2.2: flag 2, and an identifier between topic and payload."""
    assert codec.publish(b"a/b", b"hi", 10) == b"\x32\x09\x00\x03a/b\x00\x0ahi"


def test_publish_of_5_has_the_length_of_its_properties() -> None:
    assert codec.publish(b"a/b", b"hi", 10, MQTT_5) == b"\x32\x0a\x00\x03a/b\x00\x0a\x00hi"


def test_puback_subscribe_unsubscribe_and_the_short_ones() -> None:
    assert codec.puback(0x1234) == b"\x40\x02\x12\x34"
    assert codec.subscribe(10, "a/+", 1) == b"\x82\x08\x00\x0a\x00\x03a/+\x01"
    assert codec.subscribe(10, "a/+", 1, MQTT_5) == b"\x82\x09\x00\x0a\x00\x00\x03a/+\x01"
    assert codec.unsubscribe(10, "a/+") == b"\xa2\x07\x00\x0a\x00\x03a/+"
    assert codec.unsubscribe(10, "a/+", MQTT_5) == b"\xa2\x08\x00\x0a\x00\x00\x03a/+"
    assert (codec.PINGREQ, codec.DISCONNECT) == (b"\xc0\x00", b"\xe0\x00")


@pytest.mark.parametrize(
    ("size", "length"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\x01"),
     (2097151, b"\xff\xff\x7f"), (2097152, b"\x80\x80\x80\x01")],
)  # fmt: skip
def test_lengths_at_the_borders_of_table_2_4(size: int, length: bytes) -> None:
    if size < 2:
        assert codec._length(size) == length
        return
    packet = codec.publish(b"", bytes(size - 2))
    assert packet[: 1 + len(length)] == b"\x30" + length
    assert decoded(packet) == [(b"", bytes(size - 2), 0)]


def test_a_topic_that_no_packet_can_hold() -> None:
    with pytest.raises(ValueError, match="65536 bytes: at most 65535 fit"):
        codec.publish(b"t" * 65536, b"")


# What a broker says.


def test_connack() -> None:
    assert decoded(b"\x20\x02\x00\x00") == [ConnAck(session_present=False, code=0)]
    assert decoded(b"\x20\x02\x01\x00") == [ConnAck(session_present=True, code=0)]
    assert decoded(b"\x20\x02\x00\x05") == [ConnAck(session_present=False, code=5)]


def test_connack_of_5_with_properties() -> None:
    """3.2.2.3: one of each form, and a pair of texts."""
    properties = b"\x13\x00\x1e\x21\x00\x14\x24\x01\x27\x00\x02\x00\x00\x1f\x00\x02ok\x26\x00\x01k\x00\x01v"
    data = b"\x20" + bytes((len(properties) + 3,)) + b"\x00\x00" + bytes((len(properties),)) + properties
    expected = {0x13: 30, 0x21: 20, 0x24: 1, 0x27: 131072, 0x1F: "ok", 0x26: ("k", "v")}
    assert decoded(data, MQTT_5) == [ConnAck(session_present=False, code=0, properties=expected)]


def test_publish_with_properties_of_5_has_them_left_out() -> None:
    properties = b"\x07\x03\x00\x04json"
    packet = b"\x32\x10\x00\x03a/b\x00\x0a" + properties + b"{"
    assert decoded(packet, MQTT_5) == [(b"a/b", b"{", 10)]


def test_a_repeated_or_retained_publish_is_one() -> None:
    assert decoded(b"\x3b\x06\x00\x01a\x00\x07!") == [(b"a", b"!", 7)]


def test_puback_of_5_in_its_three_lengths() -> None:
    data = b"\x40\x02\x00\x01\x40\x03\x00\x02\x10\x40\x04\x00\x03\x87\x00"
    assert decoded(data, MQTT_5) == [(1, 0), (2, 0x10), (3, 0x87)]


def test_answers_to_subscriptions_pings_and_the_last_word() -> None:
    assert decoded(b"\x90\x03\x00\x0a\x80") == [SubAck(10, b"\x80")]
    assert decoded(b"\x90\x04\x00\x0a\x00\x01", MQTT_5) == [SubAck(10, b"\x01")]
    assert decoded(b"\xb0\x02\x00\x0a") == [UnsubAck(10)]
    assert decoded(b"\xb0\x04\x00\x0a\x00\x11", MQTT_5) == [UnsubAck(10, b"\x11")]
    assert decoded(b"\xd0\x00") == [PingResp()]
    assert decoded(b"\xe0\x00", MQTT_5) == [Disconnect(0)]
    assert decoded(b"\xe0\x02\x8e\x00", MQTT_5) == [Disconnect(0x8E)]


@pytest.mark.parametrize(
    ("data", "version", "what"),
    [
        (b"\x30\xff\xff\xff\xff\x01", MQTT_3_1_1, "more than four bytes"),
        (b"\x30\x81\x80\x80\x08", MQTT_3_1_1, "a packet of 16777217 bytes"),
        (b"\x36\x07\x00\x01a\x00\x01hi", MQTT_3_1_1, "QoS 3"),
        (b"\x34\x07\x00\x01a\x00\x01hi", MQTT_3_1_1, "QoS 2"),
        (b"\x32\x05\x00\x01a\x00\x00", MQTT_3_1_1, "no packet identifier"),
        (b"\x32\x03\x00\x01a", MQTT_3_1_1, "no packet identifier"),
        (b"\x30\x03\x00\x05a", MQTT_3_1_1, "ends before its topic"),
        (b"\x30\x01\x00", MQTT_3_1_1, "ends before its topic"),
        (b"\x30\x00", MQTT_3_1_1, "ends before its topic"),
        (b"\x30\x03\x00\x01a", MQTT_5, "ends 1 bytes before"),
        (b"\x30\x04\x00\x01a\x05", MQTT_5, "ends 5 bytes before"),
        (b"\x40\x02\x00\x00", MQTT_3_1_1, "packet identifier 0"),
        (b"\x40\x03\x00\x01\x00", MQTT_3_1_1, "1 bytes too many"),
        (b"\x42\x02\x00\x01", MQTT_3_1_1, "reserved flags"),
        (b"\x20\x02\x02\x00", MQTT_3_1_1, "CONNACK with flags 0x02"),
        (b"\x20\x02\x01\x05", MQTT_3_1_1, "CONNACK with flags 0x01 and code 5"),
        (b"\x20\x05\x00\x00\x02\x7f\x00", MQTT_5, "unknown property 0x7f"),
        (b"\x20\x07\x00\x00\x04\x1f\x00\x01\xff", MQTT_5, "not UTF-8"),
        (b"\x90\x02\x00\x01", MQTT_3_1_1, "SUBACK without codes"),
        (b"\xe0\x00", MQTT_3_1_1, "type 14"),
        (b"\x50\x02\x00\x01", MQTT_3_1_1, "type 5"),
        (b"\x10\x00", MQTT_3_1_1, "type 1"),
        (b"\x00\x00", MQTT_3_1_1, "type 0"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", MQTT_3_1_1, "reserved flags 0x8 in a packet of type 4"),
    ],
)
def test_what_is_not_mqtt_is_said_in_one_line(data: bytes, version: int, what: str) -> None:
    data += bytes(200)  # whatever follows does not help
    with pytest.raises(Malformed, match=what):
        decoded(data, version)


# Whatever comes in whatever pieces.

IDS = st.integers(1, 65535)
MESSAGES = st.tuples(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 65535))


@given(st.lists(MESSAGES, max_size=20), VERSIONS, st.lists(st.integers(min_value=0), max_size=30))
def test_messages_come_out_as_they_went_in(
    messages: list[tuple[bytes, bytes, int]], version: int, places: list[int]
) -> None:
    stream = b"".join(codec.publish(*message, version) for message in messages)
    assert Heard(version).feed(*cut(stream, places)) == messages


@given(st.lists(st.one_of(IDS, MESSAGES), max_size=20), VERSIONS, st.lists(st.integers(min_value=0), max_size=30))
def test_acknowledgements_among_messages(mixed: list[Any], version: int, places: list[int]) -> None:
    stream = b"".join(codec.puback(each) if isinstance(each, int) else codec.publish(*each, version) for each in mixed)
    expected = [(each, 0) if isinstance(each, int) else each for each in mixed]
    assert Heard(version).feed(*cut(stream, places)) == expected


def test_a_large_message_a_byte_at_a_time() -> None:
    packet = codec.publish(b"topic", bytes(20_000), 9)
    heard = Heard()
    for octet in packet:
        assert heard.all == []
        heard.feed(bytes((octet,)))
    assert heard.all == [(b"topic", bytes(20_000), 9)]


PLAUSIBLE = st.builds(
    lambda first, body: bytes((first,)) + codec._length(len(body)) + body,
    st.integers(0, 255),
    st.binary(max_size=40),
)


def outcome(pieces: list[bytes], version: int) -> tuple[list[Any], str]:
    heard = Heard(version)
    try:
        heard.feed(*pieces)
    except Malformed as error:
        assert "\n" not in str(error)
        return heard.all, str(error)
    return heard.all, ""


@given(
    st.one_of(st.binary(max_size=200), st.lists(PLAUSIBLE, max_size=10).map(b"".join)),
    VERSIONS,
    st.lists(st.integers(min_value=0), max_size=30),
)
@example(b"\x30\x80\x80\x80\x80", MQTT_5, [2])
@example(b"\x00\x80\x80\x80\t", MQTT_3_1_1, [1])
def test_any_bytes_are_read_or_refused_whatever_pieces_they_come_in(
    data: bytes, version: int, places: list[int]
) -> None:
    assert outcome(cut(data, places), version) == outcome([data], version)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_message_that_was_damaged_never_gives_another_error(payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(codec.publish(b"loadtest/dev", payload, 7, MQTT_5))
    place = data.draw(st.integers(0, len(packet) - 1))
    packet[place] = data.draw(st.integers(0, 255))
    outcome([bytes(packet)], MQTT_5)


def test_reasons_in_words() -> None:
    assert codec.reason(MQTT_3_1_1, 5) == "not authorized (0x05)"
    assert codec.reason(MQTT_5, 0x97) == "quota exceeded (0x97)"
    assert codec.reason(MQTT_5, 0xF0) == "reason 0xf0"
