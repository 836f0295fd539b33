# SPDX-License-Identifier: GPL-3.0-or-later
"""MQTT 3.1.1 and 5 as far as a device of AWS IoT needs it: QoS 0 and 1, no retained messages, no topic aliases.

Nothing here knows of sockets. Versions are named as on the wire: 4 is MQTT 3.1.1, 5 is MQTT 5. Numbers in comments are
sections of https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from iotops.loadtest.errors import Malformed

MQTT_3_1_1, MQTT_5 = 4, 5
LARGEST_PACKET = 16 << 20
"""Bytes of the largest packet that is read; MQTT 5 brokers are told."""
FAILURE = 0x80
"""Reason codes from here on are failures."""

_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _UNSUBACK, _PINGRESP, _DISCONNECT = 2, 3, 4, 9, 11, 13, 14
_KINDS = frozenset((_CONNACK, _PUBLISH, _PUBACK, _SUBACK, _UNSUBACK, _PINGRESP))
_MOST_LENGTH_BYTES = 4
_LONGEST_TEXT = 0xFFFF

Property = int | bytes | str | tuple[str, str]


@dataclass(frozen=True)
class ConnAck:
    """The broker's answer to CONNECT. ``code``: 0 when it is yes; ``properties``: by identifier, MQTT 5 only."""

    session_present: bool
    code: int
    properties: dict[int, Property] = field(default_factory=dict)


@dataclass(frozen=True)
class SubAck:
    """The answer to SUBSCRIBE: for each filter the QoS granted, or a failure."""

    packet_id: int
    codes: bytes


@dataclass(frozen=True)
class UnsubAck:
    """The answer to UNSUBSCRIBE; MQTT 3.1.1 has no codes."""

    packet_id: int
    codes: bytes = b""


@dataclass(frozen=True)
class PingResp:
    """The answer to PINGREQ."""


@dataclass(frozen=True)
class Disconnect:
    """The broker's last word (MQTT 5)."""

    code: int
    properties: dict[int, Property] = field(default_factory=dict)


Packet = ConnAck | SubAck | UnsubAck | PingResp | Disconnect

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
SESSION_EXPIRY, RECEIVE_MAXIMUM, SERVER_KEEP_ALIVE, MAXIMUM_PACKET_SIZE, REASON_STRING = 0x11, 0x21, 0x13, 0x27, 0x1F


@lru_cache(4096)
def _length(number: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    encoded = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        encoded.append(low | 0x80 if number else low)
        if not number:
            return bytes(encoded)


def _binary(content: bytes) -> bytes:
    if len(content) > _LONGEST_TEXT:
        raise ValueError(f"{len(content)} bytes: at most {_LONGEST_TEXT} fit into a field of MQTT")
    return len(content).to_bytes(2, "big") + content


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def connect(client_id: str, *, version: int, clean: bool, keep_alive: int, session_expiry: int = 0) -> bytes:
    """Return CONNECT. ``keep_alive`` and ``session_expiry`` (MQTT 5) in seconds."""
    head = _binary(b"MQTT") + bytes((version, 0x02 if clean else 0)) + keep_alive.to_bytes(2, "big")
    if version == MQTT_5:
        properties = bytes((MAXIMUM_PACKET_SIZE,)) + LARGEST_PACKET.to_bytes(4, "big")
        if session_expiry:
            properties += bytes((SESSION_EXPIRY,)) + session_expiry.to_bytes(4, "big")
        head += _length(len(properties)) + properties
    return _packet(0x10, head + _binary(client_id.encode()))


def publish(topic: bytes, payload: bytes, packet_id: int = 0, version: int = MQTT_3_1_1) -> bytes:
    """Return PUBLISH, with QoS 1 when there is a packet identifier."""
    head = _binary(topic)
    if packet_id:
        head += packet_id.to_bytes(2, "big")
    if version == MQTT_5:
        head += b"\0"  # no properties
    return (b"\x32" if packet_id else b"\x30") + _length(len(head) + len(payload)) + head + payload


def puback(packet_id: int) -> bytes:
    """Return PUBACK; in MQTT 5 this short form says success (3.4.2.1)."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def subscribe(packet_id: int, topic_filter: str, qos: int, version: int = MQTT_3_1_1) -> bytes:
    """Return SUBSCRIBE for one filter."""
    properties = b"\0" if version == MQTT_5 else b""
    return _packet(0x82, packet_id.to_bytes(2, "big") + properties + _binary(topic_filter.encode()) + bytes((qos,)))


def unsubscribe(packet_id: int, topic_filter: str, version: int = MQTT_3_1_1) -> bytes:
    """Return UNSUBSCRIBE for one filter."""
    properties = b"\0" if version == MQTT_5 else b""
    return _packet(0xA2, packet_id.to_bytes(2, "big") + properties + _binary(topic_filter.encode()))


class _Fields:
    """The fields of one packet, read in order."""

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        self._data, self._at, self._stop = data, start, stop

    @property
    def left(self) -> int:
        return self._stop - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise Malformed(f"a packet ends {size - self.left} bytes before its last field does")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def length(self) -> int:
        number = 0
        for place in range(_MOST_LENGTH_BYTES):
            octet = self.number(1)
            number |= (octet & 0x7F) << 7 * place
            if octet < 0x80:
                return number
        raise Malformed("a length of more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise Malformed("a text that is not UTF-8") from error

    def packet_id(self) -> int:
        number = self.number(2)
        if not number:
            raise Malformed("packet identifier 0")
        return number

    def skip_properties(self) -> None:
        self.take(self.length())

    def properties(self) -> dict[int, Property]:
        size = self.length()
        self.take(size)
        within = _Fields(self._data, self._at - size, self._at)
        found: dict[int, Property] = {}
        while within.left:
            identifier = within.number(1)
            read = _PROPERTIES.get(identifier)
            if read is None:
                raise Malformed(f"unknown property {identifier:#04x}")
            found[identifier] = read(within)
        return found


def _sized(size: int) -> Callable[[_Fields], Property]:
    return lambda fields: fields.number(size)


def _pair(fields: _Fields) -> Property:
    return fields.text(), fields.text()


_PROPERTIES: dict[int, Callable[[_Fields], Property]] = {  # 2.2.2.2
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), _sized(1)),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), _sized(2)),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), _sized(4)),
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), _Fields.text),
    **dict.fromkeys((0x09, 0x16), _Fields.binary),
    0x0B: _Fields.length,
    0x26: _pair,
}


class Decoder:
    """Finds packets in what a broker sends, in whatever pieces it comes.

    ``on_publish`` gets topic, payload and packet identifier (0: QoS 0); ``on_ack`` packet identifier and reason code of
    a PUBACK; ``on_packet`` all else. Nothing of a packet is handed on before the whole of it is there.
    """

    def __init__(
        self,
        version: int,
        *,
        on_publish: Callable[[bytes, bytes, int], None],
        on_ack: Callable[[int, int], None],
        on_packet: Callable[[Packet], None],
    ) -> None:
        self._is_5 = version == MQTT_5
        self._kinds = _KINDS | {_DISCONNECT} if self._is_5 else _KINDS
        self._on_publish = on_publish
        self._on_ack = on_ack
        self._on_packet = on_packet
        self._pieces: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            Malformed: they are not MQTT; the connection has to be closed.

        """
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:  # joined once only: a large packet comes in many pieces
                return
            data = b"".join(self._pieces)
            self._pieces = []
        at, end = 0, len(data)
        while end - at >= 2:
            start, length = at + 2, data[at + 1]
            if length > 0x7F:
                if data[at] & 0xF0 != _PUBLISH << 4:
                    self._require_kind(data[at])  # the same complaint, whatever pieces it comes in
                start, length = _remaining_length(data, at + 1, end)
            stop = start + length
            if stop > end or not start:
                break
            if data[at] & 0xF0 == _PUBLISH << 4:
                self._publish(data, data[at], start, stop)
            else:
                self._other(data, data[at], start, stop)
            at = stop
        if at < end:
            self._keep(data[at:])

    def _keep(self, rest: bytes) -> None:
        self._require_kind(rest[0])  # who is no broker is not waited for
        start, length = _remaining_length(rest, 1, len(rest))
        self._pieces = [rest]
        self._missing = start + length - len(rest) if start else 1

    def _publish(self, data: bytes, first: int, start: int, stop: int) -> None:
        qos = first & 0x06
        topic = start + 2
        body = topic + (data[start] << 8 | data[start + 1]) if topic <= stop else stop + 1
        packet_id = 0
        if qos == 0x02:
            packet_id = data[body] << 8 | data[body + 1] if body + 2 <= stop else 0
            if not packet_id:
                raise Malformed("PUBLISH with QoS 1 and no packet identifier")
            body += 2
        elif qos:
            raise Malformed(f"PUBLISH with QoS {qos >> 1}, nobody has asked for more than 1")
        if body > stop:
            raise Malformed("PUBLISH ends before its topic does")
        payload = body + self._size_of_properties(data, body, stop) if self._is_5 else body
        self._on_publish(data[topic : topic + (data[start] << 8 | data[start + 1])], data[payload:stop], packet_id)

    @staticmethod
    def _size_of_properties(data: bytes, start: int, stop: int) -> int:
        if start < stop and not data[start]:
            return 1
        fields = _Fields(data, start, stop)
        fields.skip_properties()
        return stop - start - fields.left

    def _other(self, data: bytes, first: int, start: int, stop: int) -> None:
        self._require_kind(first)
        fields, kind = _Fields(data, start, stop), first >> 4
        if kind == _PUBACK:
            packet_id, code = fields.packet_id(), 0
            if self._is_5 and fields.left:
                code = fields.number(1)
            if self._is_5 and fields.left:
                fields.properties()
            self._finish(fields)
            self._on_ack(packet_id, code)
            return
        packet = self._read(kind, fields)
        self._finish(fields)
        self._on_packet(packet)

    def _read(self, kind: int, fields: _Fields) -> Packet:
        if kind == _CONNACK:
            flags, code = fields.number(1), fields.number(1)
            if flags > 1 or (code and flags):
                raise Malformed(f"CONNACK with flags {flags:#04x} and code {code}")
            return ConnAck(bool(flags), code, fields.properties() if self._is_5 and fields.left else {})
        if kind in (_SUBACK, _UNSUBACK):
            return self._read_subscribed(kind, fields)
        if kind == _PINGRESP:
            return PingResp()
        code = fields.number(1) if fields.left else 0
        return Disconnect(code, fields.properties() if fields.left else {})

    def _require_kind(self, first: int) -> None:
        kind, flags = first >> 4, first & 0x0F
        if kind not in self._kinds:
            raise Malformed(f"a packet of type {kind}, which a broker does not send to such a device")
        if flags and kind != _PUBLISH:
            raise Malformed(f"reserved flags {flags:#03x} in a packet of type {kind}")

    def _read_subscribed(self, kind: int, fields: _Fields) -> Packet:
        packet_id = fields.packet_id()
        if self._is_5:
            fields.properties()
        codes = fields.take(fields.left if kind == _SUBACK or self._is_5 else 0)
        if kind == _UNSUBACK:
            return UnsubAck(packet_id, codes)
        if not codes:
            raise Malformed("SUBACK without codes")
        return SubAck(packet_id, codes)

    @staticmethod
    def _finish(fields: _Fields) -> None:
        if fields.left:
            raise Malformed(f"a packet with {fields.left} bytes too many")


def _remaining_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the body of a packet starts, and its length; (0, 0) when that is still to come."""
    number = 0
    for place in range(_MOST_LENGTH_BYTES):
        if at == end:
            return 0, 0
        octet = data[at]
        at += 1
        number |= (octet & 0x7F) << 7 * place
        if octet < 0x80:
            if number > LARGEST_PACKET:
                raise Malformed(f"a packet of {number} bytes, more than {LARGEST_PACKET}")
            return at, number
    raise Malformed("a packet whose length has more than four bytes")


_REASONS = {
    MQTT_3_1_1: {
        0x01: "unacceptable protocol version", 0x02: "identifier rejected", 0x03: "server unavailable",
        0x04: "bad user name or password", 0x05: "not authorized",
    },
    MQTT_5: {
        0x81: "malformed packet", 0x82: "protocol error", 0x83: "implementation specific error",
        0x84: "unsupported protocol version", 0x85: "client identifier not valid", 0x86: "bad user name or password",
        0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned",
        0x8B: "server shutting down", 0x8D: "keep alive timeout", 0x8E: "session taken over",
        0x8F: "topic filter invalid", 0x90: "topic name invalid", 0x93: "receive maximum exceeded",
        0x95: "packet too large", 0x96: "message rate too high", 0x97: "quota exceeded",
        0x98: "administrative action", 0x9C: "use another server", 0x9D: "server moved",
        0x9F: "connection rate exceeded",
    },
}  # fmt: skip


def reason(version: int, code: int) -> str:
    """Return what a reason code says."""
    text = _REASONS.get(version, {}).get(code)
    return f"{text} ({code:#04x})" if text else f"reason {code:#04x}"
