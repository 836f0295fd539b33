# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS IoT refuses of things, groups and certificates, and how it lists them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import finished, machine, role, task, unique
from tests.integration.sandbox.mqtt import issue

REGION = "us-west-1"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture(scope="module")
def iot(sandbox: Sandbox) -> Any:
    return sandbox.client("iot", REGION)


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    code: str = error.value.response["Error"]["Code"]
    return code


def attributes(**values: str) -> dict[str, Any]:
    return {"attributes": values}


def test_three_attributes_without_a_type_and_fifty_with_one(iot: Any) -> None:
    name, typed, kind = unique("thing"), unique("thing"), unique("type")
    four = attributes(a="1", b="2", c="3", d="4")
    assert refusal(iot.create_thing, thingName=name, attributePayload=four) == "InvalidRequestException"
    iot.create_thing(thingName=name, attributePayload=attributes(a="1", b="2"))
    more = {**attributes(c="3", d="4"), "merge": True}
    assert refusal(iot.update_thing, thingName=name, attributePayload=more) == "InvalidRequestException"
    iot.create_thing_type(thingTypeName=kind)
    iot.create_thing(thingName=typed, thingTypeName=kind, attributePayload=four)
    assert refusal(iot.update_thing, thingName=typed, removeThingType=True) == "InvalidRequestException"
    many = attributes(**{f"a{number}": "1" for number in range(51)})
    assert refusal(iot.update_thing, thingName=typed, attributePayload=many) == "InvalidRequestException"
    iot.deprecate_thing_type(thingTypeName=kind)
    assert refusal(iot.update_thing, thingName=name, thingTypeName=kind) == "InvalidRequestException"


def test_an_update_merges_removes_and_minds_the_version(iot: Any) -> None:
    name = unique("thing")
    iot.create_thing(thingName=name, attributePayload=attributes(a="1", b="2"))
    iot.update_thing(thingName=name, attributePayload={**attributes(a="", c="3"), "merge": True}, expectedVersion=1)
    assert iot.describe_thing(thingName=name)["attributes"] == {"b": "2", "c": "3"}
    assert refusal(iot.update_thing, thingName=name, expectedVersion=1) == "VersionConflictException"
    iot.update_thing(thingName=name, attributePayload=attributes(d="4", b=""))
    assert iot.describe_thing(thingName=name)["attributes"] == {"d": "4"}
    spaced = attributes(a="two words")
    assert refusal(iot.update_thing, thingName=name, attributePayload=spaced) == "InvalidRequestException"


def test_a_thing_is_in_one_group_of_a_hierarchy(iot: Any) -> None:
    thing, root, left, right, other = (unique(what) for what in ("thing", "root", "left", "right", "other"))
    iot.create_thing(thingName=thing)
    for group, parent in ((root, None), (left, root), (right, root), (other, None)):
        iot.create_thing_group(thingGroupName=group, **({"parentGroupName": parent} if parent else {}))
    for _ in range(2):
        iot.add_thing_to_thing_group(thingGroupName=left, thingName=thing)
    iot.add_thing_to_thing_group(thingGroupName=other, thingName=thing)
    for group in (root, right):
        join = {"thingGroupName": group, "thingName": thing}
        assert refusal(iot.add_thing_to_thing_group, **join) == "InvalidRequestException"
    iot.update_thing_groups_for_thing(thingName=thing, thingGroupsToRemove=[left], thingGroupsToAdd=[right])
    groups = [one["groupName"] for one in iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]]
    assert groups == [other, right]
    assert iot.list_things_in_thing_group(thingGroupName=root)["things"] == []
    assert iot.list_things_in_thing_group(thingGroupName=root, recursive=True)["things"] == [thing]
    children = iot.list_thing_groups(parentGroup=root, recursive=False)["thingGroups"]
    assert sorted(one["groupName"] for one in children) == sorted([left, right])
    above = iot.describe_thing_group(thingGroupName=right)["thingGroupMetadata"]
    assert above["parentGroupName"] == root
    assert [one["groupName"] for one in above["rootToParentThingGroups"]] == [root]
    assert refusal(iot.delete_thing_group, thingGroupName=root) == "InvalidRequestException"
    for call in (iot.add_thing_to_thing_group, iot.remove_thing_from_thing_group):
        assert refusal(call, thingGroupName=root, thingName="nobody") == "ResourceNotFoundException"
    absent = {"thingGroupName": "nowhere", "thingName": thing}
    assert refusal(iot.add_thing_to_thing_group, **absent) == "ResourceNotFoundException"
    assert refusal(iot.list_thing_groups_for_thing, thingName="nobody") == "ResourceNotFoundException"


def test_a_groups_attributes_merge(iot: Any) -> None:
    group = unique("group")
    properties = {"thingGroupDescription": "d", "attributePayload": attributes(a="1", b="2")}
    iot.create_thing_group(thingGroupName=group, thingGroupProperties=properties)
    changes = {"attributePayload": {**attributes(a="", c="3"), "merge": True}}
    iot.update_thing_group(thingGroupName=group, thingGroupProperties=changes, expectedVersion=1)
    assert iot.describe_thing_group(thingGroupName=group)["thingGroupProperties"] == {
        "thingGroupDescription": "d",
        "attributePayload": attributes(b="2", c="3"),
    }
    stale = {"thingGroupName": group, "thingGroupProperties": {}, "expectedVersion": 1}
    assert refusal(iot.update_thing_group, **stale) == "VersionConflictException"


def test_what_is_attached_is_not_deleted_and_what_is_gone_may_be_deleted_again(iot: Any) -> None:
    thing, policy = unique("thing"), unique("policy")
    iot.create_thing(thingName=thing)
    iot.create_policy(policyName=policy, policyDocument=POLICY)
    arn = iot.register_certificate_without_ca(certificatePem=issue(thing).pem, status="ACTIVE")["certificateArn"]
    certificate = {"certificateId": arn.rsplit("/", 1)[-1]}
    for _ in range(2):
        iot.attach_policy(policyName=policy, target=arn)
        iot.attach_thing_principal(thingName=thing, principal=arn)
    assert refusal(iot.delete_thing, thingName=thing) == "InvalidRequestException"
    assert refusal(iot.delete_policy, policyName=policy) == "DeleteConflictException"
    assert refusal(iot.delete_certificate, **certificate) == "CertificateStateException"
    iot.update_certificate(**certificate, newStatus="INACTIVE")
    assert refusal(iot.delete_certificate, **certificate, forceDelete=True) == "DeleteConflictException"
    for _ in range(2):
        iot.detach_thing_principal(thingName=thing, principal=arn)
    assert refusal(iot.delete_certificate, **certificate) == "DeleteConflictException"
    iot.delete_certificate(**certificate, forceDelete=True)
    assert refusal(iot.delete_certificate, **certificate) == "ResourceNotFoundException"
    for _ in range(2):
        iot.delete_thing(thingName=thing)
    iot.delete_policy(policyName=policy)
    assert refusal(iot.delete_policy, policyName=policy) == "ResourceNotFoundException"


def test_a_revoked_certificate_stays_revoked(iot: Any) -> None:
    arn = iot.register_certificate_without_ca(certificatePem=issue(unique("c")).pem, status="REVOKED")["certificateArn"]
    certificate = {"certificateId": arn.rsplit("/", 1)[-1]}
    iot.update_certificate(**certificate, newStatus="REVOKED")
    for status in ("ACTIVE", "INACTIVE"):
        assert refusal(iot.update_certificate, **certificate, newStatus=status) == "CertificateStateException"
    assert iot.describe_certificate(**certificate)["certificateDescription"]["status"] == "REVOKED"


# --- who may ---------------------------------------------------------------------------------------------------------


def test_each_call_is_authorised_on_what_aws_names(sandbox: Sandbox, iot: Any) -> None:
    """A machine's role may do each call on the one resource, and not on another one."""
    prefix = f"arn:aws:iot:{REGION}:{sandbox.account_id}"
    names = {what: (unique(what), unique(what)) for what in ("thing", "group", "policy")}
    for thing, group, policy in zip(*names.values(), strict=True):
        iot.create_thing(thingName=thing)
        iot.create_thing_group(thingGroupName=group)
        iot.create_policy(policyName=policy, policyDocument=POLICY)
    mine, others = (
        iot.register_certificate_without_ca(certificatePem=issue(name).pem, status="ACTIVE")["certificateArn"]
        for name in names["thing"]
    )
    thing, group, policy = (f"{prefix}:{kind}/" for kind in ("thing", "thinggroup", "policy"))
    arn = role(
        sandbox,
        "states.amazonaws.com",
        {
            "iot:AddThingToThingGroup": [thing + names["thing"][0], group + names["group"][0]],
            "iot:DeleteConnection": f"{prefix}:client/{names['thing'][0]}",
            "iot:DescribeCertificate": mine,
            "iot:GetPolicy*": policy + names["policy"][0],
            "iot:GetThingShadow": [thing + names["thing"][0], thing + names["thing"][0] + "/named"],
            "iot:ListThingPrincipals": thing + names["thing"][0],
            "iot:UpdateThing": thing + names["thing"][0],
        },
    )
    join = lambda a, b: {"ThingName": names["thing"][a], "ThingGroupName": names["group"][b]}  # noqa: E731
    certificate = lambda a: {"CertificateId": a.rsplit("/", 1)[-1]}  # noqa: E731
    calls: list[tuple[str, dict[str, Any], str]] = []
    for index, outcome in ((0, "allowed"), (1, "denied")):
        own, of_policy = names["thing"][index], names["policy"][index]
        calls += [
            ("iot:addThingToThingGroup", join(index, index), outcome),
            ("iot:describeCertificate", certificate((mine, others)[index]), outcome),
            ("iot:getPolicy", {"PolicyName": of_policy}, outcome),
            ("iot:getPolicyVersion", {"PolicyName": of_policy, "PolicyVersionId": "1"}, outcome),
            ("iot:listThingPrincipals", {"ThingName": own}, outcome),
            ("iot:updateThing", {"ThingName": own}, outcome),
            ("iotdataplane:deleteConnection", {"ClientId": own}, outcome),
            ("iotdataplane:getThingShadow", {"ThingName": own}, outcome),
            ("iotdataplane:getThingShadow", {"ThingName": own, "ShadowName": "named"}, outcome),
        ]
    calls += [("iot:addThingToThingGroup", join(0, 1), "denied"), ("iot:addThingToThingGroup", join(1, 0), "denied")]
    calls.append(("iotdataplane:getThingShadow", {"ThingName": names["thing"][0], "ShadowName": "other"}, "denied"))
    states = sandbox.client("stepfunctions", REGION)
    running = [
        states.start_execution(
            stateMachineArn=machine(sandbox, task(f"aws-sdk:{call}", arguments), arn, region=REGION)
        )["executionArn"]
        for call, arguments, _outcome in calls
    ]
    ended = [finished(sandbox, execution, REGION) for execution in running]
    found = ["denied" if "Status Code: 403" in (end.get("cause") or "") else "allowed" for end in ended]
    assert list(zip(calls, found, strict=True)) == [(call, call[2]) for call in calls]
    # Of what there is no connection or shadow, and of what is denied, under the names that a machine can catch.
    assert {end.get("error") for end in ended} == {
        None,
        "Iot.IotException",
        "IotDataPlane.ForbiddenException",
        "IotDataPlane.ResourceNotFoundException",
    }
