# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of two regions with everything that there is to deploy, and devices that join it."""

from __future__ import annotations

import asyncio
import pkgutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.joining.devices import Device
from iotops.sandbox.client import Sandbox
from tests.integration import features
from tests.integration.deployment import Deployment

REGIONS = ("eu-west-1", "us-west-2")
PATIENCE = 600.0  # seconds until everything has to be applied everywhere


@contextmanager
def fleet(directory: Path, machine_type: str = "EXPRESS") -> Iterator[Deployment]:
    """A deployment in a sandbox of its own, gone at the end."""
    sandbox = Sandbox(directory / "sandbox").start()
    every = tuple(module.name for module in pkgutil.iter_modules(features.__path__))
    work = directory / "work"
    work.mkdir()
    try:
        yield Deployment(sandbox, work, REGIONS, machine_type=machine_type, features=every)
    finally:
        sandbox.stop()


def make_devices(deployment: Deployment, number: int) -> list[Device]:
    """Devices with certificates of their own (P-256, as the fleet's default profile makes them)."""
    devices = []
    for index in range(number):
        name = f"device-{index:06}"
        certificate, key = deployment.issue(name).files(deployment.directory, chain=deployment.ca.pem)
        devices.append(Device(name, certificate, key, deployment.trust, "iot.example.com"))
    return devices


async def join_all(devices: dict[str, list[Device]], deployment: Deployment) -> None:
    """All connect at once, each to its region, until all are accepted; their connections stay open."""
    await asyncio.gather(
        *(
            device.join(deployment.sandbox.regions[region]["mqtt"])
            for region, joining in devices.items()
            for device in joining
        )
    )


def settle(deployment: Deployment, devices: int) -> None:
    """Wait until every region has applied every row.

    Raises:
        TimeoutError: not within ``PATIENCE``.

    """
    deadline = time.monotonic() + PATIENCE
    while late := [region for region in deployment.regions if applied(deployment, region) < devices]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{', '.join(late)}: not every row is applied after {PATIENCE:.0f} s")
        time.sleep(0.5)


def applied(deployment: Deployment, region: str) -> int:
    """How many rows the region has applied."""
    rows = _column(deployment, region, "device-inventory", "WriteId")
    done = _column(deployment, region, "device-status", "AppliedWriteId")
    return sum(done.get(thing) == write for thing, write in rows.items())


def _column(deployment: Deployment, region: str, table: str, attribute: str) -> dict[str, Any]:
    pages = deployment.sandbox.client("dynamodb", region).get_paginator("scan").paginate(
        TableName=f"{deployment.application}-{table}", ProjectionExpression=f"ThingName, {attribute}"
    )  # fmt: skip
    return {
        item["ThingName"]["S"]: item[attribute]["S"] for page in pages for item in page["Items"] if attribute in item
    }
