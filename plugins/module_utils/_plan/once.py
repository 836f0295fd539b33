# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs once that devices join, and that a new region gets them. Private to the collection.

Units of a device are those that benchmarks/onboarding.py counts (docs/performance.md); those of earlier systems are
counted in their definitions.
"""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._plan.bill import Line, line
from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import Fleet
from ansible_collections.iotops.fleet.plugins.module_utils._plan.standing import standing

GB = 1e9
ROW_BYTES, STATUS_BYTES = 2048, 1024
KNOCKS = 1.1  # a tenth of the devices comes back too early and is refused a second time
EXPRESS_GB = 64 / 1024
# GB-s of an EXPRESS execution.
CONVERGE_GB_SECONDS = 0.04375
REGISTER_GB_SECONDS = 0.025625
# Earlier systems: seconds of the two machines.
LOOKUP_SECONDS = (3.0, 2.5)
NO_OP_TRANSITIONS = 3.0


def onboarding(fleet: Fleet, seconds: float, *, design: str = "", machine_type: str = "") -> list[Line]:
    """All devices join, which takes so long."""
    design, machine_type = design or fleet.design, machine_type or fleet.machine_type
    if design == "lookup":
        return lookup(fleet.devices, len(fleet.shares), machine_type, filtered=False)
    devices, regions = fleet.devices, len(fleet.shares)
    others = devices * (regions - 1)
    row_gb = devices * ROW_BYTES / GB / 2  # on average
    return [
        line("AWS IoT Core", "CONNECT: refused, accepted, in each other region", devices * (KNOCKS + 1) + others,
             "iot message"),
        line("AWS IoT Core", "rules: first contact", devices * KNOCKS, "rule"),
        line("AWS IoT Core", "actions: first contact", devices * KNOCKS, "action"),
        *_made(devices, regions, machine_type, design),
        *_entered(devices, machine_type),
        line("DynamoDB", "writes: the row, leases", devices * (2 + KNOCKS), "write unit"),
        line("DynamoDB", "writes: the row in each other replica", others * 2, "write unit"),
        line("DynamoDB", "writes: index entries", devices * regions, "write unit"),
        line("DynamoDB", "reads: may it come in", devices * 5, "read unit"),
        line("EventBridge", "pipes", others, "pipe request"),
        line("EventBridge", "events on the bus", others, "custom event"),
        *standing(devices / 2, seconds / 3600, regions, row_gb),
        *_indexed(fleet, devices * regions),
    ]  # fmt: skip


def backfill(fleet: Fleet) -> list[Line]:
    """A new region gets every device: those that are live are made, the revoked ones registered as such."""
    known = fleet.devices + fleet.revoked
    return [
        *_made(fleet.devices, 1, fleet.machine_type, "rows"),
        *_converged(fleet.revoked, fleet.machine_type),
        line("DynamoDB", "writes: the rows in the new replica, and their index entries", known * 3, "write unit"),
        line("Step Functions", "children of the map", known, "express request"),
        *_indexed(fleet, fleet.devices),
    ]


def lookup(devices: float, regions: int, machine_type: str, *, filtered: bool) -> list[Line]:
    """All devices join in an earlier system; ``filtered``: with a pipe that drops what its own region wrote."""
    others = devices * (regions - 1)
    unfiltered = 0.0 if filtered else devices
    if machine_type == "EXPRESS":
        here, there = (seconds * EXPRESS_GB for seconds in LOOKUP_SECONDS)
        machines = [
            line("Step Functions", "executions", devices + others + unfiltered, "express request"),
            line("Step Functions", "duration", devices * here + others * there, "express GB-s"),
        ]
    else:
        entry, other = DESIGNS["lookup"].transitions
        count = devices * (entry - NO_OP_TRANSITIONS) + others * other + unfiltered * NO_OP_TRANSITIONS
        machines = [line("Step Functions", "transitions", count, "transition")]
    return [
        line("AWS IoT Core", "CONNECT: refused, accepted", devices * 2, "iot message"),
        line("AWS IoT Core", "registry operations", devices * regions * 2, "registry operation"),
        line("AWS IoT Core", "rules: first contact", devices, "rule"),
        line("AWS IoT Core", "actions: first contact", devices, "action"),
        *machines,
        line("Lambda", "functions: invocations", devices * regions, "lambda request"),
        line("Lambda", "functions: duration", devices * regions * 0.2 * 0.25, "lambda GB-s"),
        line("DynamoDB", "writes: the row in each replica", devices * regions * 3, "write unit"),
        line("EventBridge", "pipes", others + unfiltered, "pipe request"),
        line("EventBridge", "events on the bus", others + unfiltered, "custom event"),
    ]


def _made(devices: float, regions: int, machine_type: str, design: str) -> list[Line]:
    """A device is made in each of so many regions."""
    each = devices * regions
    grouped = 1 if design == "group" else 0  # AddThingToThingGroup is charged, AttachPolicy is not
    return [
        line("AWS IoT Core", "registry operations", each * (2 + grouped), "registry operation"),
        line("AWS IoT Core", "rules: registry events of our own calls", each, "rule"),
        line("AWS IoT Core", "actions: registry events of our own calls", each, "action"),
        *_converged(each, machine_type),
    ]


def _converged(times: float, machine_type: str) -> list[Line]:
    """So many executions of converge-device."""
    if machine_type == "EXPRESS":
        machines = [
            line("Step Functions", "executions: converge-device", times, "express request"),
            line("Step Functions", "duration: converge-device", times * CONVERGE_GB_SECONDS, "express GB-s"),
        ]
    else:
        transitions = DESIGNS["rows"].transitions[1]
        machines = [line("Step Functions", "transitions: converge-device", times * transitions, "transition")]
    return [
        *machines,
        line("DynamoDB", "writes: lease and status", times * 2, "write unit"),
        line("DynamoDB", "reads: rows and revocations", times * 5, "read unit"),
    ]


def _entered(devices: float, machine_type: str) -> list[Line]:
    """Devices are judged where they enter."""
    if machine_type == "EXPRESS":
        machines = [
            line("Step Functions", "executions: register-device", devices * KNOCKS, "express request"),
            line("Step Functions", "duration: register-device", devices * REGISTER_GB_SECONDS, "express GB-s"),
        ]
    else:
        entry, other = DESIGNS["rows"].transitions
        machines = [
            line("Step Functions", "transitions: register-device", devices * (entry - other), "transition"),
        ]
    return [
        *machines,
        line("Lambda", "functions: invocations", devices, "lambda request"),
        line("Lambda", "functions: duration", devices * 0.0125, "lambda GB-s"),
        line("CloudWatch", "functions: logs", devices * 336.6, "log byte"),
    ]


def _indexed(fleet: Fleet, things: float) -> list[Line]:
    return [line("AWS IoT Core", "updates of the fleet index", things, "index update")] if fleet.indexing else []


__all__ = ["GB", "ROW_BYTES", "STATUS_BYTES", "backfill", "lookup", "onboarding"]
