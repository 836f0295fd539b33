# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices ask the API of any region for their certificate, many at once, with those who may not among them."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from iotops.sandbox.client import Sandbox
from tests.certificates import new_key
from tests.integration.deployment import Deployment, eventually
from tests.integration.features import provisioning
from tests.integration.sandbox.mqtt import Issued
from tests.provisioning import AMERICA, AUSTRALIA, EUROPE, Device, csr

HOME, AWAY, FAR = REGIONS = ("eu-west-1", "us-east-1", "ap-southeast-2")
# Where a request comes from, by the loopback address that its connection has.
VIEWERS = {"127.77.0.1": EUROPE, "127.77.0.2": AMERICA, "127.77.0.3": AUSTRALIA}
NEAREST = dict(zip(VIEWERS, REGIONS, strict=True))
REFUSALS = {
    "unknown": (401, "NotAuthorized"), "wrongly signed": (401, "NotAuthorized"),
    "oversized": (413, "TooLarge"), "malformed": (400, "InvalidRequest"),
}  # fmt: skip
RIGHT = {(200, ""), (409, "AlreadyProvisioned"), (409, "InProgress")}  # of two keys one gets the name
LATER = {429, 503, 504}
PATIENCE = 120.0  # seconds for one request with all its attempts


@dataclass
class Api:
    """A fleet with the API in every region."""

    fleet: Deployment
    urls: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.urls = {region: provisioning.url(self.fleet, region) for region in REGIONS}

    def allow(self, *devices: Device, **changes: Any) -> None:
        """Put devices on the list."""
        table = self.fleet.sandbox.client("dynamodb", HOME)
        for device in devices:
            item = {name: {"S": value} for name, value in device.item(**changes).items() if isinstance(value, str)}
            table.put_item(TableName=provisioning.TABLE, Item={**item, "revision": {"N": "1"}})

    def listed(self, thing: str) -> dict[str, Any]:
        """The item of a name."""
        table = self.fleet.sandbox.client("dynamodb", HOME)
        found = table.get_item(TableName=provisioning.TABLE, Key={"thing_name": {"S": thing}}).get("Item", {})
        return {name: value.get("S") for name, value in found.items()}

    def post(
        self, body: Any, *, source: str = "127.77.0.1", region: str = HOME, version: str = "v1", **headers: str
    ) -> tuple[int, Any]:
        """One request: status and answer."""
        url = urlsplit(f"{self.urls[region]}/{version}/device-provisioning")
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=60, source_address=(source, 0))
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", url.path, text, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(content) if content else {}

    def insist(self, make: Any, **where: Any) -> tuple[int, Any]:
        """Ask until there is an answer that holds; ``make`` makes each attempt's body."""
        end, pause = time.monotonic() + PATIENCE, 0.5
        while True:
            try:
                status, answer = self.post(make(), **where)
            except OSError:  # the network gave it up
                status, answer = 504, {}
            if status not in LATER or time.monotonic() > end:
                return status, answer
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, 8)

    def issued(self, device: Device, key: Any, answer: dict[str, Any]) -> Issued:
        """What the device presents."""
        certificate = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
        return provisioning.issued(device.thing, certificate, key)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    sandbox.viewers(VIEWERS)
    yield Api(Deployment(sandbox, tmp_path_factory.mktemp("deployment"), REGIONS, features=("provisioning",)))
    sandbox.stop()


def test_a_device_is_let_in_at_its_region_and_at_every_other_one_at_first_try(api: Api) -> None:
    device = Device("first")
    api.allow(device)
    status, answer = api.post(device.request(), source="127.77.0.2")
    assert status == 200, answer
    assert answer["region"] == AWAY
    issued = api.issued(device, device.key, answer)
    assert api.fleet.knock(issued, AWAY)
    for region in (HOME, FAR):
        eventually(lambda region=region: api.fleet.settled(region, "first"))
        assert api.fleet.knock(issued, region)
    assert api.listed("first")["aws_region"] == AWAY


@pytest.mark.defect("S2-4")
def test_a_device_cannot_say_that_it_is_elsewhere(api: Api) -> None:
    device = Device("traveller")
    api.allow(device)
    spoofed = {"X-Forwarded-For": AMERICA, "CloudFront-Viewer-Latitude": "40", "CloudFront-Viewer-Longitude": "-75"}
    status, answer = api.post(device.request(), source="127.77.0.3", **spoofed)
    assert (status, answer["region"]) == (200, FAR)


@pytest.mark.defect("S2-11")
def test_a_function_that_is_killed_half_way_is_finished_by_the_next_request(api: Api) -> None:
    device = Device("unlucky")
    api.allow(device)
    sandbox = api.fleet.sandbox
    sandbox.fault(region=HOME, service="dynamodb", operation="PutItem", caller="*provision*", effect="delay", delay=3)
    outcome: list[Any] = []
    asking = threading.Thread(target=lambda: outcome.append(api.post(device.request())))
    asking.start()
    eventually(lambda: api.listed("unlucky")["prov_status"] == "provisioning")
    provisioning.kill_function(sandbox)
    asking.join()
    sandbox.clear_faults()
    assert outcome[0][0] >= 500
    assert api.listed("unlucky")["prov_status"] == "provisioning"
    status, answer = api.insist(device.request)
    assert status == 200, answer
    assert api.listed("unlucky")["prov_status"] == "provisioned"
    assert list(api.fleet.row(HOME, "unlucky")["Certificates"]) == [answer["certificateId"]]
    eventually(lambda: api.fleet.knock(api.issued(device, device.key, answer), HOME))


def test_that_devices_are_told_to_come_back_later_is_counted_whatever_they_speak(api: Api) -> None:
    """Those of the earlier API by an answer of status 200; a name that says so counts for nothing."""
    sandbox, later, imp = api.fleet.sandbox, Device("later"), Device("code_Unavailable")
    api.allow(later)
    since = datetime.now(UTC) - timedelta(minutes=1)

    def counted() -> float:
        points = sandbox.client("cloudwatch", HOME).get_metric_statistics(
            Namespace=api.fleet.application, MetricName="ProvisioningUnavailable", Statistics=["Sum"],
            StartTime=since, EndTime=datetime.now(UTC) + timedelta(minutes=1), Period=60,
        )["Datapoints"]  # fmt: skip
        return sum(float(point["Sum"]) for point in points)

    assert api.post(imp.request())[0] == 401
    before = counted()
    sandbox.fault(region=HOME, service="dynamodb", caller="*provision*", effect="throttle", rate=0.001)
    try:
        assert api.post(later.request())[0] == 503
        assert api.post(later.old_request(), version="test")[0] == 200
    finally:
        sandbox.clear_faults()
    eventually(lambda: counted() == before + 2)


def test_some_devices_and_who_may_not_at_once(api: Api) -> None:
    crowd(api, names=6, each=4, bad=6, prefix="few")


@pytest.mark.long
def test_a_thousand_requests_for_a_hundred_names_make_a_hundred_devices(api: Api) -> None:
    crowd(api, names=100, each=10, bad=100, prefix="many")


def test_no_log_has_what_was_said(api: Api) -> None:
    written = provisioning.logs(api.fleet, HOME)
    assert "Granted" in written
    assert "route" in written, "the access log is there"
    for secret in ("BEGIN CERTIFICATE", "PRIVATE KEY", "signature", api.fleet.ca.key_pem.splitlines()[1]):
        assert secret not in written


@dataclass
class Attempt:
    """One who asks, and what it is told."""

    kind: str
    device: Device
    key: Any
    source: str
    region: str
    outcome: tuple[int, Any] = (0, {})


def crowd(api: Api, *, names: int, each: int, bad: int, prefix: str) -> None:
    """So many requests of each of the names, with two keys for each, and so many bad ones of each kind, all at once."""
    devices = [Device(f"{prefix}-{number}") for number in range(names)]
    api.allow(*devices)
    before = {region: held(api, region) for region in REGIONS}
    attempts = drawn(devices, each, bad)
    began = time.monotonic()
    at_once(api, attempts)
    told = Counter((attempt.kind, attempt.outcome[0], attempt.outcome[1].get("code", "")) for attempt in attempts)
    print(f"PROVISIONING {len(attempts)} requests in {time.monotonic() - began:.0f} s: {sorted(told.items())}")
    bad_ones = {key: count for key, count in told.items() if key[0] != "right"}
    assert bad_ones == {(kind, *refusal): bad for kind, refusal in REFUSALS.items()}
    assert {key[1:] for key in told if key[0] == "right"} <= {
        (200, ""),
        (409, "AlreadyProvisioned"),
        (409, "InProgress"),
    }
    given = granted(attempts)
    assert set(given) == {device.thing for device in devices}
    for attempt in given.values():
        require_no_replay(api, attempt)
    for region in REGIONS:
        require_exactly(api, region, given, before[region])


def drawn(devices: list[Device], each: int, bad: int) -> list[Attempt]:
    """All requests, in no order; a device is at one place, and asks the API of any region."""
    seeded = random.Random(len(devices))
    source = {device.thing: seeded.choice(list(VIEWERS)) for device in devices}
    attempts = []
    for device in devices:
        keys = [device.key, new_key()]
        attempts += [("right", device, keys[number % 2], device) for number in range(each)]
    for number in range(bad):
        device = devices[number % len(devices)]
        attempts.append(("unknown", Device(f"nobody-{number}"), new_key(), device))
        attempts.append(("wrongly signed", Device(device.thing, new_key()), new_key(), device))
        attempts.append(("oversized", device, new_key(), device))
        attempts.append(("malformed", device, new_key(), device))
    seeded.shuffle(attempts)
    return [
        Attempt(kind, who, key, source[beside.thing], seeded.choice(REGIONS)) for kind, who, key, beside in attempts
    ]


def at_once(api: Api, attempts: list[Attempt]) -> None:
    """Ask, each in a thread of its own."""
    gate = threading.Barrier(len(attempts))

    def ask(attempt: Attempt) -> None:
        gate.wait()
        attempt.outcome = api.insist(lambda: body(attempt), source=attempt.source, region=attempt.region)

    threads = [threading.Thread(target=ask, args=(attempt,)) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def granted(attempts: list[Attempt]) -> dict[str, Attempt]:
    """One of each device's requests that were granted, which all say the same."""
    given: dict[str, Attempt] = {}
    for attempt in attempts:
        if attempt.outcome[0] == 200:
            first = given.setdefault(attempt.device.thing, attempt)
            assert attempt.outcome[1]["certificateId"] == first.outcome[1]["certificateId"], "one key has the name"
            assert attempt.outcome[1]["region"] == NEAREST[attempt.source]
    return given


def require_exactly(api: Api, region: str, given: dict[str, Attempt], before: set[tuple[str, str]]) -> None:
    """The region has these devices more than before, nothing else, and lets each of them in."""
    eventually(lambda: {name for name in given if api.fleet.settled(region, name)} == set(given), seconds=300)
    assert held(api, region) - before == {
        *(("thing", name) for name in given),
        *(("certificate", attempt.outcome[1]["certificateId"]) for attempt in given.values()),
    }
    answers = {name: api.issued(each.device, each.key, each.outcome[1]) for name, each in given.items()}
    assert [name for name, issued in answers.items() if not api.fleet.knock(issued, region)] == []


def body(attempt: Attempt) -> Any:
    """What is sent; a new request each time."""
    if attempt.kind == "oversized":
        return b'{"csr": "' + b"x" * 20_000 + b'"}'
    request = attempt.device.request(csr=csr(attempt.key, attempt.device.thing))
    if attempt.kind == "malformed":
        return {**request, "csr": base64.b64encode(request["csr"].encode()).decode()}
    return request


def require_no_replay(api: Api, attempt: Attempt) -> None:
    """What was taken once is refused when it comes again, though its device could ask again."""
    request = body(attempt)
    status, answer = api.insist(lambda: request, source=attempt.source)
    assert (status, answer.get("certificateId")) == (200, attempt.outcome[1]["certificateId"]), answer
    status, answer = api.insist(lambda: request, source=attempt.source)
    assert (status, answer["code"]) == (409, "Replayed")


def held(api: Api, region: str) -> set[tuple[str, str]]:
    """All things and ACTIVE certificates of a region."""
    iot = api.fleet.sandbox.client("iot", region)
    things = [each for page in iot.get_paginator("list_things").paginate() for each in page["things"]]
    certificates = [each for page in iot.get_paginator("list_certificates").paginate() for each in page["certificates"]]
    assert {each["status"] for each in certificates} <= {"ACTIVE"}
    return {("thing", each["thingName"]) for each in things} | {
        ("certificate", each["certificateId"]) for each in certificates
    }
