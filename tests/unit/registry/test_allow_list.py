# SPDX-License-Identifier: GPL-3.0-or-later
"""The allow-list and the function that gives its names away: neither takes back what the other one wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.module_utils._registry.allow_list import (
    AllowList,
    given_again,
    refuse_claimed,
    refuse_devices,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item, typed_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ONE, OTHER = "1" * 64, "2" * 64
CLAIM = {"ClaimedBy": ONE, "ClaimedAt": "2026-06-01T12:00:00Z", "ClaimedIn": "eu-west-1"}


class Table:
    """One table, as far as it takes to change items. ``lost``: answers of writes that were carried out."""

    exceptions = SimpleNamespace(ClientError=ClientError)

    def __init__(self, lost: int = 0, **items: dict[str, str]) -> None:
        self.items, self.lost = items, lost

    def get_item(self, TableName: str, Key: Any, ConsistentRead: bool) -> dict[str, Any]:
        assert (TableName, ConsistentRead) == ("fleet-allow-list", True)
        return {"Item": typed_item({"ThingName": Key["ThingName"]["S"], **self.items[Key["ThingName"]["S"]]})}

    def update_item(
        self,
        TableName: str,
        Key: Any,
        ConditionExpression: str,
        UpdateExpression: str = "",
        ExpressionAttributeValues: Any = None,
    ) -> None:
        values = plain_item(ExpressionAttributeValues or {})
        item = self.items.setdefault(Key["ThingName"]["S"], {})
        seen = values.get(":seen") if ConditionExpression == "ClaimedBy = :seen" else None
        if item.get("ClaimedBy") != seen:
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "UpdateItem")
        sets, _remove, removes = UpdateExpression.partition("REMOVE ")
        for word in filter(None, sets.removeprefix("SET ").strip().split(", ")):
            name, _is, value = word.split()
            item[name] = values[value]
        for name in filter(None, removes.split(", ")):
            item.pop(name, None)
        if self.lost:
            self.lost -= 1
            answer = {"Error": {"Code": "InternalServerError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
            raise ClientError(answer, "UpdateItem")


def change(table: Table, known: dict[str, str], **item: str) -> list[str]:
    allowed = AllowList(table, "fleet", 1, lambda _line: None)
    return allowed.change({"lamp": {"ThingName": "lamp", **item}}, {"lamp": {"ThingName": "lamp", **known}})


@pytest.mark.parametrize(
    ("known", "item"),
    [
        ({}, {"CertificateId": OTHER}),
        ({"CertificateId": OTHER}, {}),
        (CLAIM, {**CLAIM, "CertificateId": OTHER}),
        (CLAIM, {"GivenAgainAt": "2026-07-01T12:00:00Z"}),
        ({**CLAIM, "GivenAgainAt": "2026-05-01T12:00:00Z"}, {"GivenAgainAt": "2026-07-01T12:00:00Z"}),
    ],
)
@pytest.mark.parametrize("lost", [0, 1], ids=["answered", "the answer is lost"])
def test_an_item_becomes_what_is_wanted(monkeypatch: pytest.MonkeyPatch, known: Any, item: Any, lost: int) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    table = Table(lost, lamp={**known, "Note": "kept"})
    if lost:
        table.items["lamp"].pop("Note")
    assert change(table, known, **item) == []
    assert table.items["lamp"] == {**item, **({} if lost else {"Note": "kept"})}


@pytest.mark.parametrize("known", [{}, CLAIM], ids=["was free", "was another one's"])
def test_a_claim_that_came_after_the_item_was_read_stays(known: Any) -> None:
    claimed = {**CLAIM, "ClaimedBy": OTHER}
    table = Table(lamp=dict(claimed))
    assert change(table, known, GivenAgainAt="2026-07-01T12:00:00Z") == ["lamp"]
    assert table.items["lamp"] == claimed


def test_a_device_that_asks_again_meanwhile_keeps_the_time_of_its_claim() -> None:
    table = Table(lamp={**CLAIM, "ClaimedAt": "2026-07-01T11:59:59Z"})
    assert change(table, CLAIM, **CLAIM, CertificateId=OTHER) == []
    assert table.items["lamp"]["ClaimedAt"] == "2026-07-01T11:59:59Z"


@pytest.mark.parametrize("ahead", [timedelta(days=-20), timedelta(seconds=0.5), timedelta(hours=2)])
def test_a_name_is_given_after_its_device_was_deleted_whatever_the_clocks(ahead: timedelta) -> None:
    row = {"State": "DELETED", "UpdatedAt": (NOW + ahead).isoformat()}
    old = {"GivenAgainAt": "2026-06-01T12:00:00Z"}
    item = given_again("lamp", "", old, row, NOW)
    assert datetime.fromisoformat(item["GivenAgainAt"]) > NOW + ahead
    assert given_again("lamp", "", item, row, NOW + timedelta(days=1)) == item, "it is free: nothing changes"
    claimed = {**item, **CLAIM}
    assert given_again("lamp", "", claimed, row, NOW + timedelta(days=1)) != claimed


def test_a_refusal_is_one_line_however_many_there_are() -> None:
    refuse_devices({"lamp": {"State": "DELETED"}})
    with pytest.raises(FleetError, match=r"^again=true: n0 \(ACTIVE\), .*n2 \(ACTIVE\) and 7 more: a name is given"):
        refuse_devices({f"n{number}": {"State": "ACTIVE"} for number in range(12)})
    refuse_claimed([])
    with pytest.raises(FleetError, match=r"^lamp, light: claimed by a device in this moment"):
        refuse_claimed(["lamp", "light"])
