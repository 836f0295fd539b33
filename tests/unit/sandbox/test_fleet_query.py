# SPDX-License-Identifier: GPL-3.0-or-later
"""What is a query of fleet indexing, and what it means."""

from __future__ import annotations

import pytest

from iotops.sandbox.fleet_query import QueryError, parse

LAMP = {
    "thingName": "Lamp-1",
    "thingTypeName": "lamp",
    "thingGroupNames": ["hall", "first-floor"],
    "attributes.watts": "75",
    "attributes.model": "abcd",
    "shadow.reported.on": True,
    "shadow.reported.level": 10.0,
}


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("*", True),
        ("thingName:Lamp-1", True),
        ("thingName:lamp-1", True),
        ("thingName:lamp", False),
        ("thingName:lamp*", True),
        ("thingName:lamp-?", True),
        ('thingName:"lamp-1"', True),
        ('thingName:"lamp*"', False),
        ("thingGroupNames:hall", True),
        ("attributes.model:*", True),
        ("attributes.colour:*", False),
        ("attributes.watts:75", True),
        ("attributes.watts>=75", True),
        ("attributes.watts > 75", False),
        ("attributes.watts<75.5", True),
        ("attributes.watts<=9", False),
        ("attributes.model>=1", False),
        ("attributes.watts:[75 TO 80]", True),
        ("attributes.watts:{75 TO 80]", False),
        ("attributes.watts:[9 TO 75}", False),
        ("attributes.watts:[-1 TO 1e2]", True),
        ('attributes.model:["abcc" TO "abce"]', True),
        ('attributes.model:["abce" TO "abcf"]', False),
        ("NOT thingTypeName:lamp", False),
        ("NOT attributes.colour:red", True),
        ("thingTypeName:lamp AND attributes.watts:75", True),
        ("thingTypeName:lamp attributes.watts:76", False),
        ("thingTypeName:lamp NOT attributes.watts:76", True),
        ("thingTypeName:pump OR attributes.watts:75", True),
        ("(thingTypeName:pump OR thingTypeName:lamp) AND NOT attributes.watts:76", True),
        ("NOT (thingTypeName:pump OR thingTypeName:lamp)", False),
        ("shadow.reported.on:true", True),
        ("shadow.reported.level:10", True),
        ("shadow.reported.level:10.5", False),
    ],
)
def test_what_a_query_means(query: str, matches: bool) -> None:
    assert parse(query).matches(LAMP.get) is matches


@pytest.mark.parametrize(
    "query",
    [
        "",
        "lamp",
        "thingName:*amp",
        "thingName:?amp",
        "thingName:",
        "thingName:a:b",
        r"thingName:a\*",
        "thingName:(a OR b)",
        "-thingName:a",
        "thingName:a~2",
        "thingName:a^4",
        "thingName:a AND",
        "AND thingName:a",
        "thingName:a AND AND thingName:b",
        "thingName:a OR thingName:b AND thingName:c",
        "(thingName:a",
        "thingName:a)",
        "NOT",
        "attributes.watts>many",
        "attributes.watts>:5",
        "attributes.watts>[1 TO 2]",
        "attributes.watts:[1 TO *]",
        "attributes.watts:[a TO b]",
        "attributes.watts:[1 2]",
        " ".join(f"attributes.a:{number}" for number in range(13)),
    ],
)
def test_what_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(QueryError):
        parse(query)


def test_a_query_names_its_fields() -> None:
    assert parse("thingName:a AND attributes.b>1").fields == {"thingName", "attributes.b"}
