# SPDX-License-Identifier: GPL-3.0-or-later
"""A device: connects, stays connected, sends telemetry and does the jobs that it is given.

One device needs one thread (``Device.run``), and a process can be 300 of them (paho-mqtt waits with select)::

    credentials = FileCredentials(directory, "dev-1")
    device = Device(credentials, dialer(credentials, Endpoint.parse("iot.example.com", "127.0.10.13:8883")))
    threading.Thread(target=device.run).start()
    ...
    device.stop()

All that a device does to the world goes through four methods, and a device that misbehaves overrides one of them:

``open(presented)``
    One connection attempt with the current or the next pair. Raise Refused or Unreachable to be turned away.
``send(message)``
    One message to the cloud. Leave out the call of ``super()`` to lose it, or hand a changed one on.
``heard(message)``
    One message from the cloud. Leave out the call of ``super()`` to be deaf; raise to lose power at that moment (run
    another Device on the same directory to come back).
``work(job)``
    One job. ``self.report(job, "SUCCEEDED")`` instead of ``super().work(job)`` is a lie.

``device.rotation.state`` and ``device.credentials.certificate_id()`` tell where it is.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any, Literal

from iotops.device import keys
from iotops.device.attempts import Clock, Limits, Pace
from iotops.device.connection import Endpoint, Turns
from iotops.device.credentials import Credentials, Which
from iotops.device.errors import Unable
from iotops.device.jobs import TEMPORARY, Job, Jobs, Message, job_of
from iotops.device.line import SLICE_SECONDS, Dial, Line
from iotops.device.mqtt import PahoConnection
from iotops.device.rotation import OPERATION, Patience, Step


def dialer(credentials: Credentials, *endpoints: Endpoint) -> Dial:
    """Return what makes connections with keys in files, to one of the endpoints that works."""
    turns = Turns(endpoints)
    return lambda pair: PahoConnection(turns, credentials.thing_name, credentials.root, pair)


class Device(Line):
    """One device. ``telemetry``: seconds between two messages to ``i/<thing>/telemetry``; 0: none.

    Raises:
        DeviceError: a file is missing, damaged or does not fit.

    """

    def __init__(
        self,
        credentials: Credentials,
        dial: Dial,
        *,
        telemetry: float = 0,
        pace: Pace | None = None,
        patience: Patience | None = None,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(credentials, dial, pace=pace, patience=patience, limits=limits, clock=clock)
        self._telemetry = telemetry
        self._once = False
        self._jobs = Jobs(credentials.thing_name)
        self._presented: Which = "current"
        # What is known of the next job on this connection: nothing, that there is none, or the job.
        self._job: Job | Literal["unknown", "none"] = "unknown"
        self._started = self._clock.now()
        self._says_at = 0.0
        self._measures_at = 0.0 if telemetry else math.inf
        self._measured: Message | None = None
        self.failure = ""

    def run(self, *, once: bool = False) -> None:
        """Be the device until stopped; with ``once`` until no job waits. ``failure`` tells then why a rotation failed.

        Raises:
            DeviceError: a pair cannot be read any more, or the limits are reached.

        """
        self._once = once
        super().run()

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            Lost: the connection ended.

        """
        assert self._connection  # noqa: S101
        self._connection.publish(message.topic, json.dumps(message.payload).encode(), self._pace.network)

    def heard(self, message: Message) -> None:
        """Take a message."""
        match self._jobs.subject(message.topic):
            case ("notify-next",) if self.rotation.needs_job:
                self._ask_for_job()
            case ("start-next", "accepted") if self.rotation.needs_job:
                self._next_job(job_of(message.payload))
            case (job_id, "update", answer):
                if answer == "accepted" or message.payload.get("code") not in TEMPORARY:
                    self._log.info("job %s: report %s", job_id, answer)
                    self.rotation.reported(job_id)
                    self._ask_for_job()
            case ():
                *_thing, request, answer = message.topic.split("/")
                self._log.info("%s: %s", request, answer)
                self.rotation.heard(request, answer, message.payload)
                self._says_at = self._clock.now() + self.rotation.pause

    def work(self, job: Job) -> None:
        """Do a job."""
        if job.operation != OPERATION:
            self.report(job, "REJECTED", f"operation {job.operation!r} is unknown here; known: {OPERATION}")
            return
        try:
            self.rotation.begin(job.id, keys.key_type_of(job.document.get("keyType") or keys.DEFAULT))
        except ValueError as error:
            self.report(job, "REJECTED", str(error))
        except Unable as error:
            self.report(job, "FAILED", str(error))

    def report(self, job: Job, status: str, reason: str = "") -> None:
        """Report how a job went."""
        self._log.info("job %s: %s %s", job.id, status, reason)
        self.failure = reason
        self.send(self._jobs.report(job.id, status, reason))

    def _serve(self, presented: Which) -> None:
        assert self._connection  # noqa: S101
        self._presented, self._job = presented, "unknown"
        self._connection.subscribe((*self._jobs.filters, self.rotation.filter), self._pace.network)
        self._log.info("connected with %s", self.credentials.certificate_id(presented))
        self.rotation.connected(presented)
        self._says_at = 0
        while not self._stopped.is_set() and self.rotation.presents == self._presented:
            self._speak()
            due = min(self._says_at, self._measures_at) - self._clock.now()
            received = self._connection.receive(max(0.0, min(SLICE_SECONDS, due)))
            if received and (message := _message(*received)):
                self._take(message)

    def _take(self, message: Message) -> None:
        before = self.rotation.state
        self.heard(message)
        if self.rotation.state != before:
            state = self.rotation.state
            self._log.info("rotation: %s", f"{state.step} {state.reason}".strip() if state else "ended")
            self._says_at = 0
            if self.rotation.step == Step.SUCCEEDED:  # this connection was made with what is the current pair now
                self._presented = "current"

    def _speak(self) -> None:
        now = self._clock.now()
        if now >= self._measures_at:
            self._measures_at = now + self._telemetry
            payload = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "uptime": round(now - self._started)}
            self._measured = self._measured or Message(f"i/{self.credentials.thing_name}/telemetry", payload)
        if self._measured:  # what was not acknowledged over another connection goes first
            self.send(self._measured)
            self._measured = None
        if self.rotation.state and self.rotation.step == Step.FAILED:
            self.failure = self.rotation.state.reason
        if now >= self._says_at:
            self._says_at = now + self.rotation.pause
            waits = self.rotation.needs_job and not isinstance(self._job, Job)
            message = None if waits else self.rotation.says(self._presented)
            if message is None and self.rotation.needs_job and self._job != "none":
                message = self._jobs.start_next()
            if message:
                self.send(message)

    def _ask_for_job(self) -> None:
        self._job = "unknown"
        self._says_at = 0

    def _next_job(self, job: Job | None) -> None:
        self._job = job or "none"
        if job:
            self._log.info("job %s: %s", job.id, job.operation or "no operation")
            self.work(job)
            if self.rotation.state:
                self._says_at = 0
        elif self._once:
            self._log.info("no job waits")
            self.stop()


def _message(topic: str, payload: bytes) -> Message | None:
    try:
        found: Any = json.loads(payload)
    except ValueError:
        return None
    return Message(topic, found) if isinstance(found, dict) else None


__all__ = ["Clock", "Device", "Dial", "Pace", "Step", "dialer"]
