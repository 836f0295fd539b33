# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of the load test with software of others: mosquitto, gmqtt, and the sandbox's broker."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gmqtt
import pytest
import uvloop

from iotops.loadtest.connection import Connection, Options
from iotops.loadtest.errors import ConnectionTrouble, Lost, Refused
from iotops.loadtest.identities import Identity
from iotops.loadtest.making import make
from iotops.loadtest.target import Target
from iotops.sandbox.client import Sandbox
from tests.certificates import issue
from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import issue as issue_for_sandbox
from tests.mosquitto import Mosquitto, mosquitto

NAMES = ["dev-1", "dev-2"]
REGION = "eu-south-1"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Devices may publish and subscribe below ``t/`` and their own name."""
    directory = tmp_path_factory.mktemp("broker")
    (directory / "acl").write_text("pattern readwrite t/#\npattern readwrite %u/#\n")
    (directory / "acl").chmod(0o700)
    settings = (f"acl_file {directory}/acl", "max_keepalive 65535", "max_inflight_messages 0", "log_type all")
    with mosquitto(directory, *settings) as running:
        yield running


@pytest.fixture(scope="module")
def devices(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    return make(NAMES, tmp_path_factory.mktemp("devices"), broker.issuer)


class Device:
    """A device and what it heard."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.lost: list[ConnectionTrouble] = []
        self.acknowledged = 0

    async def open(self, target: Target, identity: Identity | None, **options: Any) -> Connection:
        return await Connection.open(
            target,
            identity,
            Options(identity.name if identity else "nobody", **options),
            on_message=lambda topic, payload: self.messages.append((topic, payload)),
            on_lost=self.lost.append,
        )

    def acknowledge(self) -> None:
        self.acknowledged += 1


def run(scenario: Callable[[], Awaitable[None]], loop: str = "asyncio") -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    (uvloop.run if loop == "uvloop" else asyncio.run)(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


LOOPS, VERSIONS, QOS = ("asyncio", "uvloop"), (4, 5), (0, 1)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", QOS)
def test_messages_of_all_sizes_arrive_once_and_in_order(
    broker: Mosquitto, devices: list[Identity], loop: str, version: int, qos: int
) -> None:
    payloads = [bytes((number % 256,)) * number for number in (*range(300), 127, 16_383, 16_384, 128 * 1024)]
    publisher, subscriber = Device(), Device()

    async def scenario() -> None:
        sending = await publisher.open(broker.target, devices[0], version=version)
        receiving = await subscriber.open(broker.target, devices[1], version=version)
        await receiving.subscribe("t/+/m", qos)
        for payload in payloads:
            sending.publish(b"t/dev-1/m", payload, qos, publisher.acknowledge)
        await until(lambda: len(subscriber.messages) >= len(payloads) and sending.in_flight == 0)
        await sending.close()
        await receiving.close()

    run(scenario, loop)
    assert subscriber.messages == [(b"t/dev-1/m", payload) for payload in payloads]
    assert publisher.acknowledged == qos * len(payloads)
    assert (publisher.lost, subscriber.lost) == ([], [])


@pytest.mark.parametrize("loop", LOOPS)
def test_a_message_of_eight_megabytes(broker: Mosquitto, devices: list[Identity], loop: str) -> None:
    device, payload = Device(), bytes(range(256)) * 32_768

    async def scenario() -> None:
        connection = await device.open(broker.target, devices[0])
        await connection.subscribe("t/large", 1)
        connection.publish(b"t/large", payload, 1, device.acknowledge)
        await until(lambda: bool(device.messages and device.acknowledged))
        await connection.close()

    run(scenario, loop)
    assert device.messages == [(b"t/large", payload)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_persists_keeps_what_came_meanwhile(
    broker: Mosquitto, devices: list[Identity], version: int
) -> None:
    options = {"version": version, "clean": False, "session_expiry": 600 if version == 5 else 0}
    first, second, publisher = Device(), Device(), Device()

    async def scenario() -> None:
        await (await Device().open(broker.target, devices[1], version=version)).close()  # no session of before
        connection = await first.open(broker.target, devices[1], **options)
        assert not connection.session_present
        await connection.subscribe("t/kept", 1)
        await connection.close()
        sending = await publisher.open(broker.target, devices[0], version=version)
        for number in range(50):
            sending.publish(b"t/kept", b"%d" % number, 1)
        await until(lambda: sending.in_flight == 0)
        await sending.close()
        again = await second.open(broker.target, devices[1], **options)
        assert again.session_present
        await until(lambda: len(second.messages) == 50)
        await again.close()
        await (await Device().open(broker.target, devices[1], version=version)).close()

    run(scenario)
    assert second.messages == [(b"t/kept", b"%d" % number) for number in range(50)]


def test_pings_keep_a_silent_device_connected(broker: Mosquitto, devices: list[Identity]) -> None:
    """Mosquitto ends a session that was silent for one and a half times its keep alive."""
    device = Device()

    async def scenario() -> None:
        connection = await device.open(broker.target, devices[0], keep_alive=1)
        await asyncio.sleep(3.5)
        assert device.lost == []
        connection.publish(b"t/still", b"here", 1, device.acknowledge)
        await until(lambda: device.acknowledged == 1)
        await connection.close()

    run(scenario)


def test_who_comes_with_the_same_name_takes_the_place(broker: Mosquitto, devices: list[Identity]) -> None:
    first, second = Device(), Device()

    async def scenario() -> None:
        await first.open(broker.target, devices[0], version=5)
        connection = await second.open(broker.target, devices[0], version=5)
        await until(lambda: bool(first.lost))
        await connection.close()

    run(scenario)
    assert [type(lost) for lost in first.lost] == [Lost]
    assert second.lost == []


@pytest.mark.parametrize("loop", LOOPS)
def test_certificates_that_the_broker_does_not_take(broker: Mosquitto, tmp_path: Path, loop: str) -> None:
    issue("stranger", signer=issue("Another CA", ca=True)).write(tmp_path, "stranger")
    device = Device()

    async def scenario() -> None:
        for identity in (Identity.at(tmp_path, "stranger"), None):
            with pytest.raises(Refused):
                await device.open(broker.target, identity)

    run(scenario, loop)
    assert device.lost == []


def test_a_message_that_may_not_be_published_has_no_good_answer(broker: Mosquitto, devices: list[Identity]) -> None:
    device = Device()

    async def scenario() -> None:
        connection = await device.open(broker.target, devices[0], version=5)
        connection.publish(b"dev-1/m", b"", 1, device.acknowledge)
        connection.publish(b"dev-2/m", b"", 1, device.acknowledge)
        await until(lambda: connection.in_flight == 0)
        assert connection.rejected == 1
        await connection.close()

    run(scenario)
    assert device.acknowledged == 1


@pytest.mark.parametrize("loop", LOOPS)
def test_a_broker_that_goes_away_is_a_loss_for_each(tmp_path: Path, loop: str) -> None:
    watched = [Device() for _ in range(20)]

    async def scenario() -> None:
        with mosquitto(tmp_path) as running:
            identities = make([f"dev-{number}" for number in range(20)], tmp_path, running.issuer)
            for device, identity in zip(watched, identities, strict=True):
                await device.open(running.target, identity)
        await until(lambda: all(device.lost for device in watched))
        await asyncio.sleep(0.05)

    run(scenario, loop)
    assert [[type(lost) for lost in device.lost] for device in watched] == [[Lost]] * 20


@asynccontextmanager
async def other_client(broker: Mosquitto, identity: Identity, version: int) -> AsyncIterator[tuple[Any, list[Any]]]:
    """gmqtt, connected with a certificate, and what it hears."""
    context = ssl.create_default_context(cafile=broker.target.root)
    context.load_cert_chain(identity.certificate, identity.key)
    context.check_hostname = False  # it cannot dial one name and ask for another
    client: Any = gmqtt.Client(identity.name)
    heard: list[Any] = []
    client.on_message = lambda _client, topic, payload, qos, _properties: heard.append((topic, payload, qos)) or 0
    subscribed = asyncio.Event()
    client.on_subscribe = lambda *_args: subscribed.set()
    await client.connect("127.0.0.1", broker.target.port, ssl=context, version=version)
    client.subscribe("t/of-ours", qos=1)
    await subscribed.wait()
    yield client, heard
    await client.disconnect()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", QOS)
def test_a_client_of_others_hears_us_and_we_hear_it(
    broker: Mosquitto, devices: list[Identity], version: int, qos: int
) -> None:
    ours, payloads = Device(), [b"", b"one", bytes(range(256)) * 300]

    async def scenario() -> None:
        async with other_client(broker, devices[1], version) as (client, heard):
            connection = await ours.open(broker.target, devices[0], version=version)
            await connection.subscribe("t/of-theirs", qos)
            for payload in payloads:
                connection.publish(b"t/of-ours", payload, qos)
                # Properties of MQTT 5 come before the payload.
                properties = {"content_type": "json", "user_property": [("k", "v")]} if version == 5 else {}
                client.publish("t/of-theirs", payload, qos=qos, **properties)
            await until(lambda: len(heard) == len(ours.messages) == len(payloads))
            assert heard == [("t/of-ours", payload, qos) for payload in payloads]
            await connection.close()

    run(scenario)
    assert ours.messages == [(b"t/of-theirs", payload) for payload in payloads]


def test_a_device_of_the_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    """Unknown at first, as AWS IoT treats it: registered, and refused without CONNACK; then let in."""
    fleet = Fleet(sandbox, tmp_path, (REGION,))
    fleet.serve(REGION)
    issued = issue_for_sandbox("dev-load", fleet.ca)
    certificate, key = issued.files(tmp_path, chain=fleet.ca.pem)
    target = Target.parse(sandbox.regions[REGION]["mqtt"], root=str(fleet.trust), server_name="iot.example.com")
    identity, device = Identity("dev-load", Path(certificate), Path(key)), Device()
    iot = sandbox.client("iot", REGION)

    async def refused() -> None:
        with pytest.raises(Refused):
            await device.open(target, identity)

    async def let_in() -> None:
        connection = await device.open(target, identity)
        await connection.subscribe("i/dev-load/m", 1)
        connection.publish(b"i/dev-load/m", b'{"n": 1}', 1, device.acknowledge)
        await until(lambda: bool(device.messages and device.acknowledged))
        await connection.close()

    run(refused)
    [found] = [each for each in iot.list_certificates()["certificates"] if each["status"] == "PENDING_ACTIVATION"]
    iot.create_policy(policyName="load", policyDocument=ALLOW)
    iot.attach_policy(policyName="load", target=found["certificateArn"])
    iot.update_certificate(certificateId=found["certificateId"], newStatus="ACTIVE")
    run(let_in)
    assert device.messages == [(b"i/dev-load/m", b'{"n": 1}')]
