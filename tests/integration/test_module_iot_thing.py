# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing of one region is made, changed and deleted, with all its certificates."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.modules import Region


@pytest.fixture(scope="module")
def iot(region: Region) -> Any:
    return region.client("iot")


@pytest.fixture
def name(region: Region) -> Iterator[str]:
    made = f"gateway-{uuid.uuid4()}"
    yield made
    region.run("iot_thing", thing_name=made, state="absent")


@pytest.fixture
def certificates(iot: Any) -> Iterator[list[str]]:
    made = [iot.create_keys_and_certificate(setAsActive=number > 0) for number in range(3)]
    ids = [each["certificateId"] for each in made]
    yield ids
    for each in made:
        for thing in iot.list_principal_things(principal=each["certificateArn"])["things"]:
            iot.detach_thing_principal(thingName=thing, principal=each["certificateArn"])
    for each in ids:
        iot.update_certificate(certificateId=each, newStatus="INACTIVE")
        iot.delete_certificate(certificateId=each, forceDelete=True)


@pytest.fixture(scope="module")
def kind(iot: Any) -> str:
    made = "gateway"
    iot.create_thing_type(thingTypeName=made)
    return made


def seen(iot: Any, name: str) -> Any:
    """Type, attributes and ids of certificates of the thing; None when there is none."""
    try:
        thing = iot.describe_thing(thingName=name)
    except iot.exceptions.ResourceNotFoundException:
        return None
    principals = iot.list_thing_principals(thingName=name)["principals"]
    return thing.get("thingTypeName"), thing["attributes"], {each.rpartition("/")[2] for each in principals}


def read(region: Region, name: str) -> dict[str, dict[str, Any]]:
    """The thing's certificates by id, as ``iot_thing_info`` has them."""
    [found] = region.run("iot_thing_info", names=[name])["things"]
    return {each["certificate_id"]: each for each in found["certificates"]}


@pytest.mark.defect("S3-12", "S3-13")
def test_made_changed_and_deleted_as_predicted_and_not_again(
    region: Region, iot: Any, name: str, certificates: list[str], kind: str
) -> None:
    one, two, _three = certificates
    steps: list[tuple[dict[str, Any], Any]] = [
        (
            {"thing_type": kind, "attributes": {"site": "harbour", "floor": 2}, "principals": certificates},
            (kind, {"site": "harbour", "floor": "2"}, set(certificates)),
        ),
        ({"attributes": {"site": "depot"}, "principals": [one, two]}, (kind, {"site": "depot"}, {one, two})),
        ({"state": "absent"}, None),
    ]
    for step, state in steps:
        before = seen(iot, name)
        predicted = region.run("iot_thing", check=True, thing_name=name, **step)
        assert predicted["changed"]
        assert seen(iot, name) == before
        done = region.run("iot_thing", thing_name=name, **step)
        assert (done["changed"], done["diff"]) == (True, predicted["diff"])
        assert seen(iot, name) == state
        if state:
            statuses = {each: found["status"] for each, found in read(region, name).items()}
            assert statuses == {each: "INACTIVE" if each == one else "ACTIVE" for each in state[2]}
        again = region.run("iot_thing", thing_name=name, **step)
        assert not again["changed"]
        assert again["diff"]["before"] == again["diff"]["after"]


def test_what_is_not_named_stays_and_so_does_what_convergence_writes(
    region: Region, iot: Any, name: str, kind: str, certificates: list[str]
) -> None:
    iot.create_thing(
        thingName=name, thingTypeName=kind, attributePayload={"attributes": {"fleetDigest": "abc", "site": "depot"}}
    )
    assert not region.run("iot_thing", thing_name=name)["changed"]
    region.run("iot_thing", thing_name=name, principals=certificates[:1], exclusive=True, attributes={})
    more = {"principals": certificates[1:2], "attributes": {"room": "7"}, "thing_type": ""}
    region.run("iot_thing", thing_name=name, purge_principals=False, purge_attributes=False, **more)
    assert seen(iot, name) == (None, {"fleetDigest": "abc", "room": "7"}, set(certificates[:2]))
    exclusive = {each: found["exclusive"] for each, found in read(region, name).items()}
    assert exclusive == {certificates[0]: True, certificates[1]: False}


def test_the_next_thing_of_a_name_does_not_follow_what_was_desired_of_the_one_before(
    region: Region, iot: Any, name: str
) -> None:
    data, document = region.client("iot-data"), b'{"state": {"desired": {"valve": "open"}}}'
    iot.create_thing(thingName=name)
    for shadow in ({}, {"shadowName": "firmware"}, {"shadowName": "alarm"}):
        data.update_thing_shadow(thingName=name, payload=document, **shadow)
    shadows = ["$classic", "alarm", "firmware"]
    predicted = region.run("iot_thing", check=True, thing_name=name, state="absent")
    assert data.list_named_shadows_for_thing(thingName=name)["results"] == shadows[1:]
    assert predicted["deleted_shadows"] == predicted["diff"]["before"]["shadows"] == shadows
    done = region.run("iot_thing", thing_name=name, state="absent")
    assert (done["deleted_shadows"], done["diff"]) == (shadows, predicted["diff"])
    iot.create_thing(thingName=name)
    with pytest.raises(data.exceptions.ResourceNotFoundException):
        data.get_thing_shadow(thingName=name)
    assert data.list_named_shadows_for_thing(thingName=name)["results"] == []
    data.update_thing_shadow(thingName=name, payload=document)
    iot.delete_thing(thingName=name)
    assert region.run("iot_thing", thing_name=name, state="absent")["deleted_shadows"] == ["$classic"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"thing_name": "a b"}, "thing_name: AWS refuses the name 'a b'; use 1 to 128 of a-z A-Z 0-9 : _ -"),
        ({"attributes": {"a": "x y"}}, "attributes: AWS refuses the value 'x y' of a; use 1 to 800 of "),
        ({"attributes": {"fleetDigest": "x"}}, "attributes: fleetDigest is written by convergence; leave it out"),
    ],
)
def test_what_aws_would_refuse_is_one_line_and_makes_nothing(
    region: Region, iot: Any, wanted: dict[str, Any], message: str
) -> None:
    assert region.refusal("iot_thing", **{"thing_name": "refused", **wanted}).startswith(message)
    assert seen(iot, "refused") is None


def test_a_message_reaches_the_broker_and_check_mode_sends_none(region: Region, sandbox_only: Any) -> None:
    wanted = {"topic": "e/gateway/command", "payload": {"command": "restart"}}
    began = sandbox_only.now()
    predicted = region.run("iot_message", check=True, **wanted)
    assert sandbox_only.journal(began, service="iotdata") == []
    sent = region.run("iot_message", **wanted)
    assert sent == predicted
    assert sent["message"] == {"topic": "e/gateway/command", "octets": 21, "qos": 1}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"topic": "e/+/command"}, "topic=e/+/command: a message goes to one topic; write it without + and #"),
        ({"topic": "a/b/c/d/e/f/g/h/i"}, "topic=a/b/c/d/e/f/g/h/i: AWS takes 256 bytes and 7 slashes; shorten it"),
        ({"payload": "x" * 131073}, "payload has 131073 bytes: AWS takes 131072; shorten it"),
    ],
)
def test_a_message_that_aws_would_refuse_is_one_line(region: Region, wanted: dict[str, Any], message: str) -> None:
    assert region.refusal("iot_message", check=True, **{"topic": "e/x", "payload": "", **wanted}) == message
