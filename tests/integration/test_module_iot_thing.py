# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing of one region is made, changed and deleted, with all its certificates."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.modules import Region


@pytest.fixture
def name(region: Region) -> Iterator[str]:
    made = f"gateway-{uuid.uuid4()}"
    yield made
    region.run("iot_thing", thing_name=made, state="absent")


@pytest.fixture
def certificates(region: Region) -> Iterator[list[str]]:
    iot = region.client("iot")
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
def kind(region: Region) -> str:
    made = "gateway"
    region.client("iot").create_thing_type(thingTypeName=made)
    return made


def read(region: Region, name: str) -> dict[str, Any] | None:
    found = region.run("iot_thing_info", names=[name])["things"]
    return found[0] if found else None


@pytest.mark.defect("S3-12", "S3-13")
def test_made_changed_and_deleted_as_predicted_and_not_again(
    region: Region, name: str, certificates: list[str], kind: str
) -> None:
    one, two, three = certificates
    region.run("iot_thing", thing_name=name, state="absent")
    steps: list[dict[str, Any]] = [
        {"thing_type": kind, "attributes": {"site": "harbour", "floor": 2}, "principals": certificates},
        {"attributes": {"site": "depot"}, "principals": [one, two]},
        {"attributes": {"room": "7"}, "purge_attributes": False, "principals": [three], "purge_principals": False},
        {"state": "absent"},
    ]
    states = [
        (kind, {"site": "harbour", "floor": "2"}, certificates),
        (kind, {"site": "depot"}, [one, two]),
        (kind, {"site": "depot", "room": "7"}, certificates),
        None,
    ]
    for step, state in zip(steps, states, strict=True):
        before = read(region, name)
        predicted = region.run("iot_thing", check=True, thing_name=name, **step)
        assert predicted["changed"]
        assert read(region, name) == before
        done = region.run("iot_thing", thing_name=name, **step)
        assert done["changed"]
        assert done["diff"] == predicted["diff"]
        found = read(region, name)
        if state is None:
            assert found is done["thing"] is predicted["thing"] is None
        else:
            assert found is not None
            attached = [each["certificate_id"] for each in found["certificates"]]
            assert (found["thing_type_name"], found["attributes"], sorted(attached)) == (*state[:2], sorted(state[2]))
            assert {each["certificate_id"]: each["status"] for each in found["certificates"]}.get(one) == "INACTIVE"
        for check in (True, False):
            again = region.run("iot_thing", check=check, thing_name=name, **step)
            assert not again["changed"]
            assert again["diff"]["before"] == again["diff"]["after"]


def test_what_is_not_named_stays_and_so_does_what_convergence_writes(region: Region, name: str, kind: str) -> None:
    region.client("iot").create_thing(
        thingName=name, thingTypeName=kind, attributePayload={"attributes": {"fleetDigest": "abc", "site": "depot"}}
    )
    assert not region.run("iot_thing", thing_name=name)["changed"]
    assert region.run("iot_thing", thing_name=name, attributes={})["thing"]["attributes"] == {"fleetDigest": "abc"}
    assert region.run("iot_thing", thing_name=name, thing_type="")["thing"]["thing_type_name"] == ""


def test_a_certificate_may_be_of_one_thing_alone(region: Region, name: str, certificates: list[str]) -> None:
    region.run("iot_thing", thing_name=name, principals=certificates[:1], exclusive=True)
    region.run("iot_thing", thing_name=name, principals=certificates[1:2], purge_principals=False)
    found = read(region, name)
    assert found is not None
    exclusive = {each["certificate_id"]: each["exclusive"] for each in found["certificates"]}
    assert exclusive == {certificates[0]: True, certificates[1]: False}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"thing_name": "a b"}, "thing_name: AWS refuses the name 'a b'; use 1 to 128 of a-z A-Z 0-9 : _ -"),
        ({"attributes": {"a": "x y"}}, "attributes: AWS refuses the value 'x y' of a; use 1 to 800 of "),
        ({"attributes": {"fleetDigest": "x"}}, "attributes: fleetDigest is written by convergence; leave it out"),
    ],
)
def test_what_aws_would_refuse_is_one_line_and_makes_nothing(
    region: Region, name: str, wanted: dict[str, Any], message: str
) -> None:
    assert region.refusal("iot_thing", **{"thing_name": name, **wanted}).startswith(message)
    assert read(region, name) is None


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
