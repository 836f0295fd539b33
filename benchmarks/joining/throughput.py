# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast many devices join at once, and where the time goes."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.joining.devices import Device
from benchmarks.joining.fleet import applied, fleet, join_all, make_devices, settle
from benchmarks.joining.observe import Observer
from tests.integration.deployment import Deployment

LINES = 15  # operations that are listed


def run(number: int) -> dict[str, Any]:
    """Let ``number`` devices join, half in each region; print where the time went; the figures.

    Raises:
        RuntimeError: a device is not ACTIVE, with thing and policy, in both regions.

    """
    with tempfile.TemporaryDirectory() as directory, fleet(Path(directory)) as deployment:
        observer, devices = Observer(deployment), make_devices(deployment, number)
        first, second = deployment.regions
        halves = {first: devices[: number // 2], second: devices[number // 2 :]}
        before, own, began = _processor(deployment.sandbox.pid), time.process_time(), time.monotonic()
        asyncio.run(_join(halves, deployment))
        accepted = max(device.accepted for device in devices) - began
        everywhere = time.monotonic() - began
        used = _processor(deployment.sandbox.pid) - before
        own = time.process_time() - own
        _require_active(deployment, devices)
        _print_calls(observer)
        waits = sorted(device.accepted - device.first_connect for device in devices)
        invocations, _bytes = observer.invocations()
        print(f"functions: {invocations.total()} invocations")
        print(f"processor: sandbox {used:.1f} s, devices {own:.1f} s, of {everywhere:.1f} s x {os.cpu_count()} cores")
        return {
            "devices": number,
            "accepted_seconds": round(accepted, 1),
            "active_everywhere_seconds": round(everywhere, 1),
            "devices_per_second": round(number / everywhere, 1),
            "p50_seconds": round(_percentile(waits, 50), 1),
            "p99_seconds": round(_percentile(waits, 99), 1),
            "attempts": number + sum(device.refused for device in devices),
            "active_in_each_region": {region: applied(deployment, region) for region in deployment.regions},
        }


async def _join(halves: dict[str, list[Device]], deployment: Deployment) -> None:
    """Until all are accepted and every region has applied every row; the connections stay open so long."""
    await join_all(halves, deployment)
    devices = [device for half in halves.values() for device in half]
    await asyncio.to_thread(settle, deployment, len(devices))
    for device in devices:
        await device.leave()


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _require_active(deployment: Deployment, devices: list[Device]) -> None:
    """Every certificate is ACTIVE and has the policy, every thing is there, in each region."""
    for region in deployment.regions:
        iot = deployment.sandbox.client("iot", region)
        pages = iot.get_paginator("list_certificates").paginate()
        active = {c["certificateArn"] for page in pages for c in page["certificates"] if c["status"] == "ACTIVE"}
        policy = f"{deployment.application}-device"
        pages = iot.get_paginator("list_targets_for_policy").paginate(policyName=policy)
        allowed = {target for page in pages for target in page["targets"]}
        pages = iot.get_paginator("list_things").paginate()
        things = {thing["thingName"] for page in pages for thing in page["things"]}
        names = {device.name for device in devices}
        if len(active) != len(names) or not active <= allowed or things != names:
            raise RuntimeError(f"{region}: {len(active)} certificates are ACTIVE, {len(things)} things are there")
        for name in names:
            if len(iot.list_thing_principals(thingName=name)["principals"]) != 1:
                raise RuntimeError(f"{region}: {name} has no certificate")


def _print_calls(observer: Observer) -> None:
    """The operations that took the most time in sum, of all regions."""
    spent: dict[str, list[float]] = defaultdict(list)
    for _owner, call in observer.calls():
        spent[f"{call['service']} {call['operation']}"].append(call["ms"])
    print(f"{'calls':>7}  {'mean ms':>8}  {'sum s':>7}  operation")
    for name, times in sorted(spent.items(), key=lambda each: -sum(each[1]))[:LINES]:
        print(f"{len(times):7}  {sum(times) / len(times):8.1f}  {sum(times) / 1000:7.1f}  {name}")


def _processor(pid: int) -> float:
    """Processor seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[number]) for number in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")
