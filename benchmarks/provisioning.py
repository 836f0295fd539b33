# SPDX-License-Identifier: GPL-3.0-or-later
"""What it takes to provision a device by the API, and how much of that is to choose its region.

Devices ask the API of a sandbox one after the other, then many at once. Choosing a region (the address in the
database of cities, then the rules over all regions of AWS IoT Core) is timed in this process, over the addresses of
several continents.

The last line is JSON. ``request_ms``: median of one request; ``decision_us``: one choice; ``decision_part``: of the
request, target 0.01 at most; ``requests_per_second``: at once, all granted.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "collections"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment
from tests.integration.features import provisioning
from tests.provisioning import AMERICA, AUSTRALIA, CHINA, EUROPE, KOREA, Device, event, packaged

REGIONS = ("eu-west-1", "us-east-1")
VIEWER, PLACES = "127.77.0.1", (AMERICA, AUSTRALIA, CHINA, EUROPE, KOREA)
TARGET = 0.01


def main() -> int:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer devices: under a minute")
    quick = parser.parse_args().quick
    alone, together, choices = (20, 40, 2_000) if quick else (200, 400, 50_000)
    with tempfile.TemporaryDirectory() as directory:
        requests, rate = _requests(Path(directory), alone, together)
        decision = _decision(Path(directory), choices)
    request = statistics.median(requests)
    part = decision / request
    print(f"one request: {request * 1000:.1f} ms (median of {alone}), {together} at once: {rate:.1f} a second")
    print(f"one choice of a region: {decision * 1e6:.0f} us, {part:.2%} of a request (target {TARGET:.0%})")
    answer = {
        "request_ms": round(request * 1000, 1),
        "decision_us": round(decision * 1e6, 1),
        "decision_part": round(part, 5),
        "requests_per_second": round(rate, 1),
    }
    print(json.dumps(answer))
    return 0


def _requests(directory: Path, alone: int, together: int) -> tuple[list[float], float]:
    """Seconds of each of those that came one after the other, and how many were granted a second at once."""
    for name in ("sandbox", "fleet"):
        (directory / name).mkdir()
    sandbox = Sandbox(directory / "sandbox").start()
    try:
        sandbox.viewers({VIEWER: EUROPE})
        fleet = Deployment(sandbox, directory / "fleet", REGIONS, features=("provisioning",))
        url = provisioning.url(fleet, REGIONS[0])
        _ask(fleet, url, "warm")  # a function that starts takes longer
        print(f"{alone} devices one after the other", flush=True)
        seconds = [_ask(fleet, url, f"alone-{number}") for number in range(alone)]
        print(f"{together} devices at once", flush=True)
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: _ask(fleet, url, f"together-{number}"), range(together)))
        return seconds, together / (time.monotonic() - began)
    finally:
        sandbox.stop()


def _ask(fleet: Deployment, url: str, thing: str) -> float:
    """Provision a device; seconds that its request took."""
    device = Device(thing)
    item = {name: {"S": value} for name, value in device.item().items() if isinstance(value, str)}
    fleet.sandbox.client("dynamodb", REGIONS[0]).put_item(
        TableName=provisioning.TABLE, Item={**item, "revision": {"N": "1"}}
    )
    body = json.dumps(device.request())
    api = urlsplit(url)
    began = time.monotonic()
    connection = http.client.HTTPConnection(str(api.hostname), api.port, timeout=60, source_address=(VIEWER, 0))
    connection.request("POST", f"{api.path}/v1/device-provisioning", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    seconds = time.monotonic() - began
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{thing} was refused: {answer.status} {text.decode()}")
    return seconds


def _decision(directory: Path, times: int) -> float:
    """Seconds of one choice."""
    with packaged(directory) as package:
        rules = package.choosing.Rules(regions=tuple(package.regions.REGIONS), default_region=REGIONS[0])
        events: list[dict[str, Any]] = [event({}, source=place) for place in PLACES]
        healthy = set(rules.regions)

        def choose(sent: dict[str, Any]) -> Any:
            return package.choosing.choose(package.location.locate(sent, ("database",)), rules, healthy)

        for sent in events:
            choose(sent)  # the database is opened once
        began = time.perf_counter()
        for number in range(times):
            choose(events[number % len(events)])
        return (time.perf_counter() - began) / times


if __name__ == "__main__":
    sys.exit(main())
