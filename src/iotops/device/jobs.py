# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS IoT Jobs as messages: https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LONGEST_DETAIL = 1024
# What a device may send again; all else that is rejected stays so.
TEMPORARY = ("InternalError", "RequestThrottled")


@dataclass(frozen=True)
class Message:
    """What a device sends, or is sent: a topic and the members of a JSON object."""

    topic: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A job that this device is to do. ``document`` is any JSON."""

    id: str
    document: Any

    @property
    def operation(self) -> str:
        """What is to be done; "" when the document does not say."""
        return str(self.document.get("operation", "")) if isinstance(self.document, dict) else ""


class Jobs:
    """The topics of one thing's jobs."""

    def __init__(self, thing_name: str) -> None:
        self._base = f"$aws/things/{thing_name}/jobs"

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return f"{self._base}/notify-next", f"{self._base}/start-next/+", f"{self._base}/+/update/+"

    def start_next(self) -> Message:
        """Ask for the next job, which is in progress then."""
        return Message(f"{self._base}/start-next", {})

    def report(self, job_id: str, status: str, reason: str = "") -> Message:
        """Report how a job went: SUCCEEDED, FAILED or REJECTED. A detail may have no control characters."""
        words = " ".join("".join(each if each.isprintable() else " " for each in reason).split())
        details = {"statusDetails": {"reason": words[:_LONGEST_DETAIL]}} if words else {}
        return Message(f"{self._base}/{job_id}/update", {"status": status, **details})

    def subject(self, topic: str) -> tuple[str, ...]:
        """Return the parts of a topic after ``jobs/``; none when it is not about jobs."""
        return tuple(topic.removeprefix(f"{self._base}/").split("/")) if topic.startswith(f"{self._base}/") else ()


def job_of(payload: dict[str, Any]) -> Job | None:
    """Return the job in the answer to start-next; None when none waits."""
    execution = payload.get("execution")
    if not isinstance(execution, dict) or "jobId" not in execution:
        return None
    return Job(str(execution["jobId"]), execution.get("jobDocument"))
