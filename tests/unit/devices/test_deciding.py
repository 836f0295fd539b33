# SPDX-License-Identifier: GPL-3.0-or-later
"""One decision on many rows: who changes, who says so already, who cannot, and no faster than the quotas allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._devices.deciding import CALLS, Change, Decider
from ansible_collections.iotops.fleet.plugins.module_utils._devices.named import named_devices
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item, typed_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

INVENTORY, STATUS = "fleet-device-inventory", "fleet-device-status"
HOME = "eu-west-1"


class DynamoDB:
    """boto3's client as far as it is used: each row that is written is applied at once."""

    class exceptions:
        """What boto3 calls its errors."""

        ClientError = ClientError

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = {row["ThingName"]: row for row in rows}
        self.before_put: Callable[[str], None] = lambda _name: None
        self.puts = 0

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        [(table, asked)] = RequestItems.items()
        names = [value["S"] for key in asked["Keys"] for value in key.values()]
        found = [self.rows[name] for name in names if name in self.rows]
        if table == STATUS:
            found = [{"ThingName": row["ThingName"], "AppliedWriteId": row["WriteId"]} for row in found]
        return {"Responses": {table: [typed_item(row) for row in found if table in (INVENTORY, STATUS)]}}

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, ConsistentRead) == (INVENTORY, True)
        return {"Item": typed_item(self.rows[Key["ThingName"]["S"]])}

    def put_item(self, TableName: str, Item: dict[str, Any], **condition: Any) -> None:
        row = plain_item(Item)
        self.before_put(row["ThingName"])
        seen = condition["ExpressionAttributeValues"][":seen"]["S"]
        if self.rows[row["ThingName"]]["WriteId"] != seen:
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
        self.rows[row["ThingName"]] = row
        self.puts += 1


def row(name: str, state: str = "ACTIVE", **certificates: str) -> dict[str, Any]:
    entries = {each: {"Status": status, "NotAfter": "2036-01-01T00:00:00Z"} for each, status in certificates.items()}
    return {
        "ThingName": name, "State": state, "Version": 1, "WriteId": f"first-of-{name}", "Certificates": entries,
    }  # fmt: skip


class World:
    """A registry with a clock of its own; the quotas allow one certificate a second."""

    def __init__(self, *rows: dict[str, Any], state: str = "SUSPENDED") -> None:
        self.now = 0.0
        self.client = DynamoDB(*rows)
        self.followers = [Follower(HOME, self.client, "fleet", 2)]
        calls = CALLS[state]
        quotas = Quotas(HOME, dict.fromkeys(calls, 1.0), "test")
        self.budget = Budget([quotas], 1.0, clock=self.clock, calls=calls)
        self.decider = Decider(
            Replica(self.client, "fleet", HOME), Wanted(state=state, reason="test"), 4, lambda _line: None,
            clock=self.clock, sleep=self.sleep,
        )  # fmt: skip

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_who_changes_who_says_so_already_and_who_cannot() -> None:
    world = World(row("a", "SUSPENDED"), row("b", "ACTIVE", x="ACTIVE"), row("c", "REVOKED"), row("d", "DELETED"))
    found = world.decider.outlook(["a", "b", "c", "d"])
    assert found.already == {"a": ("first-of-a", 1)}
    assert found.changing == [Change("b", "ACTIVE", 1)]
    assert found.refused["c"] == "state=SUSPENDED: c is REVOKED, which is final; issue a device with another name"
    assert found.refused["d"].startswith("d is DELETED, which is final; ")
    assert world.client.puts == 0


def test_names_without_a_row_end_it_before_anything_is_written() -> None:
    world = World(row("a"))
    with pytest.raises(
        FleetError, match=r"^n1, n2, n3, n4, n5 and 1 more: no row in fleet-device-inventory of eu-west-1"
    ):
        world.decider.outlook(["a", *(f"n{number}" for number in range(1, 7))])
    assert world.client.puts == 0


def test_names_without_a_row_are_passed_over_where_that_is_wanted() -> None:
    found = World(row("a")).decider.outlook(["n1", "a"], ignore_unknown=True)
    assert (found.changing, found.refused) == ([Change("a", "ACTIVE", 1)], {})


def test_a_device_costs_a_call_for_each_certificate_that_is_alive() -> None:
    many = {f"c{number}": "ACTIVE" for number in range(3)} | {"old": "REVOKED"}
    world = World(*(row(f"dev-{number}", **many) for number in range(10)))
    outlook = world.decider.outlook([f"dev-{number}" for number in range(10)])
    assert outlook.certificates == 30
    assert world.decider.write(outlook, world.budget, world.followers, 300) == 10
    assert 28 <= world.now <= 33
    assert {each["State"] for each in world.client.rows.values()} == {"SUSPENDED"}
    again = world.decider.outlook([f"dev-{number}" for number in range(10)])
    assert (len(again.already), again.changing) == (10, [])


def test_who_was_revoked_meanwhile_is_left_alone_and_the_others_are_done() -> None:
    world = World(row("a"), row("b"))
    outlook = world.decider.outlook(["a", "b"])
    world.client.rows["a"] = {**world.client.rows["a"], "State": "REVOKED", "WriteId": "later", "Version": 2}
    assert world.decider.write(outlook, world.budget, world.followers, 300) == 1
    assert list(outlook.refused) == ["a"]
    assert (world.client.rows["a"]["WriteId"], world.client.rows["b"]["State"]) == ("later", "SUSPENDED")


def test_who_else_writes_is_not_undone() -> None:
    world = World(row("a"))
    outlook = world.decider.outlook(["a"])

    def somebody_is_faster(name: str) -> None:
        if world.client.rows[name]["WriteId"] == "first-of-a":
            world.client.rows[name] = {**world.client.rows[name], "WriteId": "theirs", "Attributes": {"site": "x"}}

    world.client.before_put = somebody_is_faster
    assert world.decider.write(outlook, world.budget, world.followers, 300) == 1
    assert (world.client.rows["a"]["State"], world.client.rows["a"]["Attributes"]) == ("SUSPENDED", {"site": "x"})


def test_names_are_expanded_once_each_and_as_long_as_aws_allows() -> None:
    assert named_devices(["dev-[08:10]", "dev-09", "x" * 128]) == ["dev-08", "dev-09", "dev-10", "x" * 128]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["a/b"], "device name 'a/b': AWS IoT takes 1 to 128 of a-z A-Z 0-9 : _ -; correct it"),
        (["x" * 129], "device name 'xxx"),
        ([""], "device name ''"),
        (["a-[1:x]"], "device names 'a-[1:x]': a range is of numbers of the same width, or of letters"),
        (["a-[1:"], "device names 'a-[1:': write a range like dev-[001:100]"),
    ],
)
def test_a_bad_name_is_one_line(patterns: list[str], message: str) -> None:
    with pytest.raises(FleetError) as error:
        named_devices(patterns)
    assert str(error.value).startswith(message)


def test_a_file_that_is_not_there_is_one_line() -> None:
    with pytest.raises(FleetError, match=r"nowhere\.csv"):
        named_devices((), "/nowhere.csv")
