"""The device that asks: whether it may, and its convergence."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import Any

import rows
from answers import RejectedError
from aws import aws
from rows_table import read

Row = dict[str, Any]
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html
JOB_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def job_of(message: dict[str, Any]) -> str:
    """The job that the device names; empty when it is no job's id."""
    job = message.get("jobId")
    return job if isinstance(job, str) and JOB_ID.fullmatch(job) else ""


def require_active(row: Row, principal: str, now: datetime) -> None:
    """Raise RejectedError unless the device is ACTIVE and ``principal`` one of its certificates that it may use."""
    if not row or row["State"] != "ACTIVE":
        raise RejectedError("NotActive", "the device is not ACTIVE")
    if principal not in row["Certificates"] or status(row, principal, now) != "ACTIVE":
        raise RejectedError("NotActive", "the certificate of the connection is not an active one of the device")


def status(row: Row, certificate_id: str, now: datetime) -> str:
    """What the certificate is to be in every region at this moment: ACTIVE, INACTIVE or REVOKED."""
    keys = rows.revocation_keys({**row, "Certificates": {certificate_id: row["Certificates"][certificate_id]}})
    return rows.effective_status(row, certificate_id, [key for key in keys if read("revocations", Key=key)], now)


def converge(thing: str) -> None:
    """Start convergence in this region; the others hear of the row from their streams."""
    aws("stepfunctions").start_execution(
        stateMachineArn=os.environ["CONVERGE_MACHINE"], input=json.dumps({"ThingName": thing})
    )
