# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions: policies in another region's words, and what converge-definition makes of an item."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/converge_definition",
    ROOT / "files/lambda/ingest_thing",  # for definitions_here; a handler is found in the first folder
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
)
MODULES = ("aws", "rows", "policy_documents", "rows_table", "definitions", "definitions_here", "handler")
HERE, THERE = "eu-west-1", "us-west-2"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules as they lie in the packages, with tables and IoT that are dictionaries and mocks."""
    monkeypatch.setenv("APPLICATION", "fleet")
    monkeypatch.setenv("AWS_REGION", HERE)
    monkeypatch.setattr(sys, "path", [*map(str, PACKAGE), *sys.path])
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:
        del sys.modules[name]
    iot = MagicMock()
    for operation in ("get_policy", "describe_thing_type", "describe_thing_group"):
        getattr(iot, operation).side_effect = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, operation)
    for module in (loaded.definitions, loaded.handler):
        monkeypatch.setattr(module, "aws", {"iot": iot}.__getitem__)
    items: dict[str, dict[str, Any]] = {}
    monkeypatch.setattr(loaded.handler, "read", lambda _table, **key: items.get(key["Name"], {}))
    applied: list[str] = []
    monkeypatch.setattr(loaded.handler, "pages", lambda *_call, **_wanted: [])
    monkeypatch.setattr(loaded.handler, "mark_applied", lambda item: applied.append(item["Name"]))
    loaded.iot, loaded.items, loaded.applied = iot, items, applied
    yield loaded


def policy(region: str, *, effect: str = "Allow") -> dict[str, Any]:
    statement = {"Effect": effect, "Action": "iot:Publish", "Resource": f"arn:aws:iot:{region}:123456789012:topic/x"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def item(name: str, document: Any, **changes: Any) -> dict[str, Any]:
    return {
        "Name": name, "Document": json.dumps(document), "Region": THERE, "State": "ACTIVE", "WriteId": "w1",
        "UpdatedRegion": THERE, **changes,
    }  # fmt: skip


def converge(package: SimpleNamespace, *items: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The changing calls, in their order."""
    package.items.update({each["Name"]: each for each in items})
    record = {"dynamodb": {"Keys": {"Name": {"S": items[0]["Name"]}}}}
    package.handler.handler([record], None)
    reads = ("get_policy", "describe_thing_type", "describe_thing_group", "list_policy_versions")
    return [(call[0], call.kwargs) for call in package.iot.method_calls if call[0] not in reads]


def test_only_the_region_field_of_arns_in_the_policys_places_is_rewritten(package: SimpleNamespace) -> None:
    document = {
        "Version": "2012-10-17",
        "Id": "arn:aws:iot:us-west-2:1:not/a/resource",
        "Statement": [
            {
                "Sid": "us-west-2",
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:Receive"],
                "Resource": [
                    "arn:aws:iot:us-west-2:1:topic/us-west-2/${iot:Connection.Thing.ThingName}",
                    "arn:aws:iot:eu-central-1:1:topic/x",
                    "arn:aws:iot:*:1:topic/x",
                    "*",
                ],
                "Condition": {
                    "ArnLike": {"aws:SourceArn": ["arn:aws:iot:us-west-2:1:cert/*"]},
                    "StringEquals": {"aws:RequestedRegion": "us-west-2"},
                },
            },
            {"Effect": "Deny", "Action": "iot:*", "NotResource": "arn:aws:iot:us-west-2:1:client/us-west-2"},
        ],
    }
    first, second = package.definitions.rewritten(document, THERE, HERE)["Statement"]
    assert first["Resource"] == [
        "arn:aws:iot:eu-west-1:1:topic/us-west-2/${iot:Connection.Thing.ThingName}",
        "arn:aws:iot:eu-central-1:1:topic/x",
        "arn:aws:iot:*:1:topic/x",
        "*",
    ]
    assert first["Condition"] == {
        "ArnLike": {"aws:SourceArn": ["arn:aws:iot:eu-west-1:1:cert/*"]},
        "StringEquals": {"aws:RequestedRegion": "us-west-2"},
    }
    assert (first["Sid"], second["NotResource"]) == ("us-west-2", "arn:aws:iot:eu-west-1:1:client/us-west-2")
    assert package.definitions.rewritten(document, THERE, HERE)["Id"] == document["Id"]


def test_a_policy_of_one_statement_keeps_its_form(package: SimpleNamespace) -> None:
    one = {"Statement": policy(THERE)["Statement"][0]}
    assert package.definitions.rewritten(one, THERE, HERE) == {"Statement": policy(HERE)["Statement"][0]}


def test_a_missing_policy_is_made_with_this_regions_arns(package: SimpleNamespace) -> None:
    [(call, arguments)] = converge(package, item("policy#own", policy(THERE)))
    assert (call, arguments["policyName"]) == ("create_policy", "own")
    assert json.loads(arguments["policyDocument"]) == policy(HERE)
    assert package.applied == ["policy#own"]


def test_an_equal_policy_is_left_alone(package: SimpleNamespace) -> None:
    package.iot.get_policy.side_effect = None
    package.iot.get_policy.return_value = {"policyDocument": json.dumps(policy(HERE), indent=1)}
    assert converge(package, item("policy#own", policy(THERE))) == []
    assert package.applied == ["policy#own"]


@pytest.mark.parametrize(("versions", "deleted"), [(4, []), (5, ["2"])])
def test_a_changed_policy_gets_a_version_in_place_of_its_oldest_spare_one(
    package: SimpleNamespace, versions: int, deleted: list[str]
) -> None:
    package.iot.get_policy.side_effect = None
    package.iot.get_policy.return_value = {"policyDocument": json.dumps(policy(HERE, effect="Deny"))}
    package.iot.list_policy_versions.return_value = {
        "policyVersions": [
            {"versionId": str(number), "isDefaultVersion": number == 1} for number in range(versions, 0, -1)
        ]
    }
    *before, (call, arguments) = converge(package, item("policy#own", policy(THERE)))
    assert [each["policyVersionId"] for _, each in before] == deleted
    assert (call, arguments["setAsDefault"]) == ("create_policy_version", True)
    assert json.loads(arguments["policyDocument"]) == policy(HERE)


LAMP = {"description": "", "searchableAttributes": ["color"]}


@pytest.mark.parametrize(
    ("state", "deprecated", "call"),
    [
        ("ACTIVE", None, ("create_thing_type", {"thingTypeProperties": {"searchableAttributes": ["color"]}})),
        ("ACTIVE", True, ("deprecate_thing_type", {"undoDeprecate": True})),
        ("DELETED", False, ("deprecate_thing_type", {"undoDeprecate": False})),
        ("ACTIVE", False, None),
        ("DELETED", True, None),
        ("DELETED", None, None),
    ],
)
def test_a_type_is_made_or_deprecated_but_never_deleted(
    package: SimpleNamespace, state: str, deprecated: bool | None, call: Any
) -> None:
    if deprecated is not None:
        package.iot.describe_thing_type.side_effect = None
        package.iot.describe_thing_type.return_value = {
            "thingTypeProperties": {"searchableAttributes": ["color"]},
            "thingTypeMetadata": {"deprecated": deprecated},
        }
    expected = [] if call is None else [(call[0], {"thingTypeName": "lamp", **call[1]})]
    assert converge(package, item("type#lamp", LAMP, State=state)) == expected
    assert package.applied == ["type#lamp"]


def group(**changes: Any) -> dict[str, Any]:
    return {"description": "", "attributes": {}, **changes}


def test_a_group_is_made_after_its_parents(package: SimpleNamespace) -> None:
    calls = converge(
        package,
        item("group#floor", group(), Parent="house"),
        item("group#house", group(description="All of it"), Parent="town"),
        item("group#town", group()),
    )
    made = [(each["thingGroupName"], each.get("parentGroupName")) for _, each in calls]
    assert made == [("town", None), ("house", "town"), ("floor", "house")]
    assert package.applied == ["group#town", "group#house", "group#floor"]


@pytest.mark.parametrize(("state", "call"), [("ACTIVE", "update_thing_group"), ("DELETED", "delete_thing_group")])
def test_a_group_that_is_there_is_changed_or_deleted(package: SimpleNamespace, state: str, call: str) -> None:
    package.iot.describe_thing_group.side_effect = None
    package.iot.describe_thing_group.return_value = {"thingGroupProperties": {"thingGroupDescription": "old"}}
    [(made, arguments)] = converge(package, item("group#floor", group(attributes={"level": "2"}), State=state))
    assert (made, arguments["thingGroupName"]) == (call, "floor")
    if state == "ACTIVE":
        properties = arguments["thingGroupProperties"]
        assert properties == {"thingGroupDescription": "", "attributePayload": {"attributes": {"level": "2"}}}


def test_a_group_is_deleted_after_its_children(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    package.iot.describe_thing_group.side_effect = None
    package.iot.describe_thing_group.return_value = {"thingGroupProperties": {}}
    children = {"house": [{"groupName": "floor"}]}
    monkeypatch.setattr(
        package.handler,
        "pages",
        lambda *_call, parentGroup, **_wanted: [{"thingGroups": children.get(parentGroup, [])}],
    )
    gone = [item(f"group#{name}", group(), State="DELETED") for name in ("house", "floor")]
    assert [arguments["thingGroupName"] for _call, arguments in converge(package, *gone)] == ["floor", "house"]
    assert package.applied == ["group#floor", "group#house"]


def test_a_dynamic_group_is_nobody_elses(package: SimpleNamespace) -> None:
    package.iot.describe_thing_group.side_effect = None
    package.iot.describe_thing_group.return_value = {"queryString": "attributes.color:red"}
    assert package.definitions.here("group#red") is None
    assert converge(package, item("group#red", group())) == []
    assert package.applied == []


def test_the_fleets_own_policy_and_type_are_its_stacks(package: SimpleNamespace) -> None:
    assert converge(package, item("policy#fleet-device", policy(THERE))) == []
    assert converge(package, item("policy#fleet-load-test", policy(THERE))) == []
    assert converge(package, item("type#fleet-device", LAMP, State="DELETED")) == []


def test_the_schedule_applies_what_is_not_applied(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [item("policy#own", policy(THERE)), item("group#floor", group())]
    package.items.update({each["Name"]: each for each in items})
    typed = package.aws.typed
    monkeypatch.setattr(package.handler, "pages", lambda *_, **__: [{"Items": [typed(each)]} for each in items])
    monkeypatch.setattr(package.handler, "is_applied", lambda each: each["Name"] == "policy#own")
    package.handler.handler({}, None)
    assert package.applied == ["group#floor"]


@pytest.mark.parametrize(
    ("before", "found", "changed"),
    [
        ({}, {"State": "DELETED"}, None),
        ({"State": "ACTIVE"}, {"State": "DELETED"}, {"State": "DELETED"}),
        ({"State": "DELETED"}, {"State": "DELETED"}, None),
        ({"State": "ACTIVE", "Name": "policy#own"}, {"State": "DELETED"}, None),
        ({"State": "ACTIVE"}, {"State": "ACTIVE", "Document": group()}, None),
        ({"State": "ACTIVE"}, {"State": "ACTIVE", "Document": group(), "Parent": "house"}, None),
        ({"State": "ACTIVE", "Name": "type#lamp"}, {"State": "ACTIVE", "Document": group(description="x")}, None),
    ],
)
def test_what_of_a_definition_is_somebodys_change(
    package: SimpleNamespace, before: dict[str, Any], found: dict[str, Any], changed: dict[str, Any] | None
) -> None:
    assert package.definitions_here.changes(before and item("group#floor", group()) | before, found) == changed


def test_a_new_or_changed_definition_is_taken_in_with_its_region(package: SimpleNamespace) -> None:
    found = {"State": "ACTIVE", "Document": policy(HERE, effect="Deny"), "Parent": None}
    changed = package.definitions_here.changes(item("policy#own", policy(THERE)), found)
    assert (json.loads(changed["Document"]), changed["Region"]) == (policy(HERE, effect="Deny"), HERE)
    assert package.definitions_here.changes({}, {**found, "Parent": "house"})["Parent"] == "house"
    assert (
        package.definitions_here.changes(item("policy#own", policy(THERE)), {**found, "Document": policy(HERE)}) is None
    )
