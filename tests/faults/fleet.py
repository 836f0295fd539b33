# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment that knows more than one CA, changes rows as a controller does, and follows its executions."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import Letter
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import require_queue
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.replay import Replay
from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from tests import invariants
from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Issued, issue

HOME, AWAY = "eu-west-1", "us-west-2"
MACHINES = ("register-device", "converge-device")
GROUP = "shelf"  # a thing group of both regions


@dataclass
class FaultyFleet(Deployment):
    """HOME is where things go wrong. ``other_ca`` signs devices too, but only AWAY has it registered.

    register-device takes the devices of ``template_ca`` for those that AWS IoT provisions, which never happens.
    """

    other_ca: Issued = field(init=False)
    template_ca: Issued = field(init=False)

    def __post_init__(self) -> None:
        self.other_ca = issue("Other Issuing CA", self.root, authority=True)
        self.template_ca = issue("Template CA", self.root, authority=True)
        super().__post_init__()
        for region in self.regions:
            self.sandbox.client("iot", region).create_thing_group(thingGroupName=GROUP)
            self._register(region, self.template_ca)
        self._register(AWAY, self.other_ca)

    def _register(self, region: str, authority: Issued) -> None:
        self.sandbox.client("iot", region).register_ca_certificate(
            caCertificate=authority.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=True
        )

    def upload(self, region: str, key: str, function: str, files: dict[str, str] | None = None) -> str:
        """The bundle of CAs that a function is given has both of ours, and it knows the one with a template."""
        both = {name: content + self.other_ca.pem for name, content in (files or {}).items()}
        return super().upload(region, key, function, {**both, "jitp-ca.pem": self.template_ca.pem} if both else both)

    def change(self, region: str, thing: str, **changes: Any) -> None:
        """Change a row as an operator does, through the replica of ``region``."""

        def write() -> bool:
            row = self.row(region, thing)
            following = rows.following(row, changes, writer="controller", now=datetime.now(UTC))
            return self.put(region, following, row["WriteId"])

        eventually(write)

    def put(self, region: str, row: rows.Row, seen: str = "") -> bool:
        """Write a row over the one whose WriteId is ``seen`` ("": over none); False when that has changed."""
        dynamodb = self.sandbox.client("dynamodb", region)
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(WriteId)"}
        if seen:
            condition = {
                "ConditionExpression": "WriteId = :seen",
                "ExpressionAttributeValues": {":seen": {"S": seen}},
            }
        try:
            dynamodb.put_item(TableName=f"{self.application}-device-inventory", Item=typed_item(row), **condition)
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def join(self, device: Issued, region: str, thing: str) -> None:
        """Let a device in and wait until both regions are settled."""
        self.admit(device, region, thing)
        for each in self.regions:
            eventually(lambda each=each: self.settled(each, thing), seconds=60)

    def chain(self, issued: Issued) -> str:
        """Each device presents the CA that signed it."""
        authorities = {ca.certificate.subject: ca.pem for ca in (self.ca, self.other_ca, self.template_ca)}
        return authorities[issued.certificate.issuer]

    def machine(self, region: str, name: str) -> str:
        """ARN of a state machine."""
        return f"arn:aws:states:{region}:{self.sandbox.account_id}:stateMachine:{self.application}-{name}"

    def letters(self, region: str) -> list[Letter]:
        """Take all dead letters out of the region's queue."""
        queue = require_queue(self.sandbox.client("sqs", region), self.application, region)
        taken = []
        for letters in queue.batches(most=sys.maxsize):
            for each in letters:
                queue.delete(each)
                taken.append(each)
        return taken

    def redrive(self, region: str, letters: Iterable[Letter]) -> None:
        """Do with dead letters what playbooks/redrive.yml does.

        Raises:
            KeptError: it would leave one of them where it is.

        """
        replay = Replay(
            client=lambda service: self.sandbox.client(service, region),
            application=self.application,
            region=region,
            partition="aws",
            account=self.sandbox.account_id,
            confirm_deletions=False,
        )
        for each in letters:
            replay.attempt(each)

    def late(self, region: str) -> list[str]:
        """The things whose rows this region has not applied, or not without error."""
        found = invariants.look_at_tables(self.sandbox, self.application, region)
        return [
            thing
            for thing, row in found["device-inventory"].items()
            if (status := found["device-status"].get(thing, {})).get("AppliedWriteId") != row["WriteId"]
            or "Error" in status
        ]

    def sweep(self, region: str, *things: str) -> int:
        """Wake what is late and nobody's lease, of ``things`` if there are any; how many that were.

        It is the sweep of every 15 minutes, without its patience with rows that are younger than two minutes.
        """
        wanted = [
            thing
            for thing in self.late(region)
            if (not things or thing in things) and self.status(region, thing).get("LeaseUntil", 0) < time.time()
        ]
        for thing in wanted:
            self.start(region, "converge-device", {"ThingName": thing})
        return len(wanted)

    @cached_property
    def executions(self) -> Executions:
        """The executions of both machines in every region; of STANDARD machines only."""
        return Executions(self)


@dataclass
class Executions:
    """What ran with which input. An execution's input never changes, so it is asked for once."""

    fleet: FaultyFleet
    inputs: dict[str, str] = field(default_factory=dict)

    def all(self, status: str | None = None) -> list[dict[str, Any]]:
        """Every execution as ListExecutions has it, with ``input`` and ``region``."""
        found = []
        for region in self.fleet.regions:
            states = self.fleet.sandbox.client("stepfunctions", region)
            for name in MACHINES:
                arguments = {"stateMachineArn": self.fleet.machine(region, name)}
                if status:
                    arguments["statusFilter"] = status
                for page in states.get_paginator("list_executions").paginate(**arguments):
                    found += [{**each, "region": region, "machine": name} for each in page["executions"]]
        return [{**each, "input": self._input(each)} for each in found]

    def stop(self, machine: str, about: str) -> bool:
        """Stop the running executions of a machine in HOME whose input has the text; whether there was one."""
        states = self.fleet.sandbox.client("stepfunctions", HOME)
        wanted = [
            each["executionArn"]
            for each in self.all("RUNNING")
            if (each["region"], each["machine"]) == (HOME, machine) and about in each["input"]
        ]
        for arn in wanted:
            states.stop_execution(executionArn=arn, cause="stopped by the test")
        return bool(wanted)

    def quiet(self, *, seconds: float) -> None:
        """Wait until nothing has been running for a while.

        Raises:
            AssertionError: something still does.

        """
        end, still = time.monotonic() + seconds, 0
        while still < 3:
            running = self.all("RUNNING")
            still = 0 if running else still + 1
            assert time.monotonic() < end, f"after {seconds} s {len(running)} still run, of {running[0]['input'][:200]}"
            time.sleep(0.7)

    def _input(self, execution: dict[str, Any]) -> str:
        arn = execution["executionArn"]
        if arn not in self.inputs:
            states = self.fleet.sandbox.client("stepfunctions", execution["region"])
            self.inputs[arn] = states.describe_execution(executionArn=arn)["input"]
        return self.inputs[arn]


class AlarmWatch:
    """Which alarms of HOME were in ALARM when; a context manager."""

    def __init__(self, fleet: FaultyFleet) -> None:
        self._fleet, self._end = fleet, threading.Event()
        self._seen: list[tuple[datetime, frozenset[str]]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> AlarmWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def rang(self, alarm: str, after: datetime, *, seconds: float = 15) -> bool:
        """Whether the alarm was in ALARM within ``seconds`` after the moment."""
        return any(alarm in names for at, names in self._seen if 0 <= (at - after).total_seconds() + 1 <= seconds)

    def _run(self) -> None:
        cloudwatch = self._fleet.sandbox.client("cloudwatch", HOME)
        while not self._end.wait(0.5):
            try:
                alarms = cloudwatch.describe_alarms(StateValue="ALARM")["MetricAlarms"]
            except Exception:  # noqa: S112  # the sandbox is killed under it
                continue
            self._seen.append((datetime.now(UTC), frozenset(each["AlarmName"] for each in alarms)))
