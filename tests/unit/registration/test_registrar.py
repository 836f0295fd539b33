# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows are written no faster than the regions follow, and whoever came in or was shut out meanwhile is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower
from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import Issued
from ansible_collections.iotops.fleet.plugins.module_utils._registration.pacing import AHEAD_SECONDS
from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import Quotas, default_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.registrar import Registrar
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import DeviceCertificate, Home
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

INVENTORY, STATUS = "fleet-device-inventory", "fleet-device-status"
HOME, AWAY = "eu-west-1", "us-west-2"


class DynamoDB:
    """boto3's client as far as it is used; ``before_put`` may get in before a writer."""

    class exceptions:
        """What boto3 calls its errors."""

        ClientError = ClientError

    def __init__(self, rows: dict[str, Any]) -> None:
        self.tables: dict[str, dict[str, Any]] = {INVENTORY: rows, STATUS: {}, "fleet-revocations": {}}
        self.before_put: Callable[[str], None] = lambda _name: None
        self.gets = 0
        self._lock = threading.Lock()

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        [(table, asked)] = RequestItems.items()
        names = [value["S"] for key in asked["Keys"] for value in key.values()]
        assert len(names) == len(set(names)) <= 100
        found = [typed_item(self.tables[table][name]) for name in names if name in self.tables[table]]
        return {"Responses": {table: found}}

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert ConsistentRead
        self.gets += 1
        found = self.tables[TableName].get(Key["ThingName"]["S"])
        return {"Item": typed_item(found)} if found else {}

    def put_item(self, TableName: str, Item: dict[str, Any], ConditionExpression: str) -> None:
        assert (TableName, ConditionExpression) == (INVENTORY, "attribute_not_exists(WriteId)")
        name = Item["ThingName"]["S"]
        self.before_put(name)
        with self._lock:
            if name in self.tables[INVENTORY]:
                raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
            plain = {key: Item[key]["S"] for key in ("ThingName", "WriteId", "State", "CertificateId")}
            self.tables[INVENTORY][name] = {
                **plain,
                "Version": 1,
                "Certificates": {plain["CertificateId"]: {"Status": "ACTIVE"}},
            }


class Devices:
    """What was issued; ``broken`` may not be registered."""

    def __init__(self, count: int, broken: str = "") -> None:
        self.devices = [Issued(f"dev-{number}", f"{number:02X}") for number in range(count)]
        self._broken = broken

    def read(self, device: Issued) -> DeviceCertificate:
        if device.name == self._broken:
            raise PkiError("it is broken")
        return certificate(device.name)


def certificate(name: str) -> DeviceCertificate:
    return DeviceCertificate(
        name=name, certificate_id=f"id-{name}", pem="PEM", serial=f"5e{name}", not_after="2036", issuer="ca"
    )


@dataclass
class World:
    """Two regions with one registry; each applies so many rows a second of the clock, in the order of their writing.

    The quotas allow one a second.
    """

    speeds: dict[str, float]
    now: float = 0.0
    rows: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    furthest: int = 0
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = {region: DynamoDB(self.rows) for region in self.speeds}
        self.followers = [Follower(region, client, "fleet", 2) for region, client in self.clients.items()]
        self.budget = Budget(
            [Quotas(region, default_quotas(region), "test") for region in self.speeds], 0.1, clock=self.clock
        )
        self._credit = dict.fromkeys(self.speeds, 0.0)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for region, speed in self.speeds.items():
            applied = self.clients[region].tables[STATUS]
            waiting = [name for name in list(self.rows) if name not in applied]
            self._credit[region] = min(self._credit[region] + speed * seconds, len(waiting))
            for name in waiting[: int(self._credit[region])]:
                done = {"Error": self.error} if self.error else {"AppliedWriteId": self.rows[name]["WriteId"]}
                applied[name] = {"ThingName": name, **done}
                self._credit[region] -= 1
            self.furthest = max(self.furthest, len(self.rows) - len(applied))

    def registrar(self, issued: Any) -> Registrar:
        return Registrar(
            client=self.clients[HOME],
            home=Home(application="fleet", partition="aws", region=HOME, account="1"),
            issued=issued,
            allow_list=False,
            threads=4,
            report=self.lines.append,
            clock=self.clock,
            sleep=self.sleep,
        )


def test_it_is_as_fast_as_the_quotas_while_the_regions_follow() -> None:
    world = World({HOME: 5.0, AWAY: 5.0})
    registrar = world.registrar(Devices(100))
    plan = registrar.plan()
    assert registrar.write(plan, world.budget, world.followers, 300) == 100
    assert 100 <= world.now < 105
    registrar.wait(world.followers, 300)
    assert [each.missing() for each in world.followers] == [[], []]
    assert world.lines[-2].startswith("100 of 100 rows written, ")
    assert world.lines[-1] == f"all rows are written; not applied yet: {HOME} 0, {AWAY} 0"


def test_it_is_never_further_ahead_of_the_slowest_region_than_a_minute() -> None:
    world = World({HOME: 5.0, AWAY: 0.2})
    registrar = world.registrar(Devices(150))
    assert registrar.write(registrar.plan(), world.budget, world.followers, 300) == 150
    assert 0.9 * AHEAD_SECONDS <= world.furthest <= AHEAD_SECONDS + 1
    assert world.now == pytest.approx((150 - AHEAD_SECONDS) / 0.2, rel=0.1)


def test_a_region_that_does_not_follow_at_all_ends_the_run_and_the_next_one_goes_on() -> None:
    world = World({HOME: 5.0, AWAY: 0.0})
    registrar = world.registrar(Devices(100))
    with pytest.raises(FleetError, match=r"^60 of 100 rows are written, and for 300 s .*us-west-2 60 left"):
        registrar.write(registrar.plan(), world.budget, world.followers, 300)
    written = len(world.rows)
    world.speeds[AWAY] = 5.0
    plan = registrar.plan()
    assert (len(plan.known), len(plan.new)) == (written, 100 - written)
    assert registrar.write(plan, world.budget, world.followers, 300) == 100 - written
    assert world.furthest <= AHEAD_SECONDS + 1


def test_regions_that_can_apply_nothing_end_the_run_unless_that_was_so_before() -> None:
    world = World({HOME: 5.0, AWAY: 5.0}, error="Iot.ResourceNotFoundException: no such policy")
    registrar = world.registrar(Devices(100))
    with pytest.raises(FleetError, match=r"^6\d of 100 rows .*eu-west-1 0 \(and 6\d failed\)"):
        registrar.write(registrar.plan(), world.budget, world.followers, 300)
    world.error = ""
    plan = registrar.plan()
    for each in world.followers:
        each.expect(plan.known)
    assert registrar.write(plan, world.budget, world.followers, 300) == 100 - len(plan.known)


def test_waiting_ends_when_nothing_more_is_applied_and_what_is_missing_is_named() -> None:
    world = World({HOME: 5.0, AWAY: 0.0})
    registrar = world.registrar(Devices(3))
    registrar.write(registrar.plan(), world.budget, world.followers, 300)
    world.clients[AWAY].tables[STATUS]["dev-1"] = {"ThingName": "dev-1", "Error": "Iot.LimitExceededException: full"}
    registrar.wait(world.followers, 30)
    assert world.followers[0].missing() == []
    assert world.followers[1].missing() == [
        f"dev-0 in {AWAY}: not applied",
        f"dev-1 in {AWAY}: failed: Iot.LimitExceededException: full",
        f"dev-2 in {AWAY}: not applied",
    ]


def test_a_region_that_reports_throttling_halves_the_rate_once_for_each_device() -> None:
    world = World({HOME: 5.0, AWAY: 5.0})
    registrar = world.registrar(Devices(40))
    status = world.clients[AWAY].tables[STATUS]
    status["dev-0"] = {"ThingName": "dev-0", "Error": "Iot.ThrottlingException: slow down"}
    assert registrar.write(registrar.plan(), world.budget, world.followers, 300) == 40
    assert 43 < world.now < 70  # 40 s without, 80 s at half the rate throughout
    assert world.followers[1].behind == len(world.followers[1].pending) - 1


def test_who_was_shut_out_or_came_in_since_the_plan_is_left_alone() -> None:
    world = World({HOME: 0.0, AWAY: 0.0})
    registrar = world.registrar(Devices(6, broken="dev-5"))
    plan = registrar.plan()
    assert plan.refused == {"dev-5": "it is broken"}
    world.clients[HOME].tables["fleet-revocations"]["serial:ca:5edev-1"] = {"Key": "serial:ca:5edev-1"}
    row = {"ThingName": "", "WriteId": "w", "Version": 7, "State": "ACTIVE"}
    world.rows["dev-2"] = {**row, "ThingName": "dev-2", "Certificates": {"id-dev-2": {}}}

    def somebody_is_faster(name: str) -> None:
        if name == "dev-3":
            world.rows[name] = {**row, "ThingName": name, "Certificates": {"id-dev-3": {}}}
        if name == "dev-4":
            world.rows[name] = {**row, "ThingName": name, "Certificates": {"another": {}}}

    world.clients[HOME].before_put = somebody_is_faster
    assert registrar.write(plan, world.budget, world.followers, 300) == 1
    assert plan.refused == {
        "dev-5": "it is broken",
        "dev-1": "the certificate is revoked",
        "dev-4": "the device has a row with other certificates; this one comes in when it is presented",
    }
    assert plan.known == {"dev-2": ("w", 7), "dev-3": ("w", 7)}
    assert [sorted(each.pending) for each in world.followers] == [["dev-0", "dev-2", "dev-3"]] * 2
    assert world.rows["dev-3"]["Version"] == 7


def test_a_row_that_was_changed_since_counts_when_what_follows_from_it_is_applied() -> None:
    world = World({HOME: 0.0, AWAY: 0.0})
    registrar = world.registrar(Devices(2))
    registrar.write(registrar.plan(), world.budget, world.followers, 300)
    first = world.rows["dev-0"]
    follower, status = world.followers[0], world.clients[HOME].tables[STATUS]
    world.rows["dev-0"] = {**first, "WriteId": "later", "Version": 2, "Ancestors": [f"1:{first['WriteId'][:8]}"]}
    status["dev-0"] = {"ThingName": "dev-0", "AppliedWriteId": first["WriteId"], "AppliedVersion": 1}
    status["dev-1"] = {"ThingName": "dev-1", "AppliedWriteId": "of an earlier life", "AppliedVersion": 9}
    assert follower.look() == (1, False)  # what it was expected to apply it had
    status["dev-1"] = {"ThingName": "dev-1", "AppliedWriteId": "later", "AppliedVersion": 2}
    assert follower.look() == (0, False)
    second = world.rows["dev-1"]
    world.rows["dev-1"] = {**second, "WriteId": "later", "Version": 2, "Ancestors": [f"1:{second['WriteId'][:8]}"]}
    assert follower.look() == (1, False)
    assert follower.missing() == []


def test_a_device_that_has_been_there_for_long_costs_no_reads_of_its_own_until_its_region_has_gone_on() -> None:
    world = World({HOME: 0.0})
    follower, client = world.followers[0], world.clients[HOME]
    for number in range(10):
        world.rows[f"dev-{number}"] = {"ThingName": f"dev-{number}", "WriteId": "fifth", "Version": 5}
        client.tables[STATUS][f"dev-{number}"] = {
            "ThingName": f"dev-{number}", "AppliedWriteId": "before it, or written elsewhere at the same time",
            "AppliedVersion": 4 + number % 2,
        }  # fmt: skip
    follower.expect(dict.fromkeys(world.rows, ("fifth", 5)))
    assert (follower.look(), client.gets) == ((0, False), 0)
    row = world.rows["dev-3"] = {
        "ThingName": "dev-3", "WriteId": "sixth", "Version": 6, "Ancestors": ["5:fifth"],
    }  # fmt: skip
    client.tables[STATUS]["dev-3"] |= {"AppliedWriteId": row["WriteId"], "AppliedVersion": 6}
    assert (follower.look(), client.gets) == ((1, False), 2)


def test_a_region_that_does_not_answer_is_named() -> None:
    world = World({HOME: 5.0})
    del world.clients[HOME].tables[STATUS]
    world.clients[HOME].batch_get_item = refusing  # type: ignore[method-assign]
    with pytest.raises(FleetError, match=r"^eu-west-1 does not tell what it has applied: .*\(--limit\)$"):
        world.followers[0].require()


def refusing(RequestItems: dict[str, Any]) -> dict[str, Any]:
    raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no table"}}, "BatchGetItem")
