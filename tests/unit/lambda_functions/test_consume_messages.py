# SPDX-License-Identifier: GPL-3.0-or-later
"""consume-messages: what it stores, and which messages have to come again."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

LAMBDA = Path(__file__).parents[3] / "files/lambda"
TABLE = "fleet-data"


def load() -> ModuleType:
    """The handler as it lies in its package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(LAMBDA / "consume_messages"), str(LAMBDA / "shared"), *sys.path])
        for name in ("aws", "handler"):
            patch.delitem(sys.modules, name, raising=False)
        loaded = importlib.import_module("handler")
        for name in ("aws", "handler"):
            del sys.modules[name]
    return loaded


consumer = load()


class Table:
    """A table that refuses what it is told to, as DynamoDB does: the whole batch with it."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.refuses: set[str] = set()  # SKs
        self.leaves: set[str] = set()  # SKs that are throttled
        self.error = ""
        self.batches: list[int] = []

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        requests = RequestItems[TABLE]
        self.batches.append(len(requests))
        items = [request["PutRequest"]["Item"] for request in requests]
        assert len({(item["PK"]["S"], item["SK"]["S"]) for item in items}) == len(items) <= 25
        if self.error or any(item["SK"]["S"] in self.refuses for item in items):
            raise ClientError({"Error": {"Code": self.error or "ValidationException", "Message": "x"}}, "Batch")
        left = [request for request in requests if request["PutRequest"]["Item"]["SK"]["S"] in self.leaves]
        for request in requests:
            if request not in left:
                self._keep(request["PutRequest"]["Item"])
        return {"UnprocessedItems": {TABLE: left} if left else {}}

    def put_item(self, TableName: str, Item: dict[str, Any]) -> None:
        assert TableName == TABLE
        if Item["SK"]["S"] in self.refuses:
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "x"}}, "PutItem")
        self._keep(Item)

    def _keep(self, item: dict[str, Any]) -> None:
        plain = {name: TypeDeserializer().deserialize(value) for name, value in item.items()}
        self.items[plain["PK"], plain["SK"]] = plain


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    made = Table()
    monkeypatch.setenv("APPLICATION", "fleet")
    monkeypatch.setenv("THING_LEVEL", "2")
    monkeypatch.setattr(consumer, "aws", MagicMock(return_value=made))
    return made


def message(number: int, **values: Any) -> dict[str, Any]:
    body = {"SK": f"{1000 + number}#u", "region": "eu-west-1", "topic": "i/dev-1/t", "message": number}
    return {name: value for name, value in {**body, **values}.items() if value is not None}


def consume(*bodies: Any) -> list[str]:
    """The ids of the messages that have to come again; a message's id is its place."""
    records = [
        {"messageId": str(number), "body": body if isinstance(body, str) else json.dumps(body)}
        for number, body in enumerate(bodies)
    ]
    return [each["itemIdentifier"] for each in consumer.handler({"Records": records}, None)["batchItemFailures"]]


def test_each_message_becomes_the_item_that_it_is(table: Table) -> None:
    assert consume(*(message(number, message={"t": 21.5, "n": number}) for number in range(60))) == []
    assert table.batches == [25, 25, 10]
    assert len(table.items) == 60
    item = table.items["dev-1", "1007#u"]
    plain = {name: float(value) for name, value in item["message"].items()}
    assert {**item, "message": plain} == {"PK": "dev-1", **message(7, message={"t": 21.5, "n": 7})}


def test_a_message_that_comes_twice_is_stored_once_and_is_done_both_times(table: Table) -> None:
    assert consume(message(1), message(1)) == []
    assert consume(message(1)) == []
    assert list(table.items) == [("dev-1", "1001#u")]


@pytest.mark.parametrize(
    ("level", "topic", "key"),
    [
        ("2", "i/dev-1/t", "dev-1"),
        ("2", "i/dev-1", "dev-1"),
        ("2", "loadtest/7", "7"),
        ("2", "loadtest", "loadtest"),
        ("2", "i//t", "i//t"),
        ("3", "plant/7/dev-1/t", "dev-1"),
        ("3", "plant/7", "plant/7"),
    ],
)
def test_a_message_is_stored_under_its_thing_or_its_topic(
    monkeypatch: pytest.MonkeyPatch, table: Table, level: str, topic: str, key: str
) -> None:
    monkeypatch.setenv("THING_LEVEL", level)
    assert consume(message(1, topic=topic)) == []
    assert list(table.items) == [(key, "1001#u")]


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        "null",
        "7",
        message(1, SK=None),
        message(1, SK=""),
        message(1, SK=5),
        message(1, region=None),
        message(1, topic=None),
        {name: value for name, value in message(1).items() if name != "message"},
        '{"SK": "1#u", "region": "r", "topic": "t", "message": NaN}',
        '{"SK": "1#u", "region": "r", "topic": "t", "message": 1.' + 40 * "1" + "}",
        '{"SK": "1#u", "region": "r", "topic": "t", "message": ' + 9000 * "[" + 9000 * "]" + "}",
    ],
    ids=lambda body: str(body)[:40],
)
def test_a_message_that_cannot_be_an_item_comes_again_and_the_others_do_not(table: Table, body: Any) -> None:
    assert consume(message(0), body, message(2)) == ["1"]
    assert len(table.items) == 2


def test_an_item_that_the_table_refuses_takes_no_other_with_it(table: Table) -> None:
    table.refuses = {"1003#u", "1030#u"}
    assert consume(*(message(number) for number in range(40))) == ["3", "30"]
    assert len(table.items) == 38


def test_a_single_refused_item_is_not_tried_twice(table: Table) -> None:
    table.refuses = {"1000#u"}
    assert consume(message(0)) == ["0"]
    assert table.batches == [1]


def test_what_the_table_has_no_capacity_for_comes_again(table: Table) -> None:
    table.leaves = {"1001#u"}
    assert consume(*(message(number) for number in range(3))) == ["1"]
    assert len(table.items) == 2


def test_when_the_table_cannot_be_reached_all_messages_of_the_write_come_again(table: Table) -> None:
    table.error = "ProvisionedThroughputExceededException"
    assert len(consume(*(message(number) for number in range(30)))) == 30
    assert table.batches == [25, 5]
    assert table.items == {}
