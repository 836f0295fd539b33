# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS IoT Jobs of a campaign: one function per API call, and what a job of ours is. Private to the collection.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-jobs.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code, none_if_missing

OPERATION = "ROTATE_CERTIFICATE"
# https://docs.aws.amazon.com/general/latest/gr/iot_device_management.html: targets of a job
MAX_TARGETS = 100
# An execution that may still be worked on; all other statuses are final.
UNDER_WAY = ("QUEUED", "IN_PROGRESS")
FAILED = ("FAILED", "REJECTED", "TIMED_OUT")
# The beginning of a job's description, by which a canary wave is known again.
CANARY = "Canary wave: "
THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as AWS IoT has it; ``targets`` are the names of things."""

    job_id: str
    status: str
    created_at: datetime
    canary: bool
    targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How a job is rolled out, and when AWS IoT cancels it without us.

    ``abort_percentage`` of the executions that ended, counted from ``abort_minimum`` of them on.
    """

    key_type: str
    canary: bool
    maximum_per_minute: int
    abort_percentage: int
    abort_minimum: int
    timeout_minutes: int

    def arguments(self) -> dict[str, Any]:
        """What CreateJob takes beside the job's id and targets."""
        # Not TIMED_OUT: one that waited in vain says nothing of the others.
        criteria = [
            {
                "failureType": kind,
                "action": "CANCEL",
                "thresholdPercentage": float(self.abort_percentage),
                "minNumberOfExecutedThings": self.abort_minimum,
            }
            for kind in ("FAILED", "REJECTED")
        ]
        return {
            "document": json.dumps({"operation": OPERATION, "keyType": self.key_type}),
            "description": f"{CANARY if self.canary else ''}devices rotate their certificates",
            "targetSelection": "SNAPSHOT",
            "jobExecutionsRolloutConfig": {"maximumPerMinute": self.maximum_per_minute},
            "abortConfig": {"criteriaList": criteria},
            "timeoutConfig": {"inProgressTimeoutInMinutes": self.timeout_minutes},
        }


def prefix(application: str) -> str:
    """What the ids of a fleet's rotation jobs begin with; a number follows."""
    return f"{application}-rotate-"


def number(application: str, job_id: str) -> int:
    """The number of a wave; 0 of a job that is none of ours."""
    begin, _, digits = job_id.rpartition("-")
    return int(digits) if f"{begin}-" == prefix(application) and digits.isdecimal() else 0


@api_call("list the jobs")
def list_jobs(iot: Any, application: str) -> dict[str, str]:
    """Return the statuses of the fleet's rotation jobs by id, in the order of their numbers."""
    pages = iot.get_paginator("list_jobs").paginate()
    found = {job["jobId"]: job["status"] for page in pages for job in page["jobs"]}
    ours = sorted((number(application, job_id), job_id) for job_id in found if number(application, job_id))
    return {job_id: found[job_id] for _number, job_id in ours}


@none_if_missing
@api_call("describe a job")
def describe(iot: Any, job_id: str) -> Job | None:
    """Return the job; None when the region has none of that id."""
    job = iot.describe_job(jobId=job_id)["job"]
    return Job(
        job_id=job_id,
        status=job["status"],
        created_at=job["createdAt"],
        canary=job.get("description", "").startswith(CANARY),
        targets=tuple(thing_of(arn) for arn in job["targets"]),
    )


@none_if_missing
@api_call("list the executions of a job")
def executions(iot: Any, job_id: str) -> dict[str, str] | None:
    """Return the statuses by thing; None when there is no such job. Who waits for the roll-out is not among them."""
    pages = iot.get_paginator("list_job_executions_for_job").paginate(jobId=job_id)
    return {
        thing_of(each["thingArn"]): each["jobExecutionSummary"]["status"]
        for page in pages
        for each in page["executionSummaries"]
    }


@none_if_missing
@api_call("describe a job's execution")
def _execution(iot: Any, job_id: str, thing_name: str) -> dict[str, Any] | None:
    return dict(iot.describe_job_execution(jobId=job_id, thingName=thing_name)["execution"])


def reason_of(iot: Any, job_id: str, thing_name: str) -> str:
    """Return what the device gave as the reason; "" when it gave none."""
    execution = _execution(iot, job_id, thing_name) or {}
    return str(execution.get("statusDetails", {}).get("detailsMap", {}).get("reason", ""))


def is_under_way(iot: Any, job_id: str, thing_name: str) -> bool:
    """Whether the device works on the job at this moment; listings may be late, this is not."""
    execution = _execution(iot, job_id, thing_name)
    return execution is not None and execution["status"] == "IN_PROGRESS"


def create(iot: Any, job_id: str, arns: list[str], rollout: Rollout) -> None:
    """Create the job; content when it is there, as after an answer that was lost."""
    try:
        _create(iot, jobId=job_id, targets=arns, **rollout.arguments())
    except AnsibleAWSError as error:
        if error_code(error) != "ResourceAlreadyExistsException":
            raise


@api_call("create a job")
def _create(iot: Any, **arguments: Any) -> None:
    iot.create_job(**arguments)


@api_call("cancel a job")
def cancel(iot: Any, job_id: str, comment: str) -> None:
    """Cancel a job with all its executions.

    Forced: an execution that went on would be one more for a device that gets another job. A device that is told in
    the middle keeps the certificate that it has.
    """
    iot.cancel_job(jobId=job_id, reasonCode="CAMPAIGN_STOPPED", comment=comment, force=True)


def cancel_execution(iot: Any, job_id: str, thing_name: str, *, force: bool) -> bool:
    """Cancel one device's execution, one that has begun only by ``force``; whether there was one to cancel."""
    try:
        _cancel_execution(iot, jobId=job_id, thingName=thing_name, force=force)
    except AnsibleAWSError as error:
        # It has ended or begun meanwhile.
        if error_code(error) not in ("InvalidStateTransitionException", "ResourceNotFoundException"):
            raise
        return False
    return True


@api_call("cancel a job's execution")
def _cancel_execution(iot: Any, **arguments: Any) -> None:
    iot.cancel_job_execution(**arguments)


@none_if_missing
@api_call("describe a thing")
def _thing_arn(iot: Any, thing_name: str) -> str | None:
    return str(iot.describe_thing(thingName=thing_name)["thingArn"])


def thing_arns(iot: Any, thing_names: Iterable[str]) -> dict[str, str | None]:
    """Return the ARNs by name; None for a thing that the region does not have."""
    names = list(thing_names)
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(names, pool.map(lambda name: _thing_arn(iot, name), names), strict=True))


def thing_of(arn: str) -> str:
    """The name in a thing's ARN."""
    return arn.rpartition("/")[2]


def ensure_present(
    iot: Any, job_id: str, thing_names: list[str], rollout: Rollout, *, check_mode: bool
) -> tuple[bool, list[str]]:
    """Create the job unless it is there; whether that changes anything, and the things that the region does not have.

    Raises:
        FleetError: a job of that id is there for other devices.

    """
    arns = thing_arns(iot, thing_names)
    missing = [name for name, arn in arns.items() if arn is None]
    known = describe(iot, job_id)
    targets = [arn for arn in arns.values() if arn is not None]
    if known is None and targets:
        if check_mode:
            return True, missing
        create(iot, job_id, targets, rollout)
        _require_ours(describe(iot, job_id), thing_names)
        return True, missing
    _require_ours(known, thing_names)
    return False, missing


def _require_ours(job: Job | None, thing_names: list[str]) -> None:
    strangers = sorted(set(job.targets if job else ()) - set(thing_names))
    if job and strangers:
        raise FleetError(
            f"{job.job_id} is there for other devices ({', '.join(strangers[:3])}): another campaign is under way; "
            "wait for its end, then run again"
        )


def ensure_cancelled(iot: Any, job_id: str, comment: str, *, check_mode: bool) -> bool:
    """Cancel the job if it is IN_PROGRESS; whether that changes anything."""
    job = describe(iot, job_id)
    if job is None or job.status != "IN_PROGRESS":
        return False
    if not check_mode:
        cancel(iot, job_id, comment)
    return True


__all__ = [
    "FAILED", "MAX_TARGETS", "UNDER_WAY", "Job", "Rollout", "cancel_execution", "describe", "ensure_cancelled",
    "ensure_present", "executions", "is_under_way", "list_jobs", "number", "prefix", "reason_of", "thing_of",
]  # fmt: skip
