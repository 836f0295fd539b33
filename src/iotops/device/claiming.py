# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device gets its first certificate from AWS IoT with a claim certificate, which many devices share.

Each step leaves a file that is whole or absent, and a step whose file is there is not made again::

    <thing>.key.pem -> <thing>.csr.pem -> (asks) -> <thing>.claim.json: certificate and token, when, by whom
        -> (asks to be registered) -> <thing>.cert.pem -> <thing>.endpoint -> <thing>.claim.json is removed

So a device whose power went, or whose answer was lost, asks again with the same certificate, which its name was given
to. The token lasts an hour, and with it the certificate unless it was registered: then a device that has missed the
answer can connect. Only the region that granted a token knows it, so it is asked again at its address, and what another
region says of the token decides nothing before the hour is over.
https://docs.aws.amazon.com/iot/latest/developerguide/fleet-provision-api.html
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from iotops.device import files, home, keys, signing
from iotops.device.attempts import Clock, Pace
from iotops.device.certificates import encode, fitting, public_bytes, read_certificates
from iotops.device.connection import Connection, Endpoint
from iotops.device.credentials import FileCredentials
from iotops.device.errors import ConnectionProblem, Denied, DeviceError, NotNow, Refused, Unfit, Unreachable
from iotops.device.home import Home
from iotops.device.preparing import prepared
from iotops.device.protocols import Later

CREATE = "$aws/certificates/create-from-csr/json"
# With these the same question may get another answer.
_SOON = ("InvocationError", "InternalFailure", "ServiceUnavailable", "Throttled", "ThrottlingException")
_UNKNOWN_REGION = "unknown"
_TOKEN_LASTS = 3600  # seconds


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is wanted. ``template``: of AWS IoT; ``endpoint``: where the device is to belong; ``give_up``: seconds."""

    template: str
    endpoint: Endpoint
    key_type: str = keys.DEFAULT
    give_up: float = 600


@dataclass(frozen=True)
class Granted:
    """A certificate that is not active yet, and the token to have it registered with.

    ``at``: seconds since 1970; ``peer``: who granted it, None when that is not known.
    """

    certificate: str
    token: str = field(repr=False)
    at: float
    peer: Endpoint | None


class _TokenUnknown(Exception):
    """AWS IoT does not know the token, any more or in this region."""


class _NotLetIn(Later):
    """AWS IoT says no, which it also does while nobody can say whether the device may come in."""


class Claiming:
    """The provisioning of one device.

    ``claim`` and ``own`` make a connection with the claim certificate and with the device's own, to the endpoint given
    or else to any; ``step`` is told of each step before it is made. Raises DeviceError (Denied, NotNow).
    """

    def __init__(
        self,
        credentials: FileCredentials,
        wish: Wish,
        claim: Callable[[Endpoint | None], Connection],
        own: Callable[[Endpoint | None], Connection],
        *,
        step: Callable[[str], None] = lambda _text: None,
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._credentials = credentials
        self._thing_name = credentials.thing_name
        self._wish = wish
        self._claim = claim
        self._own = own
        self._step = step
        self._pace = pace or Pace()
        self._clock = clock or Clock()
        self._provision = f"$aws/provisioning-templates/{wish.template}/provision/json"
        self._log = logging.getLogger(f"iotops.device.{credentials.thing_name}")

    def run(self) -> Home:
        """Return where the device belongs; at once if it was provisioned before."""
        try:
            known = home.read(self._credentials.directory, self._thing_name)
            if not (known and self._file("cert.pem").exists()):
                read_certificates(self._credentials.root)
                csr = prepared(self._credentials.directory, self._thing_name, self._wish.key_type, self._step)
                known = self._ask_until_answered(csr)
            files.remove(self._file("claim.json"))
            self._credentials.check()
        except OSError as error:
            raise DeviceError(f"{error.filename}: {error.strerror}: provision it again when there is room") from error
        return known

    def _ask_until_answered(self, csr: str) -> Home:
        begun, failures, anywhere = self._clock.now(), 0, False
        while True:
            try:
                return self._register(csr, anywhere=anywhere)
            except (Later, ConnectionProblem) as error:
                failures += 1
                pause = self._pace.pause(failures)
                if self._wish.give_up and self._clock.now() + pause - begun > self._wish.give_up:
                    if isinstance(error, _NotLetIn):
                        raise Denied(f"refused: {error}") from error
                    raise NotNow(f"not provisioned for {self._wish.give_up:g} s; last: {error}") from error
                self._log.warning("asking again in %.0f s: %s", pause, error)
                self._clock.wait(pause, threading.Event())
                anywhere = isinstance(error, Unreachable) and not anywhere  # an address may have become another one's

    def _register(self, csr: str, *, anywhere: bool) -> Home:
        """Ask for what is not there yet; the certificate is in its place before the device is provisioned."""
        granted = self._granted()
        peer = granted.peer if granted and not anywhere else None
        with closing(self._claim(peer)) as connection:
            connection.connect(self._pace.network)
            topics = [f"{topic}/{kind}" for topic in (CREATE, self._provision) for kind in ("accepted", "rejected")]
            connection.subscribe(topics, self._pace.network)
            granted = granted or self._create(connection, csr)
            self._step(f"ask for the name {self._thing_name}, with the template {self._wish.template}")
            asked = {"certificateOwnershipToken": granted.token, "parameters": {"SerialNumber": self._thing_name}}
            try:
                region = self._region(self._ask(connection, self._provision, asked))
            except _TokenUnknown:
                region = self._if_registered(granted, peer)
        return self._keep(granted, region)

    def _create(self, connection: Connection, csr: str) -> Granted:
        # An answer that cannot be kept is better not asked for.
        files.write(self._file("claim.json"), bytes(len(csr) * 8), mode=files.PRIVATE)
        self._step("ask for a certificate")
        answer = self._ask(connection, CREATE, {"certificateSigningRequest": csr})
        try:
            key = signing.read_key(self._file("key.pem"))
            pem = str(answer.get("certificatePem"))
            fitting(pem, thing_name=None, public_key=public_bytes(key.public_key()), root=None)
        except Unfit as error:
            raise Denied(f"the certificate of the answer is of no use: {error}") from error
        granted = Granted(pem, str(answer.get("certificateOwnershipToken")), self._clock.date(), connection.peer)
        files.write(self._file("claim.json"), json.dumps(asdict(granted)).encode(), mode=files.PRIVATE)
        return granted

    def _granted(self) -> Granted | None:
        """What was granted before, and not used as far as the device remembers."""
        try:
            found = json.loads(self._file("claim.json").read_bytes())
            peer = Endpoint(**found["peer"]) if found["peer"] else None
            return Granted(found["certificate"], found["token"], found["at"], peer)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # the room for an answer, when the power went
            return None

    def _ask(self, connection: Connection, topic: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Return what was accepted.

        Raises:
            Denied, Later, _TokenUnknown: it was not.

        """
        connection.publish(topic, json.dumps(payload).encode(), self._pace.network)
        end = self._clock.now() + self._pace.network
        while (left := end - self._clock.now()) > 0:
            received = connection.receive(left)
            if received and received[0] == f"{topic}/accepted":
                return _object(received[1])
            if received and received[0] == f"{topic}/rejected":
                _reject(_object(received[1]))
        raise Later(f"no answer within {self._pace.network:g} s", None)

    def _if_registered(self, granted: Granted, peer: Endpoint | None) -> str:
        """The device's region when its certificate is good all the same: it was registered, and the answer was lost.

        Raises:
            Later: it is not; once the token's hour is over another one is to be asked for.

        """
        self._step("connect with the certificate whose token is not known")
        self._write_certificate(granted)
        with closing(self._own(peer)) as connection:
            try:
                connection.connect(self._pace.network)
            except Refused as error:
                if abs(self._clock.date() - granted.at) < _TOKEN_LASTS:
                    raise Later("the token is not known there: it is another region's", None) from error
                files.remove(self._file("cert.pem"))
                files.remove(self._file("claim.json"))
                raise Later("the token has ended before the certificate was registered", None) from error
        return _UNKNOWN_REGION

    def _keep(self, granted: Granted, region: str) -> Home:
        endpoint = self._wish.endpoint
        port = endpoint.port if endpoint.host == endpoint.server_name else Home.port
        self._step("keep the certificate")
        self._write_certificate(granted)
        belongs = Home(endpoint.server_name, region, endpoint.server_name, port)
        home.write(self._credentials.directory, self._thing_name, belongs)
        self._log.info("provisioned: %s", region)
        return belongs

    def _write_certificate(self, granted: Granted) -> None:
        key = signing.read_key(self._file("key.pem"))
        chain = fitting(granted.certificate, thing_name=None, public_key=public_bytes(key.public_key()), root=None)
        files.write(self._file("cert.pem"), encode(chain))

    @staticmethod
    def _region(answer: dict[str, Any]) -> str:
        configuration = answer.get("deviceConfiguration")
        region = configuration.get("region") if isinstance(configuration, dict) else None
        return region if isinstance(region, str) and home.is_region(region) else _UNKNOWN_REGION

    def _file(self, kind: str) -> Path:
        return self._credentials.directory / f"{self._thing_name}.{kind}"


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Denied("the answer is of no use: it is no JSON object")
    return found


def _reject(answer: dict[str, Any]) -> None:
    code, status = str(answer.get("errorCode", "")), answer.get("statusCode")
    said = " ".join(f"{status} {code}: {answer.get('errorMessage', '')}".split())[:500]
    if code == "InvalidCertificateOwnershipToken":
        raise _TokenUnknown(said)
    if code == "AccessDenied":
        raise _NotLetIn(said, None)
    if code in _SOON or (type(status) is int and status >= 500) or status == 429:
        raise Later(said, None)
    raise Denied(f"refused: {said}")
