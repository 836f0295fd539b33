# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608 - SQL of topic rules, not of a database
"""What happens in the registry and to shadows, as topic rules are told of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import queue, received, role, unique
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

REGION = "me-central-1"  # of these tests alone, for event configurations are of a whole region
IOT = "iot.amazonaws.com"
TYPES = ("THING", "THING_GROUP", "THING_GROUP_MEMBERSHIP", "THING_GROUP_HIERARCHY", "THING_TYPE")


@pytest.fixture(scope="module")
def iot(sandbox: Sandbox) -> Any:
    client = sandbox.client("iot", REGION)
    client.update_event_configurations(eventConfigurations={kind: {"Enabled": True} for kind in TYPES})
    return client


@pytest.fixture(scope="module")
def listen(sandbox: Sandbox) -> Callable[[str], Callable[..., list[Any]]]:
    """Make a rule of the SQL; what it has sent, when asked for."""
    sender = role(sandbox, IOT, {"sqs:SendMessage": "*"})

    def made(sql: str) -> Callable[..., list[Any]]:
        url, _arn = queue(sandbox, REGION)
        action = {"sqs": {"roleArn": sender, "queueUrl": url, "useBase64": False}}
        payload = {"sql": sql, "actions": [action], "awsIotSqlVersion": "2016-03-23"}
        name = unique("rule").replace("-", "_")
        sandbox.client("iot", REGION).create_topic_rule(ruleName=name, topicRulePayload=payload)
        return lambda count=1, seconds=5.0: received(sandbox, url, count, seconds, REGION)

    return made


def in_order(events: list[Any]) -> list[Any]:
    """By their time and, within a millisecond, as a life goes: rules do not keep the order."""
    life = ("CREATED", "ADDED", "UPDATED", "REMOVED", "DELETED")
    return sorted(events, key=lambda event: (event["timestamp"], life.index(event["operation"])))


def as_role(sandbox: Sandbox, service: str, allowed: dict[str, Any]) -> Any:
    """A client of a session of a role that may do ``allowed``."""
    arn = role(sandbox, IOT, allowed)
    trust = {"Effect": "Allow", "Principal": {"AWS": sandbox.account_id}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    sandbox.client("iam", REGION).update_assume_role_policy(RoleName=arn.rsplit("/", 1)[-1], PolicyDocument=document)
    keys = sandbox.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return sandbox.client(
        service,
        REGION,
        access_key=keys["AccessKeyId"],
        secret_key=keys["SecretAccessKey"],
        session_token=keys["SessionToken"],
    )


def test_a_thing_is_reported_with_version_and_attributes(iot: Any, listen: Any) -> None:
    name = unique("thing")
    events = listen(f"SELECT *, topic() AS topic, timestamp() AS brokerTimestamp FROM '$aws/events/thing/{name}/+'")
    before = time.time() * 1000
    thing = iot.create_thing(thingName=name, attributePayload={"attributes": {"site": "a"}})
    iot.update_thing(thingName=name, attributePayload={"attributes": {"line": "2"}, "merge": True})
    iot.delete_thing(thingName=name)
    found = in_order(events(3))
    assert [(e["operation"], e["versionNumber"], e["attributes"]) for e in found] == [
        ("CREATED", 1, {"site": "a"}),
        ("UPDATED", 2, {"site": "a", "line": "2"}),
        ("DELETED", 2, {"site": "a", "line": "2"}),
    ]
    assert [e["topic"].rsplit("/", 1)[-1] for e in found] == ["created", "updated", "deleted"]
    assert {(e["eventType"], e["thingName"], e["thingId"]) for e in found} == {("THING_EVENT", name, thing["thingId"])}
    assert all(before <= e["brokerTimestamp"] <= time.time() * 1000 for e in found)


def test_groups_types_and_memberships_are_reported(sandbox: Sandbox, iot: Any, listen: Any) -> None:
    thing, group, child, kind = (unique(what) for what in ("thing", "group", "child", "type"))
    memberships = listen(f"SELECT *, topic() AS topic FROM '$aws/events/thingGroupMembership/thingGroup/{child}/#'")
    groups = listen("SELECT *, topic() AS topic FROM '$aws/events/thingGroup/+/+'")
    hierarchy = listen("SELECT * FROM '$aws/events/thingGroupHierarchy/#'")
    kinds = listen(f"SELECT * FROM '$aws/events/thingType/{kind}/+'")
    iot.create_thing(thingName=thing)
    iot.create_thing_group(thingGroupName=group)
    iot.create_thing_group(
        thingGroupName=child,
        parentGroupName=group,
        thingGroupProperties={"thingGroupDescription": "d", "attributePayload": {"attributes": {"k": "v"}}},
    )
    # A role's session, as functions are.
    member = as_role(sandbox, "iot", {"iot:AddThingToThingGroup": "*", "iot:RemoveThingFromThingGroup": "*"})
    for _ in range(2):
        member.add_thing_to_thing_group(thingGroupName=child, thingName=thing)
    assert [g["groupName"] for g in iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]] == [child]
    for _ in range(2):
        member.remove_thing_from_thing_group(thingGroupName=child, thingName=thing)
    joined, left = in_order(memberships(2))
    assert (joined["operation"], left["operation"]) == ("ADDED", "REMOVED")
    assert joined["thingArn"].endswith(f":thing/{thing}") and joined["groupArn"].endswith(f":thinggroup/{child}")
    assert joined["topic"] == f"$aws/events/thingGroupMembership/thingGroup/{child}/thing/{thing}/added"
    iot.update_thing_group(thingGroupName=child, thingGroupProperties={"thingGroupDescription": "e"})
    iot.delete_thing_group(thingGroupName=child)
    of_child = [e for e in in_order(groups(4)) if e["thingGroupName"] == child]
    assert [(e["operation"], e["versionNumber"], e["description"]) for e in of_child] == [
        ("CREATED", 1, "d"),
        ("UPDATED", 2, "e"),
        ("DELETED", 2, "e"),
    ]
    assert of_child[0]["parentGroupName"] == group and of_child[0]["attributes"] == {"k": "v"}
    assert [e["operation"] for e in in_order(hierarchy(2))] == ["ADDED", "REMOVED"]
    iot.create_thing_type(thingTypeName=kind, thingTypeProperties={"thingTypeDescription": "d"})
    iot.deprecate_thing_type(thingTypeName=kind)
    iot.delete_thing_type(thingTypeName=kind)
    assert [(e["operation"], e["isDeprecated"]) for e in in_order(kinds(3))] == [
        ("CREATED", False),
        ("UPDATED", True),
        ("DELETED", True),
    ]


def test_what_a_stack_makes_is_reported_too(sandbox: Sandbox, listen: Any) -> None:
    name = unique("type")
    events = listen(f"SELECT * FROM '$aws/events/thingType/{name}/+'")
    stacks = sandbox.client("cloudformation", REGION)
    kind = {"Type": "AWS::IoT::ThingType", "Properties": {"ThingTypeName": name}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": {"Type": kind}}))
    assert [event["operation"] for event in events()] == ["CREATED"]
    stacks.delete_stack(StackName=name)
    assert [event["operation"] for event in in_order(events(2))] == ["UPDATED", "DELETED"]


def test_our_own_echo_can_be_left_out(iot: Any, listen: Any) -> None:
    """Every combination of digest and operation, exactly as the rule says."""
    prefix = unique("echo")
    where = "isUndefined(attributes.fleetDigest) OR operation <> 'CREATED'"
    chosen = listen(f"SELECT * FROM '$aws/events/thing/+/+' WHERE ({where}) AND startswith(thingName, '{prefix}')")
    for name, attributes in (("with", {"fleetDigest": "x"}), ("without", {"a": "b"}), ("none", {})):
        iot.create_thing(thingName=f"{prefix}-{name}", attributePayload={"attributes": attributes})
        iot.update_thing(
            thingName=f"{prefix}-{name}", attributePayload={"attributes": {"fleetDigest": "y"}, "merge": True}
        )
        iot.delete_thing(thingName=f"{prefix}-{name}")
    found = [(e["thingName"].removeprefix(f"{prefix}-"), e["operation"]) for e in chosen(8)]
    expected = [(n, o) for n in ("with", "without", "none") for o in ("CREATED", "UPDATED", "DELETED")]
    assert sorted(found) == sorted(set(expected) - {("with", "CREATED")})
    assert chosen(1, 0.3) == []


def test_what_is_not_enabled_is_not_reported(sandbox: Sandbox, iot: Any, listen: Any) -> None:
    name = unique("thing")
    events = listen(f"SELECT * FROM '$aws/events/thing/{name}/+'")
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": False}})
    iot.create_thing(thingName=name)
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    iot.update_thing(thingName=name, attributePayload={"attributes": {"a": "b"}})
    assert [event["operation"] for event in events(2, 0.5)] == ["UPDATED"]


# --- shadows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def device(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    fleet = Fleet(sandbox, Path(tmp_path_factory.mktemp("shadows")), (REGION,))
    fleet.serve(REGION)
    name = unique("device")
    issued = issue(name, fleet.ca)
    fleet.activate(REGION, issued)
    sandbox.client("iot", REGION).create_thing(thingName=name)
    made = fleet.device(name, REGION, issued)
    assert made.connect()
    yield name, made
    made.close()


def over_mqtt(device: Any, _sandbox: Sandbox, thing: str, shadow: str, verb: str, document: Any) -> None:
    path = f"shadow/name/{shadow}" if shadow else "shadow"
    device.publish(f"$aws/things/{thing}/{path}/{verb}", json.dumps(document))


def over_http(_device: Any, sandbox: Sandbox, thing: str, shadow: str, verb: str, document: Any) -> None:
    resource = f"arn:aws:iot:{REGION}:{sandbox.account_id}:thing/{thing}" + (f"/{shadow}" if shadow else "")
    data = as_role(sandbox, "iot-data", {"iot:UpdateThingShadow": resource, "iot:DeleteThingShadow": resource})
    name = {"shadowName": shadow} if shadow else {}
    if verb == "update":
        data.update_thing_shadow(thingName=thing, payload=json.dumps(document), **name)
    else:
        data.delete_thing_shadow(thingName=thing, **name)
    with pytest.raises(ClientError, match="ForbiddenException"):
        data.update_thing_shadow(thingName=thing, shadowName="another", payload='{"state": {}}')


@pytest.mark.parametrize("shadow", ["", "config"])
@pytest.mark.parametrize("way", [over_mqtt, over_http])
def test_a_shadows_documents_and_its_deletion_are_reported(
    sandbox: Sandbox, device: tuple[str, Any], listen: Any, way: Any, shadow: str
) -> None:
    thing, connection = device
    path = f"$aws/things/{thing}/shadow" + (f"/name/{shadow}" if shadow else "")
    documents = listen(f"SELECT *, topic() AS topic FROM '{path}/update/documents'")
    deletions = listen(f"SELECT *, topic(3) AS thing, timestamp() AS at FROM '{path}/delete/accepted'")
    first = {"state": {"reported": {"on": True, "level": 1}}, "clientToken": "t-1"}
    way(connection, sandbox, thing, shadow, "update", first)
    (one,) = documents()
    way(
        connection, sandbox, thing, shadow, "update", {"state": {"reported": {"level": None}, "desired": {"on": False}}}
    )
    (two,) = documents()
    assert one["topic"] == f"{path}/update/documents"
    assert (one["clientToken"], "clientToken" in two) == ("t-1", False)
    assert one["current"]["state"] == two["previous"]["state"] == {"reported": {"on": True, "level": 1}}
    assert two["current"]["state"] == {"reported": {"on": True}, "desired": {"on": False}}
    assert two["current"]["version"] == one["current"]["version"] + 1
    stamp = one["current"]["metadata"]["reported"]["on"]["timestamp"]
    assert abs(stamp - time.time()) < 10 and abs(one["timestamp"] - time.time()) < 10
    assert two["current"]["metadata"]["reported"] == {"on": {"timestamp": stamp}}
    way(connection, sandbox, thing, shadow, "delete", {})
    (gone,) = deletions()
    assert gone["thing"] == thing and abs(gone["at"] - time.time() * 1000) < 10000
    assert gone["version"] == two["current"]["version"] and abs(gone["timestamp"] - time.time()) < 10
