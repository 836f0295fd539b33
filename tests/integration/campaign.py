# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices that are let rotate their certificates, some of them broken, and the campaigns that they are in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_device_certificates
from iotops.device import Device, Endpoint, FileCredentials, Message, Pace, Patience, Refused, dialer
from iotops.device.connection import Connection
from iotops.device.errors import Unfit
from tests.integration.deployment import eventually
from tests.integration.features import rotation
from tests.integration.operators import HOME
from tests.integration.revocable import ROOT, Revocable
from tests.integration.sandbox.mqtt import Issued

AT_ONCE = 8


def request_for(name: str) -> str:
    """A certificate request of a new key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


class NeverTakesTheJob(Device):
    """Is online and does not ask for jobs."""

    def send(self, message: Message) -> None:
        if not message.topic.endswith("/jobs/start-next"):
            super().send(message)


class AsksForAnotherName(Device):
    """Sends a request that another device could have made."""

    def send(self, message: Message) -> None:
        if "csr" in message.payload:
            message = Message(message.topic, {**message.payload, "csr": request_for("somebody-else")})
        super().send(message)


class FullCredentials(FileCredentials):
    """A disk that is full when the certificate comes."""

    def keep_next(self, pem: str) -> None:
        raise Unfit("no space left on the device")


class CannotStore(Device):
    """Has FullCredentials."""


class CannotConnectWithTheNewOne(Device):
    """Its modem forgets the new certificate."""

    def open(self, presented: Any) -> Connection:
        if presented == "next":
            raise Refused("the modem presents the old one")
        return super().open(presented)


class GoesOffline(Device):
    """Loses its power while it waits for the certificate."""

    def heard(self, message: Message) -> None:
        if message.topic.endswith(("/create/pending", "/create/accepted")):
            self.stop()
        else:
            super().heard(message)


BROKEN: tuple[type[Device], ...] = (
    NeverTakesTheJob,
    GoesOffline,
    AsksForAnotherName,
    CannotStore,
    CannotConnectWithTheNewOne,
)


@dataclass
class Run:
    """How a playbook ended."""

    code: int
    output: str

    def __contains__(self, text: str) -> bool:
        # Lines of messages are folded.
        return " ".join(text.split()) in " ".join(self.output.split())


@dataclass
class Simulated:
    """A device in the region where it is; ``kind`` says what is wrong with it."""

    name: str
    region: str
    kind: type[Device]
    first: Issued
    device: Device = field(init=False)
    thread: threading.Thread = field(init=False)

    def start(self, fleet: Campaigns) -> None:
        """Switch it on."""
        deployment = fleet.deployment
        kind = FullCredentials if self.kind is CannotStore else FileCredentials
        credentials = kind(fleet.clients / self.name, self.name, deployment.trust)
        endpoint = Endpoint.parse("iot.example.com", deployment.sandbox.regions[self.region]["mqtt"])
        self.device = self.kind(
            credentials,
            dialer(credentials, endpoint),
            pace=Pace(least=0.5, most=2, settle=0.5, network=60),
            # Messages that are said again before they are answered would be all that a slow machine is busy with.
            patience=Patience(answer=120, pending=120, attempts=4),
        )
        self.thread = threading.Thread(target=self.device.run, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Switch it off."""
        self.device.stop()
        self.thread.join(60)


class Campaigns(Revocable):
    """A deployment with the rotation stack; the CA's key is on the controller alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for region in self.deployment.regions:
            rotation.deploy(self.deployment, region, signer="offline")

    @property
    def clients(self) -> Path:
        """A directory for each device."""
        return self.pki / "clients"

    def join(self, kinds: dict[str, type[Device]], days: int = 20) -> dict[str, Simulated]:
        """Devices whose certificates end in so many days, known in every region; by turns they are in one of them."""
        ensure_device_certificates(
            path=str(self.clients), authority_path=str(self.issuing), names=list(kinds), days=days, renew=False,
            passphrase=None, check_mode=False,
        )  # fmt: skip
        regions, found = self.deployment.regions, {}
        for number, (name, kind) in enumerate(kinds.items()):
            found[name] = Simulated(name, regions[number % len(regions)], kind, self._issued(name))
        self.each(self._write, found.values())
        for region in regions:
            for name in kinds:
                eventually(lambda region=region, name=name: self.deployment.settled(region, name), seconds=300)
        return found

    def each(self, function: Any, items: Any) -> list[Any]:
        """Call a function for each, some at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(function, items))

    @contextmanager
    def online(self, devices: dict[str, Simulated]) -> Iterator[None]:
        """Devices are on within."""
        for each in devices.values():
            each.start(self)
        try:
            yield
        finally:
            for each in devices.values():
                each.device.stop()
            for each in devices.values():
                each.stop()

    def command(self, *arguments: str) -> list[str]:
        """Arguments of ansible-playbook for playbooks/rotate_devices.yml."""
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return [program, "playbooks/rotate_devices.yml", "-i", str(self.inventory), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Environment of an operator."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",  # fewer processes for each task
        }

    def rotate(self, *arguments: str) -> Run:
        """Run the playbook to its end."""
        run = subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        return Run(run.returncode, run.stdout + run.stderr)

    def current(self, name: str) -> Issued:
        """The pair that the device has on its disk."""
        return self._issued(name)

    def has_rotated(self, name: str) -> bool:
        """Whether every region holds and has applied a row whose current certificate came from a job."""
        for region in self.deployment.regions:
            row = self.deployment.row(region, name)
            current = row["Certificates"][row["CertificateId"]]
            if not {"JobId", "PresentedAt"} <= current.keys() or not self.deployment.settled(region, name):
                return False
        return True

    def works(self, device: Simulated, issued: Issued | None = None) -> None:
        """Require that the device connects and publishes in every region with this certificate, or its first one."""

        def publishes(region: str) -> bool:
            connection = self.deployment.device(device.name, region, issued or device.first)
            try:
                return connection.connect(30) and connection.publish(f"i/{device.name}/works", "{}")
            finally:
                connection.close()

        for region in self.deployment.regions:
            eventually(lambda region=region: publishes(region), seconds=90)

    def _write(self, device: Simulated) -> None:
        """Its row, as register-device makes it."""
        issued, now = device.first, timestamp(datetime.now(UTC))
        until = timestamp(issued.certificate.not_valid_after_utc)
        entry = {
            "Pem": issued.pem,
            "Status": "ACTIVE",
            "NotAfter": until,
            "IssuerFingerprint": self.deployment.ca.id,
            "Serial": format(issued.certificate.serial_number, "x"),
            "RegisteredAt": now,
            "RegisteredIn": HOME,
            "PresentedAt": now,
        }
        fleet_device = f"{self.deployment.application}-device"
        row = {
            "ThingName": device.name,
            "State": "ACTIVE",
            "HomeRegion": HOME,
            "CertificateId": issued.id,
            "NotAfter": until,
            "Certificates": {issued.id: entry},
            "PolicyNames": [fleet_device],
            "ThingTypeName": fleet_device,
            "ThingGroups": [],
            "Attributes": {},
        }
        self.deployment.sandbox.client("dynamodb", HOME).put_item(
            TableName=f"{self.deployment.application}-device-inventory",
            Item=self.deployment.image(following({}, row, writer="controller", now=datetime.now(UTC))),
        )
