# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs that devices join: counted in a deployment of two regions, priced as AWS does."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.joining import prices
from benchmarks.joining.bill import WRITES, Line, Rate, matches, rates, total
from benchmarks.joining.devices import Device
from benchmarks.joining.fleet import fleet, make_devices, settle
from benchmarks.joining.observe import Execution, Observer, Owner, Table, assumed_seconds, reads_consistently
from tests.integration.deployment import Deployment

Calls = list[tuple[Owner, dict[str, Any]]]
FLEET = 1_000_000  # devices over whose joining the standing work is spread
SWEEP_INTERVAL = 900  # seconds
STREAM_POLLS = 4  # a second by each pipe, at most
QUEUE_POLLS = 0.25  # a second: five pollers of a function that wait 20 s each
SWEEP_SECONDS = 100e-6  # a row, assumed


class Run:
    """One deployment that ``devices`` devices entered through the first region, and what was counted."""

    def __init__(self, machine_type: str, devices: int) -> None:
        self.machine_type, self.devices = machine_type, devices
        with tempfile.TemporaryDirectory() as directory, fleet(Path(directory), machine_type) as deployment:
            self.observer = observer = Observer(deployment)
            self.regions = deployment.regions
            if machine_type == "EXPRESS":
                observer.log_everything()
            joining = make_devices(deployment, devices)
            asyncio.run(_join(deployment, joining))
            self.refused = sum(device.refused for device in joining)
            self.calls: Calls = [(o, c) for o, c in observer.calls() if not o.role.startswith("Sweep")]
            self.executions: list[Execution] = observer.executions()
            self.invocations, self.log_bytes = observer.invocations()
            self.memory = {name: observer.memory_gb(name) for name in self.invocations}
            self.definitions = observer.definitions()
            named = {name for _owner, call in self.calls if call["service"] == "dynamodb" for name in call["resources"]}
            inventory, status = (f"{deployment.application}-{name}" for name in ("device-inventory", "device-status"))
            self.tables: dict[str, Table] = {name: observer.table(name) for name in {*named, inventory, status}}
            self.rows, self.statuses = self.tables[inventory], self.tables[status]
            self.filters = {region: observer.rule_filters(region) for region in self.regions}
            self.standing = observer.standing()
            self.stored = observer.store_messages([device.name for device in joining])

    def each(self, count: float) -> float:
        """So many in the run as so many a device."""
        return count / self.devices

    def iot_calls(self, region: str) -> dict[str, float]:
        """IoT calls a device by operation."""
        counted = Counter(c["operation"] for o, c in self.calls if c["service"] == "iot" and o.region == region)
        return {operation: self.each(count) for operation, count in sorted(counted.items())}

    def rates(self) -> tuple[Rate, Rate]:
        """Devices a second at default quotas, entering through one region and through two."""
        return rates(self.iot_calls(self.regions[0]), self.iot_calls(self.regions[1]))

    def foreign_calls(self) -> Calls:
        """Calls that a region's roles made to another region."""
        return [(owner, call) for owner, call in self.calls if owner.region != call["region"]]

    def bill(self) -> list[Line]:
        """Every charge."""
        return [
            *self._broker(),
            *self._machines(),
            *self._functions(),
            *self._tables(),
            *self._transport(),
            *self._standing(),
        ]

    def _broker(self) -> list[Line]:
        registry = sum(c["operation"] in prices.REGISTRY for _o, c in self.calls if c["service"] == "iot")
        first = self.each(self._triggers(self.regions[0], "$aws/events/certificates/registered/ca", self.refused))
        presence = self.each(
            sum(self._triggers(region, f"$aws/events/presence/{what}/thing", self.devices)
                for region in self.regions for what in ("connected", "disconnected"))
        )  # fmt: skip
        events = self.each(sum(self._registry_triggers(owner.region, call) for owner, call in self.calls))
        return [
            Line("CONNECT: refused, accepted, in the other region", self.each(self.refused) + 2, "iot message", True),
            Line("registry operations", self.each(registry), "registry operation", True),
            Line("rules: first contact", first, "rule"),
            Line("actions: first contact", first, "action"),
            Line("rules: presence", presence, "rule"),
            Line("actions: presence", presence, "action"),
            Line("rules: registry events of our own calls", events, "rule"),
            Line("actions: registry events of our own calls", events, "action"),
        ]

    def _triggers(self, region: str, topic: str, messages: int) -> int:
        """Rules that ``messages`` on the topic trigger, whether or not their WHERE lets them pass."""
        return messages * sum(matches(each, topic) for each in self.filters[region])

    def _registry_triggers(self, region: str, call: dict[str, Any]) -> int:
        topics = _EVENTS.get(call["operation"], ()) if call["status"] == 200 else ()
        return sum(self._triggers(region, topic, 1) for topic in topics)

    def _machines(self) -> list[Line]:
        if self.machine_type == "STANDARD":
            transitions = Counter[str]()
            for execution in self.executions:
                transitions[execution.machine] += execution.transitions
            return [
                Line(f"transitions: {name}", self.each(count), "transition")
                for name, count in sorted(transitions.items())
            ]
        lines = []
        for name in sorted({execution.machine for execution in self.executions}):
            mine = [assumed_seconds(e, self.definitions[name]) for e in self.executions if e.machine == name]
            billed = sum(math.ceil(seconds / prices.EXPRESS_STEP) * prices.EXPRESS_STEP for seconds in mine)
            lines.append(Line(f"executions: {name}", self.each(len(mine)), "express request"))
            lines.append(Line(f"duration: {name}", self.each(billed) * prices.EXPRESS_GB, "express GB-s"))
        return lines

    def _functions(self) -> list[Line]:
        busy = sum(count * self.memory[name] * prices.FUNCTION_SECONDS for name, count in self.invocations.items())
        return [
            Line("functions: invocations", self.each(self.invocations.total()), "lambda request"),
            Line("functions: duration", self.each(busy), "lambda GB-s"),
            Line("functions: logs", self.each(self.log_bytes), "log byte"),
        ]

    def _tables(self) -> list[Line]:
        local = replicated = index = reads = 0.0
        for owner, call in self.calls:
            for name in call["resources"] if call["service"] == "dynamodb" else ():
                table, operation = self.tables[name], call["operation"]
                if operation in WRITES:
                    units = table.units(1024)
                    local += units * (2 if operation == "TransactWriteItems" else 1)
                    replicated += units * (table.replicas - 1) * (call["status"] == 200)
                    # An index entry is written with the row; that an index key changes is rare.
                    index += table.indexes * table.replicas * (operation == "PutItem" and call["status"] == 200)
                else:
                    reads += table.units(4096) * self._read_factor(owner, operation, name)
        return [
            Line("tables: writes", self.each(local), "write unit"),
            Line("tables: the same in the other region's replica", self.each(replicated), "write unit"),
            Line("tables: index entries", self.each(index), "write unit"),
            Line("tables: reads", self.each(reads), "read unit"),
        ]

    def _read_factor(self, owner: Owner, operation: str, table: str) -> float:
        """Read units of 4 KB: of a transaction 2, else 1 when strongly consistent (functions: always) or 0.5."""
        if operation == "TransactGetItems":
            return 2.0
        definition = self.definitions.get(owner.machine)
        return 1.0 if definition is None or reads_consistently(definition, operation, table) else 0.5

    def _transport(self) -> list[Line]:
        events = sum(len(call["resources"]) for _owner, call in self.calls if call["operation"] == "PutEvents")
        fed = sum(call["operation"] == "Invoke" for owner, call in self.calls if "Pipe" in owner.role)
        sent = sum(call["operation"].startswith("SendMessage") for _owner, call in self.calls)
        return [
            Line("pipes", self.each(events + fed), "pipe request"),
            Line("events on the bus", self.each(events), "custom event"),
            Line("queues: send, receive, delete", 3 * self.each(sent), "queue request"),
        ]

    def _standing(self) -> list[Line]:
        """Work that goes on by the clock, spread over the devices that join at the rate of two regions."""
        seconds = FLEET / self.rates()[1].devices
        polls = QUEUE_POLLS * self.standing.queues
        lines = [
            Line("pipes look at their streams", STREAM_POLLS * self.standing.pipes * seconds / FLEET, "stream read"),
            Line("functions look at their queues", polls * seconds / FLEET, "queue request"),
        ]
        if self.standing.sweeps:
            # On average half of them have joined when it runs.
            sweeps = seconds / SWEEP_INTERVAL / 2 * self.standing.sweeps
            scanned = self.each(sum(self.rows.sizes) + sum(self.statuses.sizes)) / 4096 / 2  # eventually consistent
            listings = seconds / self.standing.comparison_interval / 2 * self.standing.sweeps
            lines += [
                Line("sweep: reads", sweeps * scanned, "read unit"),
                Line("sweep: duration", sweeps * SWEEP_SECONDS * self.standing.sweep_gb, "lambda GB-s"),
                Line("sweep: listings of things", listings * self.standing.listed_kb, "registry operation"),
            ]
        return lines


# Topics that AWS IoT publishes on when a call succeeds.
_EVENTS = {
    "AddThingToThingGroup": ("$aws/events/thingGroupMembership/thingGroup/group/thing/thing/added",),
    "CreateThing": (
        "$aws/events/thing/thing/created",
        "$aws/events/thingTypeAssociation/thing/thing/thingType/type/added",
    ),
    "UpdateThing": ("$aws/events/thing/thing/updated",),
}


async def _join(deployment: Deployment, devices: list[Device]) -> None:
    """Each device is refused at first, every tenth one again, for coming back before it was admitted.

    (By ``prices.CALL_SECONDS`` admission takes 1.1 s; a device pauses for one to two.) When all are admitted,
    each is accepted where it was refused, and then in the other region.

    Raises:
        RuntimeError: a device was not.

    """
    first, second = (deployment.sandbox.regions[region]["mqtt"] for region in deployment.regions)
    for number, device in enumerate(devices):
        for _attempt in range(1 if number % 10 else 2):
            device.refused += not await device.connect(first)
    await asyncio.to_thread(settle, deployment, len(devices))
    for device in devices:
        for address in (first, second):
            if not await device.connect(address):
                raise RuntimeError(f"{device.name} was refused at {address}")
            await device.leave()


def avoidable(lines: list[Line]) -> float:
    """USD per million devices without registry operations and CONNECT, which no design avoids."""
    return total(line for line in lines if not line.unavoidable)
