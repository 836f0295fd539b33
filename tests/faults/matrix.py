# SPDX-License-Identifier: GPL-3.0-or-later
"""Every Task state of the machines x every fault: run for real, judged, healed, judged again.

A case is one device whose execution in HOME meets one fault in one state. Cases do not disturb each other (a fault rule
strikes one state of the executions about one device), so a whole batch of them runs at once, in steps: prepare, act
under the fault, wait until nothing runs any more, judge, lift the faults, heal, judge.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import Letter
from tests import invariants
from tests.faults.fleet import HOME, AlarmWatch, FaultyFleet
from tests.faults.scenarios import SCENARIOS, Scenario, Subject
from tests.integration.deployment import eventually
from tests.unit.asl.definitions import tasks

FACTOR = 0.1  # of every wait in the definitions
PATIENCE = 0.25  # of the time that a task may take, and of the leases: two processors serve all cases at once
MINUTE = 60 * FACTOR  # seconds
LONGEST_SILENCE = 1.2 * 30 * FACTOR  # seconds between two attempts of a task
MANY = 100_000  # ``times`` of a rule that strikes until it is lifted; what is left of it tells how often it struck
WORKERS = 10
HEALED_AT_ONCE = 20  # cases; all wake executions at the same moment
MACHINES = ("register-device", "converge-device")
ROLES = {"register-device": "*RegisterDeviceRole*", "converge-device": "*ConvergeDeviceRole*"}
# A call that never gets through, for a little longer than a task waits for it.
HELD = {"effect": "timeout", "delay": 25 * PATIENCE}

# What goes wrong. ``stopped-before`` and ``killed`` hold the call, and end the execution or the sandbox meanwhile.
FAULTS: dict[str, dict[str, Any]] = {
    "throttled-once": {"effect": "throttle", "times": 1},
    "throttled-for-a-minute": {"effect": "throttle"},
    "internal-error": {"effect": "error", "status": 500},
    "timeout": HELD,
    "access-denied": {"effect": "error", "error": "AccessDeniedException", "status": 403},
    "bad-request": {"effect": "error", "status": 400},
    "stopped-before": HELD,
    "failed-after-it-took-effect": {"effect": "fail-after", "status": 500, "times": 1},
    "fails-each-time-after-it-took-effect": {"effect": "fail-after", "status": 500},
    "killed": HELD,
}
# How a service (as Step Functions calls it) names an error that it has no better name for: 500, 400.
ERRORS: dict[str, dict[int, str]] = {
    "dynamodb": {500: "InternalServerError", 400: "ValidationException"},
    "iot": {500: "InternalFailureException", 400: "InvalidRequestException"},
    "iotdataplane": {500: "InternalFailureException", 400: "InvalidRequestException"},
    "lambda": {500: "ServiceException", 400: "InvalidParameterValueException"},
    "sfn": {500: "InternalFailure", 400: "ValidationException"},
    "sqs": {500: "InternalFailure", 400: "InvalidParameterValue"},
}


def rule(machine: str, state: str, fault: str) -> dict[str, Any]:
    """The effect of a fault as the called service would show it."""
    effect = {"times": MANY, **FAULTS[fault]}
    if "status" in effect and "error" not in effect:
        service = re.split(
            "[:.]", tasks(machine)[state]["Resource"].partition(":states:::")[2].removeprefix("aws-sdk:")
        )
        effect["error"] = ERRORS[service[0]][effect["status"]]
    return effect


def task_states() -> list[tuple[str, str]]:
    """(machine, name) of every Task state, also inside of Maps, as the definitions are now."""
    return [(machine, state) for machine in MACHINES for state in tasks(machine)]


@dataclass
class Case:
    """One state, one fault, one device, and what came of it."""

    machine: str
    state: str
    fault: str
    scenario: Scenario
    subject: Subject
    acted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    struck: bool = False
    finished: bool = False
    letters: list[tuple[str, Letter]] = field(default_factory=list)
    alarms: set[str] = field(default_factory=set)
    healed_by: str = ""
    violations: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.machine}/{self.state} {self.fault}"

    @property
    def key(self) -> str:
        """What the input of the execution that is to be struck contains."""
        return self.subject.device.id if self.machine == "register-device" else f'"{self.subject.thing}"'

    def is_about(self, text: str) -> bool:
        """Whether an input, or a line about a violation, is about this case's device."""
        ids = [each.id for each in (self.subject.device, self.subject.before) if each]
        return f'"{self.subject.thing}"' in text or any(each in text for each in ids)


def cases(fleet: FaultyFleet, wanted: Iterable[tuple[str, str, str]]) -> list[Case]:
    """Cases of (machine, state, fault)."""
    made = []
    for machine, state, fault in wanted:
        scenario = SCENARIOS[machine, state]
        thing = f"{machine.partition('-')[0]}-{state}-{list(FAULTS).index(fault)}"  # a common name has 64 characters
        device = fleet.issue(thing, getattr(fleet, scenario.issuer))
        made.append(Case(machine, state, fault, scenario, Subject(thing, device)))
    return made


@dataclass
class Report:
    """The outcome of all batches."""

    cases: list[Case] = field(default_factory=list)
    seconds: float = 0

    @property
    def violations(self) -> list[str]:
        """One line each."""
        return [f"{case.name}: {line}" for case in self.cases for line in case.violations]

    def figures(self) -> dict[str, Any]:
        """What is printed, for machines."""
        healed = Counter(case.healed_by for case in self.cases if case.healed_by)
        return {
            "cases": len(self.cases),
            "finished_by_themselves": sum(case.finished for case in self.cases),
            "dead_lettered": sum(bool(case.letters) for case in self.cases),
            "alarmed_only": sum(bool(case.alarms) and not case.letters for case in self.cases if not case.finished),
            "healed": dict(sorted(healed.items())),
            "violations": len(self.violations),
            "seconds": round(self.seconds),
        }

    def show(self) -> None:
        """Print one line for each fault, all violations, and the figures."""
        for fault in FAULTS:
            of = [case for case in self.cases if case.fault == fault]
            finished, letters = sum(case.finished for case in of), sum(bool(case.letters) for case in of)
            healed = sum(bool(case.healed_by) for case in of)
            if of:
                print(
                    f"{fault:<38} {len(of):>4} cases {finished:>4} finished by themselves {letters:>4} dead-lettered "
                    f"{healed:>4} healed {sum(bool(case.violations) for case in of):>4} in violation"
                )
        print(*self.violations, sep="\n")
        print("FAULT MATRIX " + json.dumps(self.figures()))


class Matrix:
    """Runs batches of cases on one fleet."""

    def __init__(self, fleet: FaultyFleet) -> None:
        self._fleet, self._sandbox = fleet, fleet.sandbox
        self._is_standard = fleet.machine_type == "STANDARD"
        self._left: dict[str, int] = {}  # rule -> how often it will strike yet
        self._left_at = 0.0
        self._reading = threading.Lock()

    def run(self, batch: Sequence[Case]) -> Report:
        """Run the cases; those of the fault ``killed`` end with one kill of the sandbox."""
        began = time.monotonic()
        kills = [case for case in batch if case.fault == "killed"]
        assert len(kills) in (0, len(batch)), "cases that are killed have batches of their own"
        self._each(batch, lambda case: case.scenario.prepare(self._fleet, case.subject))
        with AlarmWatch(self._fleet) as watch:
            self._each(batch, self._break)
            if kills:
                self._kill()
            self._settle()
            self._judge(batch, watch)
        self._sandbox.clear_faults()
        self._heal([case for case in batch if not case.finished])
        self._inspect(batch)
        return Report(list(batch), time.monotonic() - began)

    def _each(self, batch: Sequence[Case], step: Callable[[Case], None]) -> None:
        with ThreadPoolExecutor(WORKERS) as pool:
            for case, done in [(case, pool.submit(step, case)) for case in batch]:
                try:
                    done.result()
                except Exception as error:
                    case.violations.append(f"the test failed: {error!r}")

    def _break(self, case: Case) -> None:
        """Put the fault in force and let the device act."""
        select = {"region": HOME, "caller": ROLES[case.machine], "input": f"*{case.key}*"}
        effect = rule(case.machine, case.state, case.fault)
        self._sandbox.fault(id=case.subject.thing, state=case.state, **select, **effect)
        if also := case.scenario.also:
            self._sandbox.fault(
                id=f"{case.subject.thing}/also", state=also, **select, **rule(case.machine, also, "bad-request")
            )
        case.acted_at = datetime.now(UTC)
        case.scenario.act(self._fleet, case.subject)
        eventually(lambda: self._struck(case), seconds=60)
        case.struck = True
        if case.fault == "stopped-before":
            assert self._fleet.executions.stop(case.machine, case.key), "no execution to stop"
            self._sandbox.clear_faults(case.subject.thing)
        elif case.fault == "throttled-for-a-minute":
            time.sleep(MINUTE)
            self._sandbox.clear_faults(case.subject.thing)

    def _struck(self, case: Case) -> bool:
        with self._reading:
            if time.monotonic() > self._left_at + 0.3:  # many cases ask, and the listing is long
                self._left = {each["id"]: each["times"] for each in self._sandbox.faults()}
                self._left_at = time.monotonic()
        all_of_them = FAULTS[case.fault].get("times", MANY)
        return self._left.get(case.subject.thing, all_of_them) < all_of_them

    def _kill(self) -> None:
        self._sandbox.snapshot()
        self._sandbox.kill()
        self._sandbox.start()

    def _settle(self) -> None:
        """Wait until nothing runs any more; nobody lists EXPRESS executions, so until none has made a call for long."""
        if self._is_standard:
            self._fleet.executions.quiet(seconds=300)
        else:
            time.sleep(LONGEST_SILENCE)  # what was just woken may not have begun
            eventually(lambda: not self._calls(since=timedelta(seconds=LONGEST_SILENCE)), seconds=120)

    def _calls(self, since: timedelta) -> bool:
        calls = self._sandbox.journal(since=self._sandbox.now() - since)
        return any(call["caller"].endswith("/states") for call in calls)

    def _judge(self, batch: Sequence[Case], watch: AlarmWatch) -> None:
        """Before anything is healed: what did not finish by itself has left a dead letter or an alarm."""
        letters = [(region, letter) for region in self._fleet.regions for letter in self._fleet.letters(region)]
        ended = [] if not self._is_standard else [
            each for each in self._fleet.executions.all() if each["status"] in ("FAILED", "ABORTED", "TIMED_OUT")
        ]  # fmt: skip
        wrong = self._wrong(batch)
        for case in batch:
            case.letters = [each for each in letters if case.is_about(f'"{each[1].shown()["device"]}"')]
            case.finished = not wrong[case.name]
            for execution in ended:
                if case.is_about(execution["input"]) and execution["startDate"] >= case.acted_at:
                    alarm = f"{self._fleet.application}-{execution['machine']}-{_alarm(execution['status'])}"
                    if watch.rang(alarm, execution["stopDate"]):
                        case.alarms.add(alarm)
            if not case.finished and not case.letters and not case.alarms:
                case.violations.append(f"did not finish, and neither dead letter nor alarm: {wrong[case.name]}")

    def _heal(self, unfinished: list[Case]) -> None:
        """Redrive, then let devices come again as they would, then sweep, each time until nothing runs."""
        self._outwait_leases(unfinished)
        for how, step in (("redrive", self._redrive), ("reconnect", self._reconnect), ("sweep", self._sweep)):
            left = [case for case in unfinished if not case.healed_by]
            if not left:
                return
            for at in range(0, len(left), HEALED_AT_ONCE):
                self._each(left[at : at + HEALED_AT_ONCE], step)
                self._settle()
            wrong = self._wrong(left)
            for case in left:
                if not wrong[case.name]:
                    case.healed_by = how

    def _outwait_leases(self, unfinished: list[Case]) -> None:
        """An operator comes when the leases of what was stopped have run out."""
        until = [0.0]
        for region in self._fleet.regions:
            status = invariants.look_at_tables(self._sandbox, self._fleet.application, region)["device-status"]
            for case in unfinished:
                keys = (case.subject.thing, f"certificate/{case.subject.device.id}")
                until += [item["LeaseUntil"] for key in keys if "LeaseOwner" in (item := status.get(key, {}))]
        time.sleep(max(0, max(until) + 1 - time.time()))

    def _redrive(self, case: Case) -> None:
        for region, letter in case.letters:
            self._fleet.redrive(region, [letter])

    def _reconnect(self, case: Case) -> None:
        """A device knocks for longer than any lease lasts."""
        for region in case.scenario.knocks:
            end = time.monotonic() + 70 * PATIENCE
            while not self._fleet.knock(case.subject.device, region, case.subject.thing) and time.monotonic() < end:
                time.sleep(10 * FACTOR)

    def _sweep(self, case: Case) -> None:
        for region in self._fleet.regions:
            self._fleet.sweep(region, case.subject.thing)

    def _inspect(self, batch: Sequence[Case]) -> None:
        """In the end everything is right, and a device that is to work connects at first try in both regions."""
        wrong = self._wrong(batch)
        for case in batch:
            case.violations += wrong[case.name]
        self._each([case for case in batch if case.scenario.ends != "unknown"], self._connects)

    def _connects(self, case: Case) -> None:
        for region in self._fleet.regions:
            works = self._fleet.knock(case.subject.device, region, case.subject.thing)
            if works != case.scenario.connects:
                case.violations.append(f"it {'connects' if works else 'does not connect'} in {region}")

    def _wrong(self, batch: Sequence[Case]) -> dict[str, list[str]]:
        """What is wrong with each case's device now."""
        regions = [invariants.look(self._sandbox, self._fleet.application, region) for region in self._fleet.regions]
        lines = invariants.violations(regions)
        return {case.name: [*_ending(case, regions), *_lines_about(case, lines)] for case in batch}


def _lines_about(case: Case, lines: list[str]) -> list[str]:
    ids = [each.id for each in (case.subject.device, case.subject.before) if each]
    return [line for line in lines if line.startswith(f"{case.subject.thing}:") or any(each in line for each in ids)]


def _ending(case: Case, regions: Sequence[invariants.Region]) -> list[str]:
    """What of the story's end is missing."""
    wanted, device = case.scenario.ends, case.subject.device.id
    found = []
    for region in regions:
        row = region.rows.get(case.subject.thing)
        if wanted in ("unknown", "rejected"):
            if row:
                found.append(f"there is a row in {region.name}")
        elif not row or row["State"] != wanted or device not in row["Certificates"]:
            found.append(f"the row in {region.name} is {row and row['State']}, not {wanted} with the certificate")
        elif region.certificates.get(device) == "PENDING_ACTIVATION":
            found.append(f"the certificate waits in {region.name}")
    home = next(region for region in regions if region.name == HOME)
    if wanted == "rejected" and not (device in home.rejected and home.certificates.get(device) == "REVOKED"):
        found.append("the rejection is not on record, or the certificate not revoked")
    return found


def _alarm(status: str) -> str:
    return status.lower().replace("_", "-")


__all__ = ["FACTOR", "FAULTS", "PATIENCE", "Case", "Matrix", "Report", "cases", "task_states"]
