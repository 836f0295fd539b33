# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One execution of the state machine repair-devices: its list, its start, how far it is, and what failed.

The name of an execution is that of its repair, and AWS starts one of a name only once: whoever runs again finds it.
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code, poll

__all__ = ["PREFIX", "Execution", "Failure", "Machine"]

PREFIX = "repairs"  # of keys in the artifact bucket; what lies below it expires
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
MAX_DELAY = 3.0  # seconds between two looks
Counts = dict[str, int]


@dataclass(frozen=True)
class Failure:
    """A device, or a certificate, that could not be repaired."""

    thing_name: str
    certificate_id: str
    reason: str


@dataclass(frozen=True)
class Execution:
    """An execution as AWS describes it; ``output`` is empty until it succeeded."""

    arn: str
    status: str
    output: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Machine:
    """The machine of a region, with the bucket for its lists; ``client`` gives boto3's client of a service."""

    client: Callable[[str], Any]
    arn: str
    bucket: str

    def running(self) -> str:
        """The ARN of an execution that is at work; "" for none.

        Raises:
            FleetError: there is no such machine.

        """
        with self._existing():
            return _running(self.client("stepfunctions"), self.arn)

    def start(self, run: str, devices: BinaryIO, *, concurrency: int) -> tuple[str, bool]:
        """Start the repair ``run`` of a list; its ARN, and whether it is new: it may have been made before.

        Raises:
            FleetError: there is no such machine.

        """
        key = f"{PREFIX}/{run}/devices.json"
        work = {"List": key, "Results": f"{PREFIX}/{run}/results", "MaxConcurrency": concurrency}
        _upload(self.client("s3"), self.bucket, key, devices)
        try:
            with self._existing():
                return _start(self.client("stepfunctions"), self.arn, run, json.dumps(work)), True
        except AnsibleAWSError as error:
            if error_code(error) != "ExecutionAlreadyExists":
                raise
        return f"{self.arn.replace(':stateMachine:', ':execution:')}:{run}", False

    @contextmanager
    def _existing(self) -> Iterator[None]:
        try:
            yield
        except AnsibleAWSError as error:
            if error_code(error) != "StateMachineDoesNotExist":
                raise
            name = self.arn.rpartition(":")[2]
            raise FleetError(f"the region has no state machine {name}: deploy it with site.yml") from None

    def describe(self, execution: str) -> Execution:
        """How an execution stands."""
        found = _describe(self.client("stepfunctions"), execution)
        reason = ": ".join(found[key] for key in ("error", "cause") if found.get(key))
        output = json.loads(found["output"]) if found["status"] == "SUCCEEDED" else {}
        return Execution(execution, found["status"], output, reason)

    def counts(self, execution: str) -> Counts:
        """How many of its devices are pending, running, succeeded and so on; empty before the list was read."""
        client = self.client("stepfunctions")
        runs = _map_runs(client, execution)
        return _item_counts(client, runs[0]) if runs else {}

    def wait(self, execution: str, *, timeout: float, tell: Callable[[Counts], None]) -> Execution:
        """Wait for the end; ``tell`` is told at each look how far it is.

        Raises:
            FleetError: it did not end in time, or it did not end well.

        """

        def look() -> Execution:
            found = self.describe(execution)
            tell(self.counts(execution))
            return found

        found = poll(
            look,
            lambda seen: seen.status in ENDED,
            timeout=timeout,
            max_delay=MAX_DELAY,
            describe=f"{execution}, which goes on: run again to wait for it",
        )
        if found.status != "SUCCEEDED":
            raise FleetError(f"{execution} ended as {found.status}: {found.reason}. Check the region and run again")
        return found

    def failures(self, execution: Execution) -> Iterator[Failure]:
        """The devices that could not be repaired, in no order."""
        details = execution.output["ResultWriterDetails"]
        s3 = self.client("s3")
        manifest = _read(s3, details["Bucket"], details["Key"])
        for status in ("FAILED", "PENDING"):
            for file in manifest["ResultFiles"].get(status, []):
                yield from map(_failure, _read(s3, manifest["DestinationBucket"], file["Key"]))


def _failure(result: dict[str, Any]) -> Failure:
    item = json.loads(result["Input"])["Device"]
    return Failure(item.get("ThingName", ""), item.get("CertificateId", ""), _reason(result))


def _reason(result: dict[str, Any]) -> str:
    """Error and cause; where a STANDARD execution was waited for, the cause is its description."""
    error, cause = result.get("Error", ""), result.get("Cause", "")
    if error == "States.TaskFailed":
        try:
            described = json.loads(cause)
        except ValueError:
            described = {}
        if "ExecutionArn" in described:
            error, cause = described.get("Error") or described.get("Status", ""), described.get("Cause", "")
    return ": ".join(each for each in (error or result["Status"], cause) if each)


@api_call("list the executions of the machine that repairs")
def _running(client: Any, machine: str) -> str:
    found = client.list_executions(stateMachineArn=machine, statusFilter="RUNNING", maxResults=1)["executions"]
    return str(found[0]["executionArn"]) if found else ""


@api_call("start the machine that repairs")
def _start(client: Any, machine: str, name: str, work: str) -> str:
    return str(client.start_execution(stateMachineArn=machine, name=name, input=work)["executionArn"])


@api_call("describe a repair")
def _describe(client: Any, execution: str) -> dict[str, Any]:
    return dict(client.describe_execution(executionArn=execution))


@api_call("list the runs of a repair")
def _map_runs(client: Any, execution: str) -> list[str]:
    return [each["mapRunArn"] for each in client.list_map_runs(executionArn=execution)["mapRuns"]]


@api_call("describe the run of a repair")
def _item_counts(client: Any, map_run: str) -> Counts:
    return dict(client.describe_map_run(mapRunArn=map_run)["itemCounts"])


@api_call("write the list of devices")
def _upload(client: Any, bucket: str, key: str, content: BinaryIO) -> None:
    content.seek(0)
    client.put_object(Bucket=bucket, Key=key, Body=content)


@api_call("read the results of a repair")
def _read(client: Any, bucket: str, key: str) -> Any:
    return json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
