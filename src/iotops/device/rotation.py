# SPDX-License-Identifier: GPL-3.0-or-later
r"""The rotation of a device's certificate as a state machine that does no network work itself.

A step is on the disk before anything is said that depends on it, and everything that a device says may be said again;
so a device that lost its power at any moment goes on where it was::

    ask -> present -> commit -> promote -> succeeded -> (nothing)
      \        \         \-------------------> failed -> (nothing)

``ask``: there are a key and a request, and a certificate is wanted. ``present``: the certificate is there and is to be
connected with. ``commit``: it was connected with, so the cloud may have made it the current one: both pairs are kept
until the cloud has answered. ``promote``: the cloud has. ``succeeded``, ``failed``: to be reported.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from iotops.device import files
from iotops.device.credentials import Credentials, Which
from iotops.device.errors import DeviceError, Unable, Unfit
from iotops.device.jobs import Jobs, Message

OPERATION = "ROTATE_CERTIFICATE"


class Step(StrEnum):
    """How far a rotation has come."""

    ASK = "ask"
    PRESENT = "present"
    COMMIT = "commit"
    PROMOTE = "promote"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class State:
    """What the device remembers of a rotation. ``reason``: why it failed."""

    job_id: str
    step: Step
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """When to say something again, or to give up. In seconds.

    ``answer``: to an answer that does not come. ``pending``: to a certificate that is signed later, and to a connection
    with one that may be current. ``attempts``: how often the broker may refuse a new certificate.
    """

    answer: float = 30
    pending: float = 60
    attempts: int = 8


class Rotation:
    """At most one rotation of one device, and where it is.

    Raises:
        DeviceError: what is on the disk was not left there by this program.

    """

    def __init__(
        self, credentials: Credentials, patience: Patience | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._patience = patience or Patience()
        self._clock = clock
        self._file = credentials.directory / "rotation.json"
        self._jobs = Jobs(credentials.thing_name)
        self._refusals = 0
        self._rests_until = 0.0
        self._pending = False
        self.state = read_state(self._file)
        if self.step == Step.PROMOTE:
            self._promote()

    @property
    def step(self) -> Step | None:
        """How far it is; None when there is none."""
        return self.state.step if self.state else None

    @property
    def presents(self) -> Which:
        """The pair that the device should be connected with."""
        new = self.step in (Step.PRESENT, Step.COMMIT) and self._clock() >= self._rests_until
        return "next" if new else "current"

    @property
    def needs_job(self) -> bool:
        """Whether only a job that is in progress makes it go on, or begin."""
        return self.step in (None, Step.ASK)

    @property
    def pause(self) -> float:
        """Seconds after which to say things again."""
        return self._patience.pending if self._pending else self._patience.answer

    @property
    def filter(self) -> str:
        """What to subscribe to."""
        return f"e/{self._credentials.thing_name}/certificate/+/+"

    def begin(self, job_id: str, key_type: str) -> None:
        """Make a key and a request, unless those of this very job are there.

        Raises:
            Unable: they cannot be made.

        """
        if self.state and self.state.job_id == job_id and self._credentials.requests:
            return
        try:
            self._credentials.make_next(key_type)
        except Unable:
            self._credentials.discard_next()
            raise
        try:
            self._enter(State(job_id, Step.ASK))
        except OSError as error:
            self._credentials.discard_next()
            raise Unable(f"a rotation cannot be remembered: {error.strerror}") from error

    def says(self, presented: Which) -> Message | None:
        """Return what there is to say over a connection with a pair, now and again until it is answered."""
        if self.state is None or presented != self.presents:
            return None
        match self.state.step:
            case Step.ASK:
                return self._request("create", csr=self._credentials.request_pem)
            case Step.COMMIT if presented == "next":  # over the current one it would be granted, and mean nothing
                return self._request("commit")
            case Step.SUCCEEDED:
                return self._jobs.report(self.state.job_id, "SUCCEEDED")
            case Step.FAILED:
                return self._jobs.report(self.state.job_id, "FAILED", self.state.reason)
        return None

    def connected(self, presented: Which) -> None:
        """Take note that the broker accepted a pair; the new one is not used while that cannot be remembered."""
        self._refusals = 0
        if self.step == Step.PROMOTE:  # the disk was full
            self._promote()
        if presented == "next" and self.step == Step.PRESENT:
            try:
                self._go(Step.COMMIT)
            except OSError:
                self._rests_until = self._clock() + self._patience.pending

    def refused(self, presented: Which, why: str) -> None:
        """Take note that a pair was refused: before the first commit the device goes back, later it takes turns."""
        if presented == "current":
            return
        self._refusals += 1
        if self._refusals < self._patience.attempts:
            return
        self._refusals = 0
        if self.step == Step.PRESENT:
            self._fail(f"the new certificate was refused {self._patience.attempts} times: {why}")
        else:
            self._rests_until = self._clock() + self._patience.pending

    def heard(self, request: str, answer: str, payload: dict[str, Any]) -> None:
        """Take an answer: ``request`` is create or commit, ``answer`` is accepted, pending or rejected."""
        if self.state is None or payload.get("jobId") not in (None, self.state.job_id):
            return
        match self.step, request, answer:
            case Step.ASK, "create", "accepted":
                self._keep(str(payload.get("certificatePem")))
            case Step.ASK, "create", "pending":
                self._pending = True
            case Step.ASK, "create", "rejected" if payload.get("code") == "AlreadyRotated":
                self._go(Step.SUCCEEDED)
            case Step.COMMIT, "commit", "accepted" if payload.get("certificateId") == self._new_id:
                self._go(Step.PROMOTE)
                self._promote()
            case Step.COMMIT, "commit", "rejected" if payload.get("code") == "NotActive":
                pass  # a suspended device may be resumed, and the new certificate may be the current one already
            case (Step.ASK, "create", "rejected") | (Step.COMMIT, "commit", "rejected"):
                self._fail(f"{payload.get('code')}: {payload.get('message')}")

    def reported(self, job_id: str) -> None:
        """Take note that the cloud knows how the job went, or does not want to know."""
        if self.state and self.state.job_id == job_id and self.step in (Step.SUCCEEDED, Step.FAILED):
            self._forget()

    @property
    def _new_id(self) -> str:
        return self._credentials.certificate_id("next")

    def _keep(self, pem: str) -> None:
        try:
            self._credentials.keep_next(pem)
            self._go(Step.PRESENT)
        except Unfit as error:
            self._fail(f"certificate refused by the device: {error}")
        except (Unable, OSError) as error:
            self._credentials.discard_next()  # makes room for what is to be remembered
            what = f"the new certificate cannot be remembered: {error.strerror}" if isinstance(error, OSError) else ""
            self._fail(what or str(error))

    def _promote(self) -> None:
        self._credentials.promote()
        self._go(Step.SUCCEEDED)

    def _request(self, request: str, **members: str) -> Message:
        assert self.state  # noqa: S101
        topic = f"i/{self._credentials.thing_name}/certificate/{request}"
        return Message(topic, {"jobId": self.state.job_id, **members})

    def _go(self, step: Step) -> None:
        assert self.state  # noqa: S101
        self._enter(State(self.state.job_id, step))

    def _fail(self, reason: str) -> None:
        assert self.state  # noqa: S101
        self._enter(State(self.state.job_id, Step.FAILED, reason))

    def _enter(self, state: State) -> None:
        members = {"jobId": state.job_id, "step": state.step, "reason": state.reason}
        files.write(self._file, json.dumps(members).encode())
        self._refusals, self._rests_until, self._pending = 0, 0.0, False
        self.state = state

    def _forget(self) -> None:
        # The key goes first: an end that is reported twice does no harm.
        self._credentials.discard_next()
        files.remove(self._file)
        self.state = None


def read_state(path: Path) -> State | None:
    """Return what ``rotation.json`` tells; None when there is no rotation.

    Raises:
        DeviceError: it was not written by this program.

    """
    try:
        found = json.loads(path.read_bytes())
        return State(found["jobId"], Step(found["step"]), found["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"{path} cannot be read: remove it to give up the rotation it tells of") from error
