# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in two regions that grows: what a check reads, and nothing that works meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from iotops.sandbox.client import Sandbox

TEMPLATES = Path(__file__).resolve().parents[2] / "files" / "cloudformation"
HOME, AWAY = "eu-west-1", "us-west-2"
LATENCY = {HOME: 0.030, AWAY: 0.090}  # seconds a call
APPLICATION = "bench"
LOT = 10_000  # devices that are seeded by one request
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
PATIENCE = 60.0  # seconds for a stack or an index
LAST_SNAPSHOT = 31.0  # seconds from a change to the beginning of the last snapshot that follows it, at most


@dataclass
class Fleet:
    """The tables, thing type and policy of a fleet, and ``devices`` so far."""

    sandbox: Sandbox
    devices: int = 0

    def deploy(self) -> None:
        """Make what there is before the first device, and turn on the fleet index, which D needs."""
        template = yaml.safe_load((TEMPLATES / "global.yaml").read_text())
        for resource in template["Resources"].values():
            if replicas := resource.get("Properties", {}).get("Replicas"):
                replicas.append({**replicas[0], "Region": AWAY})
        self._stack(HOME, "global", json.dumps(template))
        for region in LATENCY:
            self._stack(region, "foundation", (TEMPLATES / "foundation.yaml").read_text())
            iot, name = self.sandbox.client("iot", region), f"{APPLICATION}-device"
            iot.create_thing_type(thingTypeName=name)
            iot.create_policy(policyName=name, policyDocument=json.dumps(POLICY))
            iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "REGISTRY"})
            _until(lambda iot=iot: iot.describe_index(indexName="AWS_Things")["indexStatus"] == "ACTIVE")
        for region, delay in LATENCY.items():
            self.sandbox.fault(region=region, effect="delay", delay=delay)

    def grow(self, devices: int) -> None:
        """Have so many devices."""
        while self.devices < devices:
            lot = min(LOT, devices - self.devices)
            self.sandbox.seed(
                devices=lot, regions=list(LATENCY), application=APPLICATION, prefix=f"device-{self.devices}-"
            )
            self.devices += lot

    def calls(self, since: datetime) -> int:
        """Calls of AWS IoT in both regions since then."""
        return len(self.sandbox.journal(since=since, service="iot"))

    def rest(self) -> None:
        """Wait until the sandbox has saved all, which it does several times in half a minute and on one processor."""
        quiet, pause, longest = 0.0, 0.2, 0.0
        while quiet < max(LAST_SNAPSHOT, 2 * longest + 1):  # it pauses twice as long as a snapshot took
            saving = 0.0
            while _children(self.sandbox.pid):
                time.sleep(pause)
                saving += pause
            longest, quiet = max(longest, saving), 0.0 if saving else quiet + pause
            time.sleep(pause)

    def _stack(self, region: str, name: str, body: str) -> None:
        cloudformation = self.sandbox.client("cloudformation", region)
        stack = f"{APPLICATION}-{name}"
        parameters = [{"ParameterKey": "Application", "ParameterValue": APPLICATION}]
        cloudformation.create_stack(StackName=stack, TemplateBody=body, Parameters=parameters)
        _until(lambda: not _status(cloudformation, stack).endswith("IN_PROGRESS"))
        if (status := _status(cloudformation, stack)) != "CREATE_COMPLETE":
            raise SystemExit(f"the stack {stack} in {region} is {status}")


def _status(cloudformation: Any, stack: str) -> str:
    return str(cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])


def _until(is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > end:
            raise SystemExit(f"the sandbox is not ready after {PATIENCE:.0f} s")
        time.sleep(0.1)


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


@contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    """A fleet without devices in a sandbox of its own, gone at the end."""
    sandbox = Sandbox(directory / "sandbox").start()
    try:
        found = Fleet(sandbox)
        found.deploy()
        yield found
    finally:
        sandbox.stop()


def load() -> str:
    """How busy the machine is, for what else runs on it."""
    return f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"
