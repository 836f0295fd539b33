# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the load goes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from dataclasses import dataclass

from iotops.loadtest.errors import LoadTestError, Unreachable

_ALPN_PORT, _ALPN = 443, "x-amzn-mqtt-ca"  # https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn")
_FRESH = 5.0  # seconds that a name's addresses are used for: a failover by DNS has to be seen


@dataclass(frozen=True)
class Target:
    """A broker.

    ``server_name``: what TLS asks for and the certificate is checked against, the host unless given. ``addresses``: of
    the host, looked up unless given. ``alpn``: protocol names of TLS. ``root``: file of the certificates that vouch for
    the broker, those that the system trusts unless given. ``tls``: False is plain TCP.
    """

    host: str
    port: int = 8883
    server_name: str = ""
    addresses: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    root: str = ""
    tls: bool = True

    @classmethod
    def parse(cls, text: str, *, root: str = "", server_name: str = "", address: str = "", tls: bool = True) -> Target:
        """Return the target that ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT`` names; the port is 8883, plain TCP's 1883.

        Raises:
            LoadTestError: it names none.

        """
        host, port = _split(text)
        if address:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise LoadTestError(f"{address} is no IP address: give one, or none to look {host} up") from error
        number = port or (8883 if tls else 1883)
        return cls(
            host,
            number,
            server_name,
            (address,) if address else (),
            (_ALPN,) if tls and number == _ALPN_PORT else (),
            root,
            tls,
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def asked_name(self) -> str:
        """The server name to ask for."""
        return self.server_name or self.host

    def is_aws(self) -> bool:
        """Tell whether it is AWS, or may be: anything that is not on this machine or in a private network.

        Raises:
            LoadTestError: the host has no address.

        """
        names = [self.host, self.asked_name]
        addresses = self.addresses
        if not addresses:
            try:
                found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
            except OSError as error:
                raise LoadTestError(f"{self.host}: {error.strerror}: name a broker that has an address") from error
            names += [canonical for _family, _type, _protocol, canonical, _address in found if canonical]
            addresses = tuple(str(entry[4][0]) for entry in found)
        if any(name.lower().rstrip(".").endswith(_AWS_DOMAINS) for name in names):
            return True
        return not all(_is_near(address) for address in addresses)


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]")
    if not host or (":" in host and not text.startswith("[")) or "/" in host:
        raise LoadTestError(f"target {text!r} is no broker: give HOST, HOST:PORT or [IPV6]:PORT")
    if colon and port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise LoadTestError(f"target {text!r}: {port!r} is no port: give a number from 1 to 65535")
    return host, int(port or 0)


def _is_near(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return parsed.is_loopback or parsed.is_private


class Resolver:
    """Addresses of targets; a storm of connections asks for a name once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[float, asyncio.Task[tuple[str, ...]]]] = {}

    async def addresses(self, target: Target) -> tuple[str, ...]:
        """Return the addresses of the host.

        Raises:
            Unreachable: it has none now.

        """
        if target.addresses or _is_address(target.host):
            return target.addresses or (target.host,)
        loop = asyncio.get_running_loop()
        key = (target.host, id(loop))
        since, task = self._known.get(key, (0.0, None))
        if task is None or time.monotonic() - since > _FRESH:
            task = loop.create_task(_look_up(target))
            self._known[key] = (time.monotonic(), task)
        return await asyncio.shield(task)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _look_up(target: Target) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{target.host}: {error.strerror or error}") from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
