# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleet indexing: what is found, counted and refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import eventually

REGION, WITHOUT = "eu-north-1", "eu-west-3"
FIELDS = [{"name": "attributes.watts", "type": "Number"}, {"name": "attributes.model", "type": "String"}]
WATTS = [20, 40, 60, 80]


def index(**more: Any) -> dict[str, Any]:
    return {"thingIndexingConfiguration": {"thingIndexingMode": "REGISTRY", **more}}


@pytest.fixture(scope="module")
def iot(sandbox: Sandbox) -> Any:
    """Four lamps of two models, one thing without a number, and one that is no lamp."""
    client = sandbox.client("iot", REGION)
    client.create_thing_type(thingTypeName="lamp")
    for number, watts in enumerate(WATTS):
        attributes = {"watts": str(watts), "model": "ab"[number % 2]}
        client.create_thing(
            thingName=f"lamp-{number}", thingTypeName="lamp", attributePayload={"attributes": attributes}
        )
    client.create_thing(thingName="lamp-x", attributePayload={"attributes": {"watts": "many", "model": "c"}})
    client.create_thing(thingName="pump")
    client.update_indexing_configuration(**index(customFields=FIELDS))
    described = client.describe_index(indexName="AWS_Things")
    assert described["indexStatus"] == "BUILDING"
    with pytest.raises(ClientError, match="IndexNotReadyException"):
        client.search_index(queryString="*")
    assert eventually(lambda: client.describe_index(indexName="AWS_Things")["indexStatus"] == "ACTIVE")
    return client


def found(iot: Any, query: str) -> set[str]:
    return {thing["thingName"] for thing in iot.search_index(queryString=query)["things"]}


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def test_an_index_that_is_off_does_not_exist(sandbox: Sandbox) -> None:
    client = sandbox.client("iot", WITHOUT)
    assert code(client.describe_index, indexName="AWS_Things") == "ResourceNotFoundException"
    for call in (client.search_index, client.get_statistics, client.get_cardinality):
        assert code(call, queryString="*") == "ResourceNotFoundException"


def test_the_configuration_is_told_with_what_is_managed(iot: Any) -> None:
    things = iot.get_indexing_configuration()["thingIndexingConfiguration"]
    assert (things["thingIndexingMode"], things["customFields"]) == ("REGISTRY", FIELDS)
    assert {"name": "registry.version", "type": "Number"} in things["managedFields"]


@pytest.mark.parametrize(
    "field",
    [
        {"name": "attributes.a", "type": "Text"},
        {"name": "attributes.a b", "type": "Number"},
        {"name": "thingName", "type": "String"},
        {"name": "shadow.reported.a", "type": "Number"},
    ],
)
def test_a_field_that_cannot_be_indexed_is_refused(sandbox: Sandbox, field: dict[str, str]) -> None:
    client = sandbox.client("iot", WITHOUT)
    assert code(client.update_indexing_configuration, **index(customFields=[field])) == "InvalidRequestException"


def test_things_are_found_by_what_the_registry_has(iot: Any) -> None:
    assert found(iot, "thingName:lamp*") == {"lamp-0", "lamp-1", "lamp-2", "lamp-3", "lamp-x"}
    assert found(iot, "thingTypeName:lamp AND attributes.watts>=60") == {"lamp-2", "lamp-3"}
    assert found(iot, "NOT thingTypeName:lamp") == {"lamp-x", "pump"}
    assert found(iot, "attributes.watts:[40 TO 60] AND NOT attributes.model:a") == {"lamp-1"}
    (thing,) = iot.search_index(queryString="thingName:lamp-0")["things"]
    assert thing == {
        "thingName": "lamp-0",
        "thingId": iot.describe_thing(thingName="lamp-0")["thingId"],
        "thingTypeName": "lamp",
        "thingGroupNames": [],
        "attributes": {"watts": "20", "model": "a"},
    }


def test_results_come_in_pages(iot: Any) -> None:
    names, token = [], {}
    while True:
        page = iot.search_index(queryString="*", maxResults=4, **token)
        names.append([thing["thingName"] for thing in page["things"]])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert [len(page) for page in names] == [4, 2]
    assert len({name for page in names for name in page}) == 6
    assert code(iot.search_index, queryString="*", maxResults=101) == "InvalidRequestException"
    assert code(iot.search_index, queryString="pump*", **token) == "InvalidQueryException"
    assert code(iot.search_index, queryString="thingName:pump", **token) == "InvalidRequestException"


@pytest.mark.parametrize(
    "query", ["lamp", "thingName:*mp", "colour:red", "shadow.reported.a:1", "attributes.a:(b OR c)"]
)
def test_a_query_that_is_not_understood_is_refused(iot: Any, query: str) -> None:
    for call in (iot.search_index, iot.get_statistics, iot.get_cardinality):
        assert code(call, queryString=query) == "InvalidQueryException"


def test_numbers_are_added_up_and_what_is_none_is_passed_over(iot: Any) -> None:
    answer = iot.get_statistics(queryString="*", aggregationField="attributes.watts")["statistics"]
    assert answer == {
        "count": 4,
        "average": 50.0,
        "sum": 200.0,
        "minimum": 20.0,
        "maximum": 80.0,
        "sumOfSquares": 12000.0,
        "variance": 500.0,
        "stdDeviation": math.sqrt(500),
    }
    some = iot.get_statistics(queryString="attributes.model:b", aggregationField="attributes.watts")["statistics"]
    assert (some["count"], some["sum"]) == (2, 120)


def test_texts_are_counted(iot: Any) -> None:
    assert iot.get_statistics(queryString="*", aggregationField="attributes.model")["statistics"] == {"count": 5}
    assert iot.get_cardinality(queryString="*", aggregationField="attributes.model")["cardinality"] == 3
    assert iot.get_cardinality(queryString="thingName:none", aggregationField="attributes.model")["cardinality"] == 0


def test_without_a_field_things_are_counted_by_their_version(iot: Any) -> None:
    assert iot.get_statistics(queryString="*")["statistics"]["count"] == 6


def test_a_field_that_is_not_indexed_is_no_aggregation(iot: Any) -> None:
    for call in (iot.get_statistics, iot.get_cardinality):
        assert code(call, queryString="*", aggregationField="attributes.none") == "InvalidAggregationException"
