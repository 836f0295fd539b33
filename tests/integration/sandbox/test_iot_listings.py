# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists that grow with the fleet: pages of the size asked for, complete whatever happens between them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import issue

REGION, ELSEWHERE = "ap-south-1", "ap-southeast-1"
NAMES = [f"listed-{number:02}" for number in range(12)]


@pytest.fixture(scope="module")
def iot(sandbox: Sandbox) -> Any:
    """Twelve things, six of a type, four in a group; one more in another region."""
    client = sandbox.client("iot", REGION)
    client.create_thing_type(thingTypeName="listed")
    client.create_thing_group(thingGroupName="listed")
    for number, name in enumerate(NAMES):
        kind = {"thingTypeName": "listed"} if number % 2 else {}
        colour = "dark-red" if number < 3 else "dark-blue" if number < 5 else "white"
        client.create_thing(thingName=name, attributePayload={"attributes": {"colour": colour}}, **kind)
        if number < 4:
            client.add_thing_to_thing_group(thingName=name, thingGroupName="listed")
    sandbox.client("iot", ELSEWHERE).create_thing(thingName="listed-elsewhere")
    return client


@pytest.fixture(scope="module")
def certificates(sandbox: Sandbox, iot: Any, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("listed"), (REGION,))
    iot.create_policy(policyName="listed", policyDocument=ALLOW)
    for number in range(5):
        fleet.activate(REGION, issue(f"listed-{number}", fleet.ca), policy="listed")
    iot.register_certificate_without_ca(certificatePem=issue("listed-loose").pem, status="INACTIVE")
    return fleet


def pages(client: Any, operation: str, member: str, size: int, **arguments: Any) -> list[list[Any]]:
    found = client.get_paginator(operation).paginate(PaginationConfig={"PageSize": size}, **arguments)
    return [page[member] for page in found]


def names(client: Any, **filters: Any) -> list[str]:
    found = pages(client, "list_things", "things", 5, **filters)
    return [thing["thingName"] for thing in itertools.chain(*found)]


def test_things_come_in_pages_with_what_is_known_of_them(iot: Any) -> None:
    found = pages(iot, "list_things", "things", 5)
    assert [len(page) for page in found] == [5, 5, 2]
    assert [thing["thingName"] for page in found for thing in page] == NAMES
    first, second = found[0][:2]
    assert second == {
        "thingName": NAMES[1],
        "thingArn": iot.describe_thing(thingName=NAMES[1])["thingArn"],
        "thingTypeName": "listed",
        "attributes": {"colour": "dark-red"},
        "version": 1,
    }
    assert "thingTypeName" not in first


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"thingTypeName": "listed"}, NAMES[1::2]),
        ({"attributeName": "colour"}, NAMES),
        ({"attributeName": "shape"}, []),
        ({"attributeName": "colour", "attributeValue": "dark-red"}, NAMES[:3]),
        ({"attributeName": "colour", "attributeValue": "dark"}, []),
        ({"attributeName": "colour", "attributeValue": "dark", "usePrefixAttributeValue": True}, NAMES[:5]),
        ({"attributeName": "colour", "attributeValue": "dark-red", "thingTypeName": "listed"}, [NAMES[1]]),
    ],
)
def test_a_filter_selects_before_pages_are_cut(iot: Any, filters: dict[str, Any], expected: list[str]) -> None:
    assert names(iot, **filters) == expected


def test_what_is_deleted_between_two_pages_is_left_out_and_hides_nothing(iot: Any) -> None:
    for name in ("gone-1", "gone-2", "zz-last"):
        iot.create_thing(thingName=name)
    first = iot.list_things(maxResults=12)
    for name in ("gone-1", "gone-2"):
        iot.delete_thing(thingName=name)
    second = iot.list_things(maxResults=12, nextToken=first["nextToken"])
    iot.delete_thing(thingName="zz-last")
    assert [thing["thingName"] for thing in second["things"]] == ["zz-last"]
    assert "nextToken" not in second


def test_members_of_a_group(iot: Any) -> None:
    assert pages(iot, "list_things_in_thing_group", "things", 3, thingGroupName="listed") == [NAMES[:3], NAMES[3:4]]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        iot.list_things_in_thing_group(thingGroupName="nobody")


def test_certificates_come_newest_first_unless_asked_otherwise(iot: Any, certificates: Fleet) -> None:
    newest = [each["certificateId"] for page in pages(iot, "list_certificates", "certificates", 4) for each in page]
    oldest = pages(iot, "list_certificates", "certificates", 4, ascendingOrder=True)
    assert [len(page) for page in oldest] == [4, 2]
    assert [each["certificateId"] for page in oldest for each in page] == newest[::-1]
    assert {each["status"] for page in oldest for each in page} == {"ACTIVE", "INACTIVE"}
    described = iot.describe_certificate(certificateId=newest[-1])["certificateDescription"]
    assert oldest[0][0] == {name: described[name] for name in oldest[0][0]}
    assert {"certificateArn", "certificateMode", "creationDate"} <= oldest[0][0].keys()


def test_certificates_of_a_ca_are_those_that_it_vouches_for(iot: Any, certificates: Fleet) -> None:
    of_ca = pages(iot, "list_certificates_by_ca", "certificates", 2, caCertificateId=certificates.ca_ids[REGION])
    assert [len(page) for page in of_ca] == [2, 2, 1]
    assert iot.list_certificates_by_ca(caCertificateId="a" * 64)["certificates"] == []


def test_targets_of_a_policy(iot: Any, certificates: Fleet) -> None:
    found = pages(iot, "list_targets_for_policy", "targets", 2, policyName="listed")
    assert [len(page) for page in found] == [2, 2, 1]
    first = iot.list_targets_for_policy(policyName="listed", pageSize=2)
    iot.detach_policy(policyName="listed", target=found[1][0])
    second = iot.list_targets_for_policy(policyName="listed", pageSize=2, marker=first["nextMarker"])
    iot.attach_policy(policyName="listed", target=found[1][0])
    assert second["targets"] == [found[1][1], found[2][0]]
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        iot.list_targets_for_policy(policyName="nobody")


@pytest.mark.parametrize("arguments", [{"maxResults": 251}, {"nextToken": "torn"}, {"attributeValue": "white"}])
def test_a_wrong_question_is_refused(iot: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="InvalidRequestException"):
        iot.list_things(**arguments)


def test_a_token_is_of_its_region(sandbox: Sandbox, iot: Any) -> None:
    token = iot.list_things(maxResults=2)["nextToken"]
    with pytest.raises(ClientError, match="InvalidRequestException"):
        sandbox.client("iot", ELSEWHERE).list_things(nextToken=token)
