# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iotops.loadtest import codec
from iotops.loadtest.connection import WINDOW, Connection, Options
from iotops.loadtest.errors import ConnectionTrouble, LoadTestError, Lost, Refused, Unreachable
from iotops.loadtest.identities import Identity
from iotops.loadtest.target import Target
from tests.certificates import Issued, issue
from tests.unit.loadtest.scripted_broker import (
    CONNACK_OF_5,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    Peer,
    broker,
)

Script = Callable[[Peer], Awaitable[None]]
OPTIONS = Options("dev", timeout=5)


class Device:
    """What a connection told its owner."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.lost: list[ConnectionTrouble] = []

    async def open(self, target: Target, identity: Identity | None = None, options: Options = OPTIONS) -> Connection:
        return await Connection.open(
            target,
            identity,
            options,
            on_message=lambda topic, payload: self.messages.append((topic, payload)),
            on_lost=self.lost.append,
        )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def vanish(_peer: Peer) -> None:
    pass


async def vanish_at_connect(peer: Peer) -> None:
    await peer.read()


def answering(data: bytes) -> Script:
    async def script(peer: Peer) -> None:
        await peer.read()
        peer.writer.write(data)
        await peer.read_all()

    return script


def opening_fails(script: Script, kind: type[ConnectionTrouble], what: str, options: Options = OPTIONS) -> Any:
    device, raised = Device(), []

    async def scenario() -> None:
        async with broker(script) as target:
            with pytest.raises(kind, match=what) as info:
                await device.open(target, options=options)
            raised.append(info.value)
            await asyncio.sleep(0.01)

    run(scenario)
    assert device.lost == []  # it never was there
    return raised[0]


# Opening.


def test_nobody_there() -> None:
    async def scenario() -> None:
        async with broker(vanish) as target:
            pass
        with pytest.raises(Unreachable, match=r"localhost:\d+: Connection refused"):
            await Device().open(target)

    run(scenario)


@pytest.mark.parametrize("script", [vanish, vanish_at_connect])
def test_a_broker_that_closes_the_connection_refuses(script: Script) -> None:
    """So does AWS IoT with a certificate that it sees for the first time (JITR): no CONNACK, nothing."""
    assert opening_fails(script, Refused, "the connection (was closed|broke)").code is None


def test_a_broker_that_says_no() -> None:
    assert opening_fails(answering(b"\x20\x02\x00\x05"), Refused, "not authorized").code == 5
    of_5 = Options("dev", version=5)
    assert opening_fails(answering(b"\x20\x03\x00\x97\x00"), Refused, "quota exceeded", of_5).code == 0x97


def test_a_broker_that_never_answers() -> None:
    quick = Options("dev", timeout=0.1)
    opening_fails(lambda peer: peer.read_all(), Unreachable, r"no answer within 0\.1 s", quick)


def test_something_that_is_no_broker() -> None:
    opening_fails(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Refused, "not MQTT: reserved flags")
    opening_fails(answering(b"\x30\x03\x00\x09a"), Refused, "not MQTT: PUBLISH ends before its topic")


def test_who_gives_up_while_it_opens_leaves_nothing_behind() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_all()
        gone.set()

    async def scenario() -> None:
        async with broker(script) as target:
            opening = asyncio.create_task(Device().open(target))
            await asyncio.sleep(0.05)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await gone.wait()

    run(scenario)


def test_how_long_it_took_and_whether_the_session_was_known() -> None:
    async def script(peer: Peer) -> None:
        await peer.read()
        await asyncio.sleep(0.05)
        peer.writer.write(b"\x20\x02\x01\x00")
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await Device().open(target, options=Options("dev", clean=False))
            assert connection.session_present
            assert 0.05 <= connection.connect_seconds < 1
            await connection.close()

    run(scenario)


# The end.


def test_a_loss_is_told_once() -> None:
    device = Device()

    async def scenario() -> None:
        async with broker(Peer.welcome) as target:
            connection = await device.open(target)
            await until(lambda: bool(device.lost))
            with pytest.raises(Lost, match="the session has ended"):
                connection.publish(b"t", b"")
            with pytest.raises(Lost, match="the session has ended"):
                await connection.subscribe("t", 0)
            connection.abort()
            await connection.close()
            await asyncio.sleep(0.01)

    run(scenario)
    assert [type(lost) for lost in device.lost] == [Lost]


def test_a_broker_of_5_says_why() -> None:
    device = Device()

    async def scenario() -> None:
        async with broker(answering(CONNACK_OF_5 + b"\xe0\x02\x8e\x00")) as target:
            await device.open(target, options=Options("dev", version=5))
            await until(lambda: bool(device.lost))

    run(scenario)
    assert "session taken over (0x8e)" in str(device.lost[0])


@pytest.mark.parametrize("how", ["close", "abort"])
def test_an_end_that_was_wanted_is_no_loss(how: str) -> None:
    device, peers = Device(), []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.welcome()
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await device.open(target)
            connection.publish(b"t", b"last word")
            if how == "close":
                await connection.close()
            else:
                connection.abort()
            await asyncio.sleep(0.05)

    run(scenario)
    assert peers[0].types == ([CONNECT, PUBLISH, DISCONNECT] if how == "close" else [CONNECT])
    assert device.lost == []


# Messages.


@pytest.mark.parametrize(
    ("version", "connack", "window"),
    [(4, b"\x20\x02\x00\x00", WINDOW), (5, b"\x20\x06\x00\x00\x03\x21\x00\x05", 5), (5, CONNACK_OF_5, WINDOW)],
)
def test_no_more_are_on_their_way_than_the_broker_allows(version: int, connack: bytes, window: int) -> None:
    on_their_way: list[int] = []
    acknowledged: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(connack)
        open_ids: list[bytes] = []
        with pytest.raises(asyncio.IncompleteReadError):
            while True:
                try:
                    async with asyncio.timeout(0.05):
                        _kind, body = await peer.read()
                except TimeoutError:
                    on_their_way.append(len(open_ids))
                    peer.writer.write(b"".join(b"\x40\x02" + packet_id for packet_id in open_ids))
                    open_ids = []
                else:
                    open_ids.append(body[3:5])

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await Device().open(target, options=Options("dev", version=version))
            for number in range(2 * window + 1):
                connection.publish(b"t", b"", 1, lambda number=number: acknowledged.append(number))
            assert connection.in_flight == 2 * window + 1
            await until(lambda: connection.in_flight == 0)
            connection.abort()

    run(scenario)
    assert [count for count in on_their_way if count] == [window, window, 1]
    assert acknowledged == list(range(2 * window + 1))


def test_a_message_that_the_broker_does_not_take() -> None:
    acknowledged: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.welcome(CONNACK_OF_5)
        for code in (b"\x87", b"\x10"):
            _kind, body = await peer.read()
            peer.writer.write(b"\x40\x03" + body[3:5] + code)
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await Device().open(target, options=Options("dev", version=5))
            for number in range(2):
                connection.publish(b"t", b"", 1, lambda number=number: acknowledged.append(number))
            await until(lambda: connection.in_flight == 0)
            assert connection.rejected == 1
            connection.abort()

    run(scenario)
    assert acknowledged == [1]  # "no subscriber" is a yes


def test_messages_come_in_order_and_are_acknowledged() -> None:
    device = Device()
    answers: list[tuple[int, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.writer.write(codec.publish(b"a", b"0") + codec.publish(b"b", b"1", 7) + codec.publish(b"c", b"2", 8))
        answers.extend([await peer.read(), await peer.read()])
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await device.open(target)
            await until(lambda: len(answers) == 2)
            connection.abort()

    run(scenario)
    assert device.messages == [(b"a", b"0"), (b"b", b"1"), (b"c", b"2")]
    assert answers == [(PUBACK, b"\x00\x07"), (PUBACK, b"\x00\x08")]


def test_what_is_published_in_one_turn_leaves_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []

    async def scenario() -> None:
        async with broker(answering(b"\x20\x02\x00\x00")) as target:
            connection = await Device().open(target)
            transport = connection._link._transport
            assert transport is not None
            monkeypatch.setattr(connection._link, "_transport", transport)
            original = transport.write
            monkeypatch.setattr(transport, "write", lambda data: (writes.append(len(data)), original(data)))
            for _ in range(100):
                connection.publish(b"t", b"1234")
            await asyncio.sleep(0.01)
            connection.abort()

    run(scenario)
    assert writes == [100 * len(codec.publish(b"t", b"1234"))]


def test_a_network_that_takes_less_is_seen() -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        await go_on.wait()
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await Device().open(target)
            assert not connection.congested
            while not connection.congested:
                connection.publish(b"t", bytes(100_000))
                await asyncio.sleep(0)
            go_on.set()
            await until(lambda: not connection.congested)
            connection.abort()

    run(scenario)


def test_a_subscription_that_is_not_allowed() -> None:
    async def script(peer: Peer) -> None:
        await peer.welcome()
        for answer in (b"\x01", b"\x80"):
            kind, body = await peer.read()
            assert kind == SUBSCRIBE
            peer.writer.write(b"\x90\x03" + body[:2] + answer)
        await peer.read()

    async def scenario() -> None:
        async with broker(script) as target:
            connection = await Device().open(target)
            await connection.subscribe("mine/+", 1)
            with pytest.raises(Refused, match=r"no subscription to others/\+: reason 0x80") as raised:
                await connection.subscribe("others/+", 1)
            assert raised.value.code == 0x80
            waiting = asyncio.create_task(connection.subscribe("late", 0))
            with pytest.raises(Lost, match="was closed by the broker"):
                await waiting

    run(scenario)


# Keep alive.


def test_silence_is_broken_by_pings_and_an_answer_is_expected() -> None:
    device, peers = Device(), []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.welcome()
        await peer.read()
        peer.writer.write(PINGRESP)
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script) as target:
            await device.open(target, options=Options("dev", keep_alive=1))
            await until(lambda: bool(device.lost))

    run(scenario)
    assert peers[0].types == [CONNECT, PINGREQ, PINGREQ]
    assert "no answer to a ping for 0.5 s" in str(device.lost[0])


def test_who_publishes_does_not_ping_and_a_broker_of_5_sets_the_pace() -> None:
    peers = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.welcome(b"\x20\x06\x00\x00\x03\x13\x00\x01")  # server keep alive: one second
        await peer.read_all()

    async def scenario() -> None:
        device = Device()
        async with broker(script) as target:
            connection = await device.open(target, options=Options("dev", version=5, keep_alive=600))
            for _ in range(7):
                connection.publish(b"t", b"")
                await asyncio.sleep(0.2)
            assert PINGREQ not in peers[0].types
            await until(lambda: PINGREQ in peers[0].types)
            connection.abort()

    run(scenario)


# TLS.


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Issued, ssl.SSLContext]]:
    """A folder with a root, that, and the context of a broker that wants certificates of devices."""
    folder = tmp_path_factory.mktemp("pki")
    root = issue("root", ca=True)
    root.write(folder, "root")
    issue("localhost", signer=root, names=["localhost"], server=True).write(folder, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.cert.pem", folder / "server.key.pem")
    context.load_verify_locations(folder / "root.cert.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    yield folder, root, context


def device_of(folder: Path, name: str, signer: Issued) -> Identity:
    issue(name, signer=signer).write(folder, name)
    return Identity.at(folder, name)


def common_name(peer: Peer) -> str:
    certificate = peer.writer.get_extra_info("peercert")
    return str(dict(part[0] for part in certificate["subject"])["commonName"])


def test_each_of_many_that_connect_at_once_shows_its_own_certificate(
    pki: tuple[Path, Issued, ssl.SSLContext],
) -> None:
    folder, root, context = pki
    shown: dict[str, str] = {}

    async def script(peer: Peer) -> None:
        _kind, body = await peer.read()
        shown[body[12:].decode()] = common_name(peer)
        peer.writer.write(b"\x20\x02\x00\x00")
        await peer.read_all()

    async def scenario() -> None:
        async with broker(script, context, str(folder / "root.cert.pem")) as target:
            identities = [device_of(folder, f"dev-{number}", root) for number in range(40)]
            opening = [Device().open(target, each, Options(each.name)) for each in identities]
            for connection in await asyncio.gather(*opening):
                connection.abort()

    run(scenario)
    assert shown == {f"dev-{number}": f"dev-{number}" for number in range(40)}


def test_large_messages_go_both_ways_through_tls(pki: tuple[Path, Issued, ssl.SSLContext]) -> None:
    folder, root, context = pki
    device, payload = Device(), bytes(range(256)) * 4000

    async def echo(peer: Peer) -> None:
        await peer.welcome()
        while True:
            kind, body = await peer.read()
            if kind != PUBLISH:
                return
            peer.writer.write(codec.publish(b"back", body[3:]))

    async def scenario() -> None:
        async with broker(echo, context, str(folder / "root.cert.pem")) as target:
            connection = await device.open(target, device_of(folder, "dev", root))
            connection.publish(b"t", payload)
            connection.publish(b"t", b"small")
            await until(lambda: len(device.messages) == 2)
            await connection.close()

    run(scenario)
    assert device.messages == [(b"back", payload), (b"back", b"small")]
    assert device.lost == []


def test_a_broker_that_ends_tls_but_not_tcp_has_ended_the_session(pki: tuple[Path, Issued, ssl.SSLContext]) -> None:
    folder, root, _context = pki
    device = Device()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.cert.pem", folder / "server.key.pem")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)

    async def read(peer: Peer, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                peer.writer.write(outgoing.read())
                incoming.write(await peer.reader.read(65536))

    async def script(peer: Peer) -> None:
        await read(peer, server.do_handshake)
        await read(peer, lambda: server.read(1024))
        server.write(b"\x20\x02\x00\x00" + codec.publish(b"t", b"the last"))
        with suppress(ssl.SSLWantReadError):
            server.unwrap()
        peer.writer.write(outgoing.read())
        await until(lambda: bool(device.lost))

    async def scenario() -> None:
        async with broker(script) as plain:
            target = replace(plain, tls=True, root=str(folder / "root.cert.pem"))
            await device.open(target, device_of(folder, "dev", root))
            await until(lambda: bool(device.lost))

    run(scenario)
    assert device.messages == [(b"t", b"the last")]
    assert "was closed by the broker" in str(device.lost[0])


def test_who_is_not_who(pki: tuple[Path, Issued, ssl.SSLContext]) -> None:
    """A device that the broker does not know is refused; a broker that the root does not vouch for is nobody."""
    folder, root, context = pki

    async def scenario() -> None:
        other = issue("other", ca=True)
        stranger = device_of(folder, "stranger", other)
        other.write(folder, "other")
        device = device_of(folder, "dev", root)
        async with broker(Peer.welcome, context, str(folder / "root.cert.pem")) as target:
            for identity in (stranger, None):
                with pytest.raises(Refused):
                    await Device().open(target, identity)
            elsewhere = Target.parse(f"127.0.0.1:{target.port}", root=target.root)
            with pytest.raises(Unreachable, match=r"not trusted: .*mismatch"):
                await Device().open(elsewhere, device)
        async with broker(Peer.welcome, context, str(folder / "other.cert.pem")) as target:
            with pytest.raises(Unreachable, match="not trusted: "):
                await Device().open(target, device)

    run(scenario)


def test_files_that_are_no_pair_and_a_root_that_is_none(
    pki: tuple[Path, Issued, ssl.SSLContext], tmp_path: Path
) -> None:
    folder, root, context = pki
    device = device_of(folder, "dev", root)
    (tmp_path / "text.pem").write_text("text")
    missing = tmp_path / "missing.pem"

    async def fails(target: Target, identity: Identity, what: str) -> None:
        with pytest.raises(LoadTestError, match=what):
            await Device().open(target, identity)

    async def scenario() -> None:
        async with broker(Peer.welcome, context, str(folder / "root.cert.pem")) as target:
            await fails(
                target, Identity("dev", device.certificate, folder / "root.key.pem"), "device dev: .* not a pair"
            )
            await fails(target, Identity("dev", device.certificate, missing), "device dev: .*No such file")
        for name, what in (("text.pem", "it is no PEM certificate"), ("missing.pem", "No such file")):
            await fails(Target.parse("localhost", root=str(tmp_path / name)), device, f"root .*{name}: .*{what}")

    run(scenario)
