# SPDX-License-Identifier: GPL-3.0-or-later
"""sweep-devices: whom it finds, what it costs, and that it goes on where it stopped."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/sweep_devices",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
)
MODULES = ("aws", "rows", "decisions", "pace", "scans", "listings", "handler")
ENVIRONMENT = {
    "APPLICATION": "fleet",
    "AWS_REGION": "eu-west-1",
    "CONVERGE_MACHINE": "arn:aws:states:eu-west-1:123456789012:stateMachine:fleet-converge-device",
    "INGEST_QUEUE": "https://sqs/fleet-ingest-thing",
    "REGISTRY_MINUTES": "60",
    "THINGS_MINUTES": "1440",
    "WAKES_PER_SECOND": "1000",
    "WAKES": "5",
}
NOW = 1_780_000_000
WRITE, OTHER = "write-1", "write-2"


@pytest.fixture(scope="module")
def package() -> Iterator[SimpleNamespace]:
    """The function's modules as they lie in its package; other functions have modules of the same names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*map(str, PACKAGE), *sys.path])
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded: dict[str, ModuleType] = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
    yield SimpleNamespace(**loaded)


def certificate_id(thing: str) -> str:
    return hashlib.sha256(thing.encode()).hexdigest()


class Region:
    """Tables and registry of a region, as the function's calls see them."""

    def __init__(self, package: SimpleNamespace) -> None:
        self.package = package
        self.rows: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.listings: dict[tuple[str, str], list[list[Any]]] = {("list_policies", ""): [[]], ("list_pipes", ""): [[]]}
        self.memory: dict[str, Any] = {}
        self.lease: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused_tokens: set[str] = set()
        self.gone: set[str] = set()

    def add(
        self,
        thing: str,
        *,
        write: str = WRITE,
        applied: str = WRITE,
        age: int = 1000,
        state: str = "ACTIVE",
        status: str = "ACTIVE",
        **more: Any,
    ) -> None:
        """A device whose row and status are as given; converged long ago without more."""
        updated = self.package.rows.timestamp(
            self.package.scans.moment("1970-01-01T00:00:00Z").fromtimestamp(NOW - age)
        )
        self.rows[thing] = {"WriteId": write, "UpdatedAt": updated, "CertificateId": certificate_id(thing)}
        if applied:
            self.statuses[thing] = {
                "AppliedWriteId": applied,
                "Applied": {
                    "State": state,
                    "ThingTypeName": "fleet-device",
                    "PolicyNames": ["fleet-device"],
                    "Statuses": {certificate_id(thing): status},
                },
                **more,
            }

    def listed(self, **changes: dict[str, Any]) -> None:
        """Let IoT list what was applied, but for ``thing: {thing?, certificate?, policy?}``; None: it is not listed."""
        things, certificates, targets = [], [], []
        for name, status in self.statuses.items():
            change = changes.get(name, {})
            attributes = {"certificateId": certificate_id(name), "room": "7"}
            attributes["fleetDigest"] = self.package.rows.digest(attributes, "fleet-device")
            arn = f"arn:aws:iot:eu-west-1:123456789012:cert/{certificate_id(name)}"
            thing = {"thingName": name, "thingTypeName": "fleet-device", "attributes": attributes}
            [applied] = status["Applied"]["Statuses"].values()
            certificate = {"certificateId": certificate_id(name), "certificateArn": arn, "status": applied}
            things += [change.get("thing", lambda each: each)(thing)]
            certificates += [change.get("certificate", lambda each: each)(certificate)]
            targets += [change.get("policy", lambda each: each)(arn)]
        for key, items in {
            ("list_things", "fleet-device"): things,
            ("list_certificates", ""): certificates,
            ("list_targets_for_policy", "fleet-device"): targets,
        }.items():
            present = [item for item in items if item]
            self.listings[key] = [present[:2], present[2:]]

    # --- what the function calls

    def pages(self, service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        if operation == "scan":
            yield self._scanned(arguments)
            return
        subject = arguments.get("thingTypeName") or arguments.get("policyName") or arguments.get("principal") or ""
        token = arguments.get("nextToken") or arguments.get("marker") or ""
        self.calls.append((operation, {"subject": subject, "token": token}))
        if token in self.refused_tokens:
            raise ClientError({"Error": {"Code": "InvalidRequestException", "Message": "token"}}, operation)
        if subject in self.gone:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": subject}}, operation)
        member, following = {
            "list_things": ("things", "nextToken"),
            "list_certificates": ("certificates", "nextMarker"),
            "list_targets_for_policy": ("targets", "nextMarker"),
            "list_policies": ("policies", "nextMarker"),
            "list_principal_things": ("things", "nextToken"),
            "list_pipes": ("Pipes", "NextToken"),
        }[operation]
        found = self.listings.get((operation, subject), [[]])
        for number in range(int(token or 0), len(found)):
            more = {following: str(number + 1)} if number + 1 < len(found) else {}
            yield {member: found[number], **more}

    def _scanned(self, arguments: dict[str, Any]) -> dict[str, Any]:
        table = self.rows if arguments["TableName"].endswith("inventory") else self.statuses
        names = [name for name in sorted(table) if hash(name) % arguments["TotalSegments"] == arguments["Segment"]]
        paths = [path.split(".") for path in arguments["ProjectionExpression"].replace("#", "").split(", ")]
        return {"Items": [self._projected({"ThingName": name, **table[name]}, paths) for name in names]}

    def _projected(self, item: dict[str, Any], paths: list[list[str]]) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        for first, *rest in paths:
            if first in item and not rest:
                wanted[first] = item[first]
            elif first in item and rest[0] in item[first]:
                wanted.setdefault(first, {})[rest[0]] = item[first][rest[0]]
        return dict(self.package.aws.typed(wanted))

    def client(self, service: str) -> Any:
        return SimpleNamespace(
            update_item=self._update, start_execution=self._start, send_message=self._send, exceptions=None
        )

    def _update(self, **arguments: Any) -> dict[str, Any]:
        values = self.package.aws.plain(arguments["ExpressionAttributeValues"])
        if ":until" in values:
            if self.lease and self.lease["until"] >= values[":now"]:
                raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, "UpdateItem")
            self.lease = {"owner": values[":owner"], "until": values[":until"]}
            return {"Attributes": self.package.aws.typed(self.memory)}
        assert values[":owner"] == self.lease["owner"]
        self.lease = {}
        self.memory.update({name[1:]: value for name, value in values.items() if name != ":owner"})
        if arguments["UpdateExpression"].endswith(", Tokens"):
            self.memory.pop("Tokens", None)
        return {}

    def _start(self, **arguments: Any) -> None:
        self.calls.append(("start_execution", json.loads(arguments["input"])))

    def _send(self, **arguments: Any) -> None:
        self.calls.append(("send_message", json.loads(arguments["MessageBody"])))

    # --- what a test asks

    def sweep(self, *, seconds_left: Callable[[], float] = lambda: 900.0, **event: Any) -> dict[str, Any]:
        """One invocation."""
        context = SimpleNamespace(
            aws_request_id="request", get_remaining_time_in_millis=lambda: int(seconds_left() * 1000)
        )
        answer: dict[str, Any] = self.package.handler.handler(event, context)
        return answer

    def made(self, operation: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.calls if name == operation]

    def looked_at(self) -> list[str]:
        assert all(message["look"] == 0 and message["source"] == "sweep" for message in self.made("send_message"))
        return sorted(message["thingName"] for message in self.made("send_message"))


@pytest.fixture
def region(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Region:
    region = Region(package)
    for module in (package.scans, package.listings, package.handler):
        monkeypatch.setattr(module, "aws", region.client)
        monkeypatch.setattr(module, "pages", region.pages)
    monkeypatch.setattr(package.handler.time, "time", lambda: float(NOW))
    return region


# --- rows and statuses


def test_what_is_applied_is_left_alone(region: Region) -> None:
    region.add("well")
    region.listed()
    assert region.sweep() == {"Behind": 0, "Woken": 0, "LookedAt": 0, "Compared": True, "StoppedPipes": []}
    assert not region.made("start_execution")
    assert not region.looked_at()


@pytest.mark.parametrize(
    ("device", "woken"),
    [
        ({"applied": OTHER, "age": 121}, {}),
        ({"applied": OTHER, "age": 120}, None),
        ({"applied": "", "age": 121}, {}),
        ({"applied": "", "age": 120}, None),
        ({"applied": OTHER, "age": 500, "LeaseUntil": NOW + 1}, None),
        ({"applied": OTHER, "age": 500, "LeaseUntil": NOW}, {}),
        ({"Error": "Iot.Broken: x", "ErrorAt": "2026-05-28T20:00:00.123Z"}, {"Force": True}),
        ({"Error": "Iot.Broken: x"}, {"Force": True}),
        ({"DueAt": NOW}, {"Force": True}),
        ({"DueAt": NOW + 1}, None),
    ],
)
def test_who_is_woken(region: Region, device: dict[str, Any], woken: dict[str, Any] | None) -> None:
    region.add("device", **device)
    region.listed()
    region.sweep()
    assert region.made("start_execution") == ([] if woken is None else [{"ThingName": "device", **woken}])


def test_a_status_without_a_row_is_woken_and_leases_of_others_are_not(region: Region) -> None:
    region.add("gone")
    region.rows.clear()
    region.statuses |= {"certificate/abc": {"Error": "x"}, "sweep/devices": {"LeaseUntil": 1}}
    assert region.sweep()["Behind"] == 0
    assert region.made("start_execution") == [{"ThingName": "gone"}]


def test_the_oldest_come_first_and_no_more_than_may_be_woken(region: Region) -> None:
    for age in range(200, 209):
        region.add(f"device-{age}", applied=OTHER, age=age)
    answer = region.sweep()
    assert (answer["Behind"], answer["Woken"]) == (9, 5)
    assert [each["ThingName"] for each in region.made("start_execution")] == [
        f"device-{age}" for age in range(208, 203, -1)
    ]


def test_one_that_failed_again_queues_up_again(region: Region, package: SimpleNamespace) -> None:
    stamp = package.rows.timestamp
    moment = package.scans.moment("1970-01-01T00:00:00Z").fromtimestamp
    region.add("again", age=100_000, Error="x", ErrorAt=stamp(moment(NOW - 10)))
    region.add("late", applied=OTHER, age=200)
    region.sweep()
    assert [each["ThingName"] for each in region.made("start_execution")] == ["late", "again"]


def test_nothing_is_begun_when_the_time_is_nearly_over(region: Region) -> None:
    for number in range(4):
        region.add(f"device-{number}", applied=OTHER)
    answer = region.sweep(seconds_left=lambda: 29.0 if len(region.made("start_execution")) == 2 else 900.0)
    assert (answer["Woken"], answer["Compared"]) == (2, False)
    assert region.memory == {}


def test_a_sweep_at_work_keeps_others_away_until_lambda_has_ended_it(region: Region) -> None:
    region.add("late", applied=OTHER)
    region.lease = {"owner": "another", "until": NOW}
    assert region.sweep() == {}
    assert region.calls == []
    region.lease = {"owner": "another", "until": NOW - 1}
    assert region.sweep()["Woken"] == 1
    assert region.lease == {}


def test_a_sweep_that_fails_lets_go(region: Region, package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.handler.scans, "read", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        region.sweep()
    assert region.lease == {}


def test_what_is_behind_and_stopped_is_told_to_cloudwatch(region: Region, capsys: pytest.CaptureFixture[str]) -> None:
    region.add("late", applied=OTHER)
    region.add("failed", Error="x")
    region.add("due", DueAt=1)
    states = ("RUNNING", "STOPPED", "START_FAILED", "CREATING")
    region.listings["list_pipes", ""] = [[{"Name": f"fleet-{state}", "CurrentState": state} for state in states]]
    assert region.sweep()["StoppedPipes"] == ["fleet-STOPPED", "fleet-START_FAILED"]
    first, _second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    [directive] = first["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "fleet"
    assert {first["FunctionName"]} == {"fleet-sweep-devices"}
    assert {metric["Name"]: first[metric["Name"]] for metric in directive["Metrics"]} == {
        "Behind": 2,
        "StoppedPipes": 2,
    }


def test_the_pace_lets_a_second_through_at_once_and_then_keeps_the_rate(package: SimpleNamespace) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = package.pace.Pace(10, lambda: now, sleep)
    for _ in range(110):
        pace.wait()
    assert now == pytest.approx(10)


# --- the registry


def changed(**attributes: str) -> Any:
    return lambda thing: {**thing, "attributes": {**thing["attributes"], **attributes}}


@pytest.mark.defect("D-4")
@pytest.mark.parametrize(
    ("change", "device"),
    [
        ({"thing": changed(room="8")}, {}),
        ({"thing": changed(certificateId="of another one")}, {}),
        ({"thing": changed(fleetDigest="")}, {}),
        ({"thing": changed(fleetNumber="1")}, {}),
        ({"thing": lambda thing: {**thing, "thingTypeName": "another"}}, {}),
        ({"thing": lambda thing: None}, {}),
        ({"thing": lambda thing: None}, {"state": "SUSPENDED", "status": "INACTIVE"}),
        ({}, {"state": "DELETED", "status": "REVOKED"}),
        ({"certificate": lambda listed: {**listed, "status": "INACTIVE"}}, {}),
        ({"certificate": lambda listed: {**listed, "status": "ACTIVE"}}, {"state": "SUSPENDED", "status": "INACTIVE"}),
        ({"certificate": lambda listed: None}, {}),
        ({"policy": lambda arn: None}, {}),
    ],
)
def test_what_is_not_as_it_was_applied_is_looked_at(
    region: Region, change: dict[str, Any], device: dict[str, Any]
) -> None:
    region.add("device", **device)
    region.add("well")
    region.listed(device=change)
    assert region.sweep()["LookedAt"] == 1
    assert region.looked_at() == ["device"]
    assert not region.made("start_execution")


@pytest.mark.defect("D-4")
def test_a_policy_that_was_attached_by_hand_is_found(region: Region) -> None:
    region.add("device")
    region.listed()
    arn = f"arn:aws:iot:eu-west-1:123456789012:cert/{certificate_id('device')}"
    region.listings["list_policies", ""] = [[{"policyName": "fleet-device"}, {"policyName": "by-hand"}]]
    region.listings["list_targets_for_policy", "by-hand"] = [[arn, "arn:aws:iot:eu-west-1:1:thinggroup/all"]]
    region.sweep()
    assert region.looked_at() == ["device"]


@pytest.mark.parametrize(
    ("change", "device"),
    [
        ({"thing": lambda thing: None, "certificate": lambda listed: None}, {"applied": OTHER}),  # it is woken
        ({"thing": changed(room="8")}, {"applied": OTHER, "age": 1}),  # somebody is on it
        ({"thing": lambda thing: None}, {"state": "REVOKED", "status": "REVOKED"}),
        ({"thing": lambda thing: None, "policy": lambda arn: None}, {"state": "DELETED", "status": "REVOKED"}),
        ({"certificate": lambda listed: None, "policy": lambda arn: None}, {"status": "INACTIVE"}),  # expired before
    ],
)
def test_what_cannot_be_compared_is_not_looked_at(
    region: Region, change: dict[str, Any], device: dict[str, Any]
) -> None:
    region.add("device", **device)
    region.listed(device=change)
    region.sweep()
    assert region.looked_at() == []


def test_unknown_things_of_the_fleets_type_and_those_of_unknown_certificates_are_looked_at(region: Region) -> None:
    region.add("device")
    region.listed()
    region.listings["list_things", "fleet-device"][1] += [{"thingName": "new", "thingTypeName": "fleet-device"}]
    arn = "arn:aws:iot:eu-west-1:123456789012:cert/"
    strangers = {"ACTIVE": "01", "PENDING_ACTIVATION": "02", "INACTIVE": "03", "REVOKED": "04"}
    region.listings["list_certificates", ""][1] += [
        {"certificateId": number, "certificateArn": arn + number, "status": status}
        for status, number in strangers.items()
    ]
    region.listings["list_principal_things", arn + "01"] = [["device"]]
    region.sweep()
    assert region.looked_at() == ["device", "new"]
    assert [call["subject"] for call in region.made("list_principal_things")] == [arn + "01"]


def test_what_is_deleted_while_it_is_listed_stops_nothing(region: Region) -> None:
    region.add("device")
    region.listed()
    arn = "arn:aws:iot:eu-west-1:123456789012:cert/01"
    region.listings["list_certificates", ""][1] += [{"certificateId": "01", "certificateArn": arn, "status": "ACTIVE"}]
    region.listings["list_policies", ""] = [[{"policyName": "vanished"}]]
    region.gone = {arn, "vanished"}
    assert region.sweep()["Compared"] is True
    assert {call["subject"] for _, call in region.calls} >= region.gone
    assert region.looked_at() == []


def test_without_a_queue_the_region_becomes_what_the_row_says(
    region: Region, package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.handler, "INGEST_QUEUE", "")
    region.add("device")
    region.listed(device={"policy": lambda arn: None})
    region.listings["list_things", "fleet-device"][1] += [{"thingName": "new", "thingTypeName": "fleet-device"}]
    region.sweep()
    assert region.made("start_execution") == [{"ThingName": "device", "Force": True}]
    assert region.looked_at() == []


def test_the_registry_is_compared_when_it_is_time_or_somebody_asks(region: Region) -> None:
    region.add("device")
    region.listed(device={"policy": lambda arn: None})
    region.memory = {"ComparedAt": NOW - 3599}
    assert region.sweep()["Compared"] is False
    assert region.made("list_things") == []
    assert region.sweep(Registry=True)["Compared"] is True
    region.memory = {"ComparedAt": NOW - 3600}
    assert region.sweep()["Compared"] is True
    assert region.memory == {"ComparedAt": NOW, "ThingsComparedAt": NOW}
    assert region.looked_at() == ["device", "device"]


def test_things_are_listed_daily_and_what_is_free_of_charge_hourly(region: Region) -> None:
    region.add("device")
    region.listed(device={"thing": changed(room="8")})
    region.memory = {"ComparedAt": NOW - 3600, "ThingsComparedAt": NOW - 86399}
    assert region.sweep()["Compared"] is True
    assert (region.made("list_things"), region.looked_at()) == ([], [])
    assert region.made("list_certificates")
    region.memory = {"ComparedAt": NOW - 3600, "ThingsComparedAt": NOW - 86400}
    region.sweep()
    assert region.looked_at() == ["device"]
    assert region.memory == {"ComparedAt": NOW, "ThingsComparedAt": NOW}


@pytest.mark.parametrize("refused", [False, True])
def test_an_interrupted_comparison_goes_on_where_it_stopped(region: Region, refused: bool) -> None:
    for number in range(4):
        region.add(f"device-{number}")
    last_thing_changed = {"device-3": {"thing": changed(room="8")}}
    region.listed(**last_thing_changed)
    answer = region.sweep(seconds_left=lambda: 29.0 if region.made("list_things") else 900.0)
    assert answer["Compared"] is False
    assert region.memory["Tokens"]["things/"] == "fleet-device/1"
    assert region.looked_at() == []
    region.calls.clear()
    if refused:
        region.refused_tokens = {"1"}
    assert region.sweep()["Compared"] is True
    assert region.memory == {"ComparedAt": NOW, "ThingsComparedAt": NOW}
    assert region.looked_at() == ["device-3"]


def test_what_a_continued_listing_lacks_is_not_taken_for_missing(region: Region) -> None:
    for number in range(4):
        region.add(f"device-{number}")
    region.listed()
    region.memory = {"Tokens": {"things/": "fleet-device/1", "certificates/": "1", "policy/fleet-device": "1"}}
    assert region.sweep()["Compared"] is True
    assert region.looked_at() == []
    assert {call["token"] for name, call in region.calls if name != "list_pipes"} == {"1"}


@pytest.mark.defect("D-17")
def test_a_million_devices_fit_into_one_gigabyte(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some 80 MB of it are Python and boto3, so less than 900 bytes may be held of each device at the worst moment."""
    count = 5_000
    page = 25

    def made(operation: str, table: str, name: str) -> dict[str, Any] | str:
        """What one device has in a page; made when it is read, as it is when it comes from AWS."""
        own = certificate_id(name)
        write = {"S": f"{own[:8]}-{own[8:12]}-{own[12:16]}-{own[16:20]}-{own[20:32]}"}
        attributes = {"certificateId": own}
        applied = {
            "State": {"S": b"ACTIVE".decode()},
            "PolicyNames": {"L": [{"S": "fleet-device"}]},
            "Statuses": {"M": {own: {"S": b"ACTIVE".decode()}}},
        }
        return {
            "scan inventory": {
                "ThingName": {"S": name},
                "WriteId": write,
                "UpdatedAt": {"S": "2026-05-28T20:00:00Z"},
                "CertificateId": {"S": own},
            },
            "scan status": {"ThingName": {"S": name}, "AppliedWriteId": write, "Applied": {"M": applied}},
            "list_things": {
                "thingName": name,
                "thingTypeName": "fleet-device",
                "attributes": {**attributes, "fleetDigest": package.rows.digest(attributes, "fleet-device")},
            },
            "list_certificates": {"certificateId": own, "status": "ACTIVE"},
            "list_targets_for_policy": f"arn:aws:iot:eu-west-1:123456789012:cert/{own}",
        }[f"{operation} {table}".strip()]

    def pages(_service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        table = arguments.get("TableName", "").rsplit("-", 1)[-1]
        member = {
            "scan": "Items",
            "list_things": "things",
            "list_certificates": "certificates",
            "list_targets_for_policy": "targets",
            "list_policies": "policies",
        }[operation]
        if operation == "list_policies":
            yield {member: []}
            return
        of, part = arguments.get("TotalSegments", 1), arguments.get("Segment", 0)
        for first in range(part * page, count, of * page):
            yield {member: [made(operation, table, f"device-{number:010d}") for number in range(first, first + page)]}

    for module in (package.scans, package.listings):
        monkeypatch.setattr(module, "aws", lambda _service: None)
        monkeypatch.setattr(module, "pages", pages)
    monkeypatch.setattr(package.listings, "CALLS_PER_SECOND", 1e9)
    tracemalloc.start()
    try:
        devices = package.scans.read(NOW, compared=True)
        things, left = package.listings.Comparison(devices, lambda: 1.0).run({})
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (devices.wakes, things, left) == ([], set(), {})
    assert len(devices.certificates) == count
    assert peak / count < 900
