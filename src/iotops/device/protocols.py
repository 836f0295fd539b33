# SPDX-License-Identifier: GPL-3.0-or-later
"""The two protocols of the provisioning API: what a device says, and what the answers mean.

``v1`` signs everything that it asks for, once: name, nonce, time and request. ``s2``, of its predecessor, signs the
name with a key that all devices share, and answers everything with status 200.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from iotops.device.errors import Denied
from iotops.device.home import Home
from iotops.device.https import Reply

Sign = Callable[[bytes], bytes]
# With these the same question may get another answer.
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_SOON = ("InProgress", "Replayed")


class Later(Exception):
    """The API cannot say yet. ``seconds``: after which to ask again; None: it did not say."""

    def __init__(self, why: str, seconds: float | None) -> None:
        super().__init__(why)
        self.seconds = seconds


class ClockDiffers(Exception):
    """The device's clock is wrong. ``server_time``: seconds since 1970."""

    def __init__(self, server_time: int) -> None:
        super().__init__(server_time)
        self.server_time = server_time


@dataclass(frozen=True)
class Answer:
    """A certificate and a home. ``private_key``: of a key that the cloud made. ``note``: how the region was chosen."""

    certificate_pem: str
    home: Home
    note: str = ""
    private_key: str = field(default="", repr=False)


class Protocol(ABC):
    """How one device asks. ``sign``: signs with the key that the API knows."""

    path: str

    def __init__(self, thing_name: str, sign: Sign) -> None:
        self._thing_name = thing_name
        self._sign = sign

    @abstractmethod
    def request(self, csr: str, now: int) -> dict[str, Any]:
        """Return the body of a request; without ``csr`` for a key that the cloud makes. ``now``: seconds since 1970."""

    @abstractmethod
    def answer(self, reply: Reply) -> Answer:
        """Return what an answer holds.

        Raises:
            Denied: the API says no.
            Later: it may say yes later.
            ClockDiffers: it will say yes to a request of another time.

        """

    def _signature(self, data: bytes) -> str:
        return base64.b64encode(self._sign(data)).decode()


class V1(Protocol):
    """Our own."""

    path = "/v1/device-provisioning"

    def request(self, csr: str, now: int) -> dict[str, Any]:
        """Return the body of a request; see Protocol."""
        nonce = secrets.token_urlsafe(24)
        digest = hashlib.sha256(csr.encode()).hexdigest()
        signed = f"iotops-provisioning-v1\n{self._thing_name}\n{nonce}\n{now}\n{digest}".encode()
        body = {"thingName": self._thing_name, "nonce": nonce, "timestamp": now, "signature": self._signature(signed)}
        return {**body, "csr": csr} if csr else body

    def answer(self, reply: Reply) -> Answer:
        """Return what an answer holds; see Protocol."""
        code = str(reply.body.get("code", ""))
        if code == "ClockDiffers" and type(server_time := reply.body.get("serverTime")) is int:
            raise ClockDiffers(server_time)
        said = f"{reply.status} {code}: {_words(reply.body.get('message', ''))}".strip(": ")
        if reply.status in _BUSY or code in _SOON:
            raise Later(said, reply.retry_after)
        if reply.status != 200:
            raise Denied(f"refused: {said}")
        home = _home(reply, "serverName", reply.body.get("port", Home.port))
        distance = reply.body.get("distanceKm")
        return Answer(
            _text(reply, "certificatePem"),
            home,
            f"{distance} km away" if type(distance) is int else "",
            _text(reply, "privateKey", ""),
        )


class S2(Protocol):
    """Its predecessor's."""

    path = "/test/device-provisioning"

    def request(self, csr: str, now: int) -> dict[str, Any]:  # noqa: ARG002 - it has no time
        """Return the body of a request; see Protocol."""
        body = {"thing-name": self._thing_name, "thing-name-sig": self._signature(self._thing_name.encode())}
        return {**body, "CSR": csr} if csr else body

    def answer(self, reply: Reply) -> Answer:
        """Return what an answer holds; see Protocol."""
        message = _words(reply.body.get("message", ""))
        if reply.status in _BUSY or message == "no location":  # no region is healthy, or looking up the place failed
            raise Later(f"{reply.status}: {message}", reply.retry_after)
        if reply.status != 200 or reply.body.get("status") != "success":
            raise Denied(f"refused: {message or reply.status}")
        distance = reply.body.get("distance")
        near = f"{distance:.0f} km away" if isinstance(distance, int | float) else message
        return Answer(
            _text(reply, "certificatePem"), _home(reply, "endpointAddress"), near, _text(reply, "PrivateKey", "")
        )


PROTOCOLS: dict[str, type[Protocol]] = {"v1": V1, "s2": S2}


def _home(reply: Reply, server_name: str, port: Any = Home.port) -> Home:
    try:
        return Home(_text(reply, "endpointAddress"), _text(reply, "region"), _text(reply, server_name), port)
    except ValueError as error:
        raise Denied(f"the answer is of no use: {error}") from error


def _text(reply: Reply, name: str, default: str | None = None) -> str:
    value = reply.body.get(name, default)
    if not isinstance(value, str):
        raise Denied(f"the answer is of no use: it has no {name}")
    return value


def _words(text: object) -> str:
    """Return one printable line of what somebody else wrote."""
    return " ".join("".join(each if each.isprintable() else " " for each in str(text)).split())[:500]
