# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from iotops.loadtest.errors import LoadTestError, Unreachable
from iotops.loadtest.target import Resolver, Target


@pytest.mark.parametrize(
    ("text", "tls", "host", "port"),
    [
        ("broker.example.com", True, "broker.example.com", 8883),
        ("broker.example.com", False, "broker.example.com", 1883),
        ("broker.example.com:443", True, "broker.example.com", 443),
        ("127.0.0.1:18883", True, "127.0.0.1", 18883),
        ("[::1]", True, "::1", 8883),
        ("[::1]:18883", True, "::1", 18883),
    ],
)
def test_a_broker_by_name_or_address(text: str, tls: bool, host: str, port: int) -> None:
    target = Target.parse(text, tls=tls)
    assert (target.host, target.port, target.asked_name) == (host, port, host)
    assert Target.parse(str(target)) == Target.parse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is no broker"),
        (":8883", "is no broker"),
        ("mqtts://broker:8883", "is no broker"),
        ("::1", "is no broker"),
        ("broker:0", "'0' is no port"),
        ("broker:65536", "'65536' is no port"),
        ("broker:mqtt", "'mqtt' is no port"),
    ],
)
def test_what_is_none(text: str, what: str) -> None:
    with pytest.raises(LoadTestError, match=what):
        Target.parse(text)


def test_an_address_of_its_own_and_a_server_name() -> None:
    target = Target.parse("iot.example.com", address="127.0.0.2", server_name="sni.example.com")
    assert (target.addresses, target.asked_name) == (("127.0.0.2",), "sni.example.com")
    with pytest.raises(LoadTestError, match="localhost is no IP address"):
        Target.parse("iot.example.com", address="localhost")


def test_mqtt_on_the_port_of_https_needs_alpn() -> None:
    assert Target.parse("broker:443").alpn == ("x-amzn-mqtt-ca",)
    assert Target.parse("broker:8883").alpn == ()
    assert Target.parse("broker:443", tls=False).alpn == ()


def answer(*addresses: str, canonical: str = "") -> Any:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, canonical, (address, 8883)) for address in addresses]
    return lambda *_args, **_options: entries


@pytest.mark.parametrize(
    ("host", "addresses", "canonical", "is_aws"),
    [
        ("abc-ats.iot.eu-west-1.amazonaws.com", ["127.0.0.1"], "", True),
        ("abc.ats.iot.cn-north-1.amazonaws.com.cn", ["10.0.0.1"], "", True),
        ("ABC-ats.iot.eu-west-1.AmazonAWS.com.", ["10.0.0.1"], "", True),
        ("iot.example.com", ["10.0.0.1"], "abc-ats.iot.eu-west-1.amazonaws.com", True),
        ("iot.example.com", ["34.240.1.2"], "", True),
        ("iot.example.com", ["10.0.0.1", "34.240.1.2"], "", True),
        ("iot.example.com", ["10.0.0.1", "127.0.0.1"], "iot.example.com", False),
        ("iot.example.com", ["fd00::1", "fe80::1%eth0", "::1"], "", False),
        ("amazonaws.com.example.com", ["192.168.1.1"], "", False),
        ("notamazonaws.com", ["192.168.1.1"], "", False),
    ],
)
def test_what_may_be_aws(
    monkeypatch: pytest.MonkeyPatch, host: str, addresses: list[str], canonical: str, is_aws: bool
) -> None:
    """By name, by CNAME, and whatever is neither on this machine nor in a private network."""
    monkeypatch.setattr(socket, "getaddrinfo", answer(*addresses, canonical=canonical))
    assert Target.parse(host).is_aws() is is_aws


def test_what_may_be_aws_by_the_server_name_or_a_given_address() -> None:
    assert Target.parse("127.0.0.1", server_name="abc-ats.iot.eu-west-1.amazonaws.com").is_aws()
    assert Target.parse("iot.example.com", address="34.240.1.2").is_aws()
    assert not Target.parse("iot.example.com", address="127.0.0.1").is_aws()


def gone(*_args: Any, **_options: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_host_without_an_address_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", gone)
    with pytest.raises(LoadTestError, match=r"iot\.example\.com: Name or service not known: name a broker"):
        Target.parse("iot.example.com").is_aws()


def test_a_storm_asks_for_a_name_once_and_a_failover_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def scenario() -> None:
        async def look_up(host: str, *_args: Any, **_options: Any) -> Any:
            asked.append(host)
            return answer(f"10.0.0.{len(asked)}")()

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        resolver, target = Resolver(), Target.parse("iot.example.com")
        assert set(await asyncio.gather(*(resolver.addresses(target) for _ in range(100)))) == {("10.0.0.1",)}
        assert asked == ["iot.example.com"]
        monkeypatch.setattr("iotops.loadtest.target._FRESH", 0.0)
        assert await resolver.addresses(target) == ("10.0.0.2",)
        assert await resolver.addresses(Target.parse("127.0.0.1")) == ("127.0.0.1",)
        assert await resolver.addresses(Target.parse("iot.example.com", address="127.0.0.2")) == ("127.0.0.2",)

    asyncio.run(scenario())


def test_a_name_that_is_gone_is_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", gone)
    with pytest.raises(Unreachable, match=r"iot\.example\.com: Name or service not known"):
        asyncio.run(Resolver().addresses(Target.parse("iot.example.com")))
