# SPDX-License-Identifier: GPL-3.0-or-later
"""A broker with the cloud's side of jobs and rotations in memory, and devices on it that can lose their power."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from iotops.device import files
from iotops.device.certificates import public_bytes
from iotops.device.connection import Connection
from iotops.device.credentials import FileCredentials
from iotops.device.device import Clock, Device
from iotops.device.errors import Lost, Refused
from iotops.device.rotation import Patience
from tests.certificates import Issued, issue

THING = "dev-1"
ROOT = issue("Root", ca=True)
AUTHORITY = issue("Issuing CA", ca=True, signer=ROOT)
OLD = issue(THING, signer=AUTHORITY)
PATIENCE = Patience(answer=30, pending=60, attempts=3)
# A device that goes on for longer than this has nothing more to do.
DAYS_END = 3600.0


class PowerCut(BaseException):
    """The device's power is gone."""


class FakeClock(Clock):
    """Time passes by waiting only."""

    def __init__(self):
        self.time = 0.0
        self.waits = []

    def now(self):
        return self.time

    def date(self):
        return self.time

    def wait(self, seconds, stopped):
        self.waits.append(seconds)
        self.time += seconds
        assert self.time < DAYS_END, "the device never ends"


class Power:
    """Goes after ``left`` more things that a device does; None: stays."""

    def __init__(self):
        self.left = None
        self.used = 0

    def draw(self):
        self.used += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise PowerCut


class Requested:
    """Stands for the private key of a request."""

    def __init__(self, pem):
        self.request = x509.load_pem_x509_csr(pem.encode())

    def public_key(self):
        return self.request.public_key()


@dataclass
class Cloud:
    """What the cloud knows of one device. ``said``: what the device published, as (topic, payload, certificateId)."""

    clock: FakeClock = field(default_factory=FakeClock)
    power: Power = field(default_factory=Power)
    current: str = OLD.fingerprint
    # certificateId to the job that it was made for
    certificates: dict = field(default_factory=lambda: {OLD.fingerprint: ""})
    active: set = field(default_factory=lambda: {OLD.fingerprint})
    # job to [status, document, reason]
    jobs: dict = field(default_factory=dict)
    said: list = field(default_factory=list)
    connects: list = field(default_factory=list)
    line: FakeConnection | None = None

    def give(self, job_id="fleet-rotate-1", **document):
        """Let a job wait."""
        self.jobs[job_id] = ["QUEUED", {"operation": "ROTATE_CERTIFICATE", **document}, ""]
        self.tell(f"$aws/things/{THING}/jobs/notify-next", {"execution": {"jobId": job_id}})

    def status(self, job_id="fleet-rotate-1"):
        """How a job goes, and why."""
        return self.jobs[job_id][0], self.jobs[job_id][2]

    def tell(self, topic, payload):
        """Publish to the device; lost when it is not connected."""
        if self.line:
            self.line.inbox.append((topic, json.dumps(payload).encode()))

    def answer(self, request, kind, **members):
        """Answer a request of a rotation."""
        self.tell(f"e/{THING}/certificate/{request}/{kind}", members)

    def sign(self, csr, job_id):
        """Make a certificate of a request, and let it in."""
        new = issue(THING, signer=AUTHORITY, key=Requested(csr))
        self.certificates[new.fingerprint] = job_id
        self.active.add(new.fingerprint)
        return new

    def create(self, body, principal):
        """A device asks for a certificate."""
        job_id = body["jobId"]
        refusal = None
        if principal not in self.active:
            refusal = "NotActive"
        elif self.certificates[self.current] == job_id:
            refusal = "AlreadyRotated"
        elif self.jobs.get(job_id, [""])[0] != "IN_PROGRESS":
            refusal = "UnknownJob"
        if refusal:
            self.answer("create", "rejected", jobId=job_id, code=refusal, message="no")
        else:
            new = self.sign(body["csr"], job_id)
            self.answer("create", "accepted", jobId=job_id, certificateId=new.fingerprint, certificatePem=new.pem)

    def commit(self, body, principal):
        """A device has connected with a new certificate."""
        if self.certificates[principal]:
            self.current = principal
        if principal == self.current:
            self.answer("commit", "accepted", jobId=body["jobId"], certificateId=principal)
        else:
            self.answer("commit", "rejected", jobId=body["jobId"], code="NotNew", message="no")

    def hear(self, topic, body, principal):
        """Take a message of the device."""
        self.said.append((topic, body, principal))
        levels = topic.split("/")
        if levels[0] == "i" and levels[2] == "certificate":
            getattr(self, levels[3])(body, principal)
        elif topic.endswith("/start-next"):
            waits = next((each for each, job in self.jobs.items() if job[0] in ("QUEUED", "IN_PROGRESS")), None)
            if waits:
                self.jobs[waits][0] = "IN_PROGRESS"
            execution = {"execution": {"jobId": waits, "jobDocument": self.jobs[waits][1]}} if waits else {}
            self.tell(f"{topic}/accepted", execution)
        elif topic.endswith("/update"):
            self.update(topic, levels[-2], body)

    def update(self, topic, job_id, body):
        """A device reports how a job went."""
        if self.jobs[job_id][0] not in ("QUEUED", "IN_PROGRESS"):
            self.tell(f"{topic}/rejected", {"code": "TerminalStateReached"})
            return
        self.jobs[job_id] = [body["status"], None, body.get("statusDetails", {}).get("reason", "")]
        self.tell(f"{topic}/accepted", {})

    def topics(self):
        """The ends of the topics that the device published to, in order."""
        return [topic.split("/", 2)[2].removeprefix(f"{THING}/") for topic, _body, _principal in self.said]


class FakeConnection(Connection):
    """A connection to the cloud above."""

    def __init__(self, cloud, pair, public_key):
        self.cloud, self.inbox = cloud, deque()
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        assert public_key(pair.key) == public_bytes(certificate.public_key()), "a pair that does not fit"
        self.principal = certificate.fingerprint(hashes.SHA256()).hex()

    def connect(self, timeout):
        self.cloud.power.draw()
        self.cloud.connects.append((self.cloud.clock.time, self.principal))
        if self.principal not in self.cloud.active:
            raise Refused("unknown certificate")

    def subscribe(self, filters, timeout):
        self.cloud.line = self

    def publish(self, topic, payload, timeout):
        self.cloud.power.draw()
        if self.cloud.line is not self:
            raise Lost("cut")
        self.cloud.hear(topic, json.loads(payload), self.principal)
        self.cloud.power.draw()

    def receive(self, timeout):
        if self.cloud.line is not self:
            raise Lost("cut")
        if self.inbox:
            self.cloud.power.draw()
            return self.inbox.popleft()
        self.cloud.clock.time += timeout
        assert self.cloud.clock.time < DAYS_END, "the device never ends"
        return None

    def close(self):
        if self.cloud.line is self:
            self.cloud.line = None


def in_file(path):
    """The public half of a key in a file."""
    return public_bytes(serialization.load_pem_private_key(Path(path).read_bytes(), None).public_key())


@dataclass
class World:
    """A cloud and the directory of a device. ``public_key`` looks up what a pair names as its key."""

    directory: Path
    cloud: Cloud = field(default_factory=Cloud)
    public_key: Callable = in_file

    def credentials(self):
        """What the device has on its disk."""
        return FileCredentials(self.directory, THING)

    def device(self, kind=Device, **arguments):
        """The device, switched on."""
        dial = lambda pair: FakeConnection(self.cloud, pair, self.public_key)  # noqa: E731
        return kind(self.credentials(), dial, patience=PATIENCE, clock=self.cloud.clock, **arguments)

    def run(self, kind=Device):
        """Let the device do all its jobs."""
        device = self.device(kind)
        device.run(once=True)
        return device

    @property
    def held(self):
        """The certificateId of the current pair on the disk."""
        return self.credentials().certificate_id()


def write_pair(directory, pair: Issued):
    """Put a pair and the root where a device looks for them."""
    (directory / "root.cert.pem").write_text(ROOT.pem)
    pair.write(directory, THING)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A device with an old certificate, and a cloud that knows it."""
    world = World(tmp_path)
    write_pair(tmp_path, OLD)
    let_power_go(world, monkeypatch)
    return world


def let_power_go(world, monkeypatch):
    """Each change of the disk draws power."""
    for name in ("write", "move", "remove", "make_directory"):
        real = getattr(files, name)

        def drawing(*arguments, real=real, **options):
            world.cloud.power.draw()
            return real(*arguments, **options)

        monkeypatch.setattr(files, name, drawing)
