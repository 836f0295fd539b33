# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device gets its first certificate and its region from the provisioning API.

Each step leaves a file that is whole or absent, and a step whose file is there is not made again::

    <thing>.key.pem -> <thing>.pub.pem, <thing>.csr.pem -> (asks) -> <thing>.answer.json
        -> <thing>.cert.pem -> <thing>.server.json -> <thing>.endpoint -> <thing>.answer.json is removed

So a device whose power went, or whose answer was lost, asks again for the same key, and is given the same certificate.
Of a key that the cloud made that cannot be: its answer is kept before anything else is done.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from iotops.device import files, home, keys, signing
from iotops.device.attempts import Clock, Pace
from iotops.device.certificates import encode, fitting, public_bytes, read_certificates, request
from iotops.device.credentials import FileCredentials
from iotops.device.errors import Denied, DeviceError, Failed, NotNow, Unfit, Unreachable
from iotops.device.home import Home
from iotops.device.https import Reply
from iotops.device.preparing import prepared
from iotops.device.protocols import S2, Answer, ClockDiffers, Later, Protocol

# Larger than what an answer leaves behind.
_ROOM = 32 * 1024


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is wanted. ``signing_key``: None for the device's own; ``give_up``: seconds, 0 for never."""

    protocol: type[Protocol]
    signing_key: Path | None = None
    cloud_key: bool = False
    key_type: str = keys.DEFAULT
    give_up: float = 600


class Provisioning:
    """The provisioning of one device.

    ``post`` asks the API; ``step`` is told of each step before it is made. Raises DeviceError (Denied, NotNow).
    """

    def __init__(
        self,
        credentials: FileCredentials,
        wish: Wish,
        post: Callable[[dict[str, Any]], Reply],
        *,
        step: Callable[[str], None] = lambda _text: None,
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._credentials = credentials
        self._thing_name = credentials.thing_name
        self._directory = credentials.directory
        self._wish = wish
        self._post = post
        self._step = step
        self._pace = pace or Pace()
        self._clock = clock or Clock()
        self._log = logging.getLogger(f"iotops.device.{credentials.thing_name}")

    def run(self) -> Home:
        """Return where the device belongs; at once if it was provisioned before."""
        try:
            self._unpack()
            if known := self._provisioned():
                self._log.info("provisioned before: %s", known.region)
                return known
            return self._provision()
        except OSError as error:
            remedy = "provision it again when there is room"
            raise DeviceError(f"{error.filename}: {error.strerror}: {remedy}") from error

    def forge(self) -> None:
        """Ask with a wrong signature, and keep nothing.

        Raises:
            Denied: it was refused, as it should be.
            Failed: it was not.

        """
        own = keys.generate(self._wish.key_type)
        true = signing.read_key(self._wish.signing_key) if self._wish.signing_key else own
        self._step("ask the API with a signature of a key that it does not know")
        csr = "" if self._wish.cloud_key else request(self._thing_name, own).decode()
        self._ask(csr, signing.another(true))
        raise Failed("the API accepted a wrong signature")

    def _provisioned(self) -> Home | None:
        known = home.read(self._directory, self._thing_name)
        if known and self._file("cert").exists():
            self._credentials.check()
            return known
        return None

    def _provision(self) -> Home:
        read_certificates(self._credentials.root)
        if self._wish.cloud_key and self._file("key").exists():
            raise DeviceError(f"--key cloud: {self._file('key')} is there already: move it away, or give --key own")
        csr = (
            "" if self._wish.cloud_key else prepared(self._directory, self._thing_name, self._wish.key_type, self._step)
        )
        signing_key = signing.read_key(self._signing_key())
        # An answer that cannot be kept is better not asked for.
        files.write(self._answer_file, bytes(_ROOM), mode=files.PRIVATE)
        files.remove(self._answer_file)
        self._step("ask the API for a certificate and a region, signed with " + str(self._signing_key()))
        answer = self._ask(csr, signing_key)
        chosen = f"{answer.home.region} {answer.note}".strip()
        self._step(f"see that the certificate is for this device, and keep it; the region is {chosen}")
        self._keep(answer)
        self._unpack()
        self._log.info("provisioned: %s", chosen)
        return answer.home

    def _signing_key(self) -> Path:
        if self._wish.signing_key:
            return self._wish.signing_key
        if self._wish.cloud_key:
            raise DeviceError("--key cloud: the device has no key of its own to sign with: give --signing-key")
        return self._file("key")

    def _ask(self, csr: str, signing_key: Any) -> Answer:
        protocol = self._wish.protocol(self._thing_name, signing.signer(signing_key))
        begun, failures, offset = self._clock.now(), 0, None
        while True:
            try:
                return protocol.answer(self._post(protocol.request(csr, int(time.time()) + (offset or 0))))
            except ClockDiffers as error:
                if offset is not None:
                    raise Denied("refused: the API says that the time which it told itself is wrong") from error
                offset = error.server_time - int(time.time())
                self._log.warning("the clock of this device is %+d s off: going on by that of the API", -offset)
            except (Later, Unreachable) as error:
                failures += 1
                pause = self._pause(error, failures)
                if self._wish.give_up and self._clock.now() + pause - begun > self._wish.give_up:
                    raise NotNow(f"no answer for {self._wish.give_up:g} s; last: {error}") from error
                self._log.warning("%s; again in %.0f s", error, pause)
                self._clock.wait(pause, threading.Event())

    def _pause(self, error: Later | Unreachable, failures: int) -> float:
        pause = self._pace.pause(failures)
        told = error.seconds if isinstance(error, Later) else None
        return pause if told is None else told + random.uniform(0, min(pause, 1 + told / 4))  # noqa: S311 - jitter

    def _keep(self, answer: Answer) -> None:
        """Keep the answer if it is for this device.

        Raises:
            Denied: it is not.

        """
        root = None if self._wish.protocol is S2 else self._credentials.root  # its certificates may be of AWS's CA
        try:
            if self._wish.cloud_key:
                key = serialization.load_pem_private_key(answer.private_key.encode(), None)
            else:
                key = signing.read_key(self._file("key"))
            public = public_bytes(key.public_key())
            chain = fitting(answer.certificate_pem, thing_name=self._thing_name, public_key=public, root=root)
        except Unfit as error:
            raise Denied(f"the certificate of the answer is of no use: {error}") from error
        except (ValueError, TypeError) as error:
            raise Denied("the answer is of no use: its private key cannot be read") from error
        kept = {
            "certificate": encode(chain).decode(),
            "key": answer.private_key if self._wish.cloud_key else "",
            "home": [answer.home.address, answer.home.region, answer.home.server_name, answer.home.port],
        }
        files.write(self._answer_file, json.dumps(kept).encode(), mode=files.PRIVATE)

    def _unpack(self) -> None:
        """Put an answer that was kept in its places."""
        try:
            found = json.loads(self._answer_file.read_bytes())
            certificate, key, belongs = found["certificate"].encode(), found["key"].encode(), Home(*found["home"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            files.remove(self._answer_file)  # the room for one, when the power went
            return
        if key:
            files.write(self._file("key"), key, mode=files.PRIVATE)
        files.write(self._file("cert"), certificate)
        home.write(self._directory, self._thing_name, belongs)
        files.remove(self._answer_file)

    def _file(self, kind: str) -> Path:
        return self._directory / f"{self._thing_name}.{kind}.pem"

    @property
    def _answer_file(self) -> Path:
        return self._directory / f"{self._thing_name}.answer.json"
