# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan: every item once, in pages of up to 1 MB, whatever is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox

REGION, TABLE, ITEMS = "eu-west-1", "scanned", 40
NAMES = {"#0": "K", "#1": "N"}


@pytest.fixture
def dynamodb(sandbox: Sandbox) -> Iterator[Any]:
    """A table of 40 items of 100 KB: four pages."""
    client = sandbox.client("dynamodb", REGION)
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "K", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "K", "AttributeType": "S"}],
    )
    for number in range(ITEMS):
        put(client, f"{number:02}", N=str(number))
    yield client
    client.delete_table(TableName=TABLE)


def put(client: Any, key: str, **numbers: str) -> None:
    more = {name: {"N": value} for name, value in numbers.items()}
    client.put_item(TableName=TABLE, Item={"K": {"S": key}, "Filler": {"S": "x" * 100_000}, **more})


def pages(client: Any, **request: Any) -> Iterator[list[dict[str, Any]]]:
    """The items of page after page."""
    start: dict[str, Any] = {}
    while True:
        answer = client.scan(TableName=TABLE, **request, **start)
        assert answer["Count"] == len(answer["Items"])
        yield answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def keys(found: Iterator[list[dict[str, Any]]]) -> list[str]:
    return [item["K"]["S"] for page in found for item in page]


def test_a_page_holds_a_megabyte_and_every_item_comes_once(dynamodb: Any) -> None:
    found = list(pages(dynamodb))
    assert [len(page) for page in found] == [10, 10, 10, 10]
    assert sorted(keys(iter(found))) == [f"{number:02}" for number in range(ITEMS)]


@pytest.mark.parametrize("segments", [1, 3, 50])
def test_segments_have_every_item_once_together(dynamodb: Any, segments: int) -> None:
    found = [key for each in range(segments) for key in keys(pages(dynamodb, Segment=each, TotalSegments=segments))]
    assert sorted(found) == [f"{number:02}" for number in range(ITEMS)]


def test_only_the_attributes_that_were_asked_for_are_shown(dynamodb: Any) -> None:
    [first, *_others] = next(pages(dynamodb, ProjectionExpression="#0, #1", ExpressionAttributeNames=NAMES))
    assert first.keys() == {"K", "N"}


def test_what_is_deleted_between_two_pages_moves_nothing(dynamodb: Any) -> None:
    found = pages(dynamodb)
    first, deleted = next(found), [f"{number:02}" for number in (3, 15, 38)]
    for key in deleted:
        dynamodb.delete_item(TableName=TABLE, Key={"K": {"S": key}})
    assert sorted([item["K"]["S"] for item in first] + keys(found)) == sorted(
        {f"{number:02}" for number in range(ITEMS)} - {*deleted} | {item["K"]["S"] for item in first}
    )


def test_a_second_scan_sees_what_was_written_since_the_first(dynamodb: Any) -> None:
    list(pages(dynamodb))
    put(dynamodb, "new")
    assert "new" in keys(pages(dynamodb))


@pytest.mark.parametrize("asked", [{"Limit": 3}, {"FilterExpression": "attribute_exists(N)"}])
def test_other_scans_are_as_before(dynamodb: Any, asked: dict[str, Any]) -> None:
    assert sorted(keys(pages(dynamodb, **asked))) == [f"{number:02}" for number in range(ITEMS)]


def test_a_segment_that_there_is_not_is_refused(dynamodb: Any) -> None:
    with pytest.raises(dynamodb.exceptions.ClientError, match="must be less than parameter TotalSegments"):
        dynamodb.scan(TableName=TABLE, Segment=2, TotalSegments=2)
