# SPDX-License-Identifier: GPL-3.0-or-later
"""Things and their certificates are read whole, page after page, within the quotas."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._iot.thing import WantedThing
from ansible_collections.iotops.fleet.plugins.module_utils._iot.things import (
    DESCRIBED_AT_MOST,
    OPERATIONS,
    Reader,
    certificate_id_of,
    principals_of,
    shown,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

ARN = "arn:aws:iot:eu-west-1:123456789012:cert/"


class Pages:
    """A paginator of boto3 for one operation of :class:`Iot`."""

    def __init__(self, pages: list[dict[str, Any]]) -> None:
        self._pages = pages

    def paginate(self, **_request: Any) -> list[dict[str, Any]]:
        return self._pages


class Iot:
    """boto3's client: each thing has ``count`` certificates, in pages of two."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.described = 0

    def get_paginator(self, operation: str) -> Pages:
        ids = [f"id-{number}" for number in range(self._count)]
        if operation == "list_certificates":
            listed = [{"certificateId": each, "certificateArn": f"{ARN}{each}", "status": "ACTIVE"} for each in ids]
            return Pages([{"certificates": listed[:1]}, {"certificates": listed[1:]}])
        assert operation == "list_thing_principals_v2"
        found = [{"principal": f"{ARN}{each}", "thingPrincipalType": "EXCLUSIVE_THING"} for each in ids]
        return Pages([{"thingPrincipalObjects": found[at : at + 2]} for at in range(0, len(found), 2)])

    def describe_certificate(self, certificateId: str) -> dict[str, Any]:
        self.described += 1
        return {"certificateDescription": {"certificateId": certificateId, "status": "INACTIVE"}}


def reader(iot: Iot, lines: list[str] | None = None) -> Reader:
    paces = {operation: Pace(1000, sleep=lambda _seconds: None) for operation in OPERATIONS}
    return Reader(iot, paces, 4, (lines if lines is not None else []).append)


@pytest.mark.defect("S3-13")
def test_every_page_of_principals_is_read() -> None:
    found = principals_of(Iot(5), "thing")
    assert found == {f"{ARN}id-{number}": "EXCLUSIVE_THING" for number in range(5)}


def test_each_thing_is_asked_for_within_its_pace_and_in_order() -> None:
    lines: list[str] = []
    one = reader(Iot(1), lines)
    names = [f"thing-{number}" for number in range(30)]
    assert list(one.principals([{"thing_name": name} for name in names])) == names
    assert one.paces["ListThingPrincipalsV2"].calls == 30
    assert lines[-1] == "things' certificates 30/30"


@pytest.mark.parametrize(("count", "described"), [(3, 3), (DESCRIBED_AT_MOST + 1, 0)])
def test_many_statuses_come_from_the_listing(count: int, described: int) -> None:
    iot = Iot(count)
    wanted = [f"id-{number}" for number in range(count)]
    found = reader(iot).statuses(wanted)
    assert (set(found), iot.described) == (set(wanted), described)
    assert set(found.values()) == {"INACTIVE" if described else "ACTIVE"}


def test_a_principal_that_is_no_certificate_has_no_id() -> None:
    assert certificate_id_of(f"{ARN}abc") == "abc"
    assert certificate_id_of("arn:aws:cognito-identity:eu-west-1:123456789012:identity/x") == ""


def test_attributes_keep_their_names() -> None:
    thing = {"thingName": "a", "version": 1, "attributes": {"siteCode": "x"}}
    assert shown(thing) == {
        "thing_name": "a",
        "version": 1,
        "thing_type_name": "",
        "attributes": {"siteCode": "x"},
    }


BEFORE = {
    "thing_name": "a",
    "thing_type_name": "kind",
    "attributes": {"fleetDigest": "d", "site": "x"},
    "principals": {f"{ARN}1": "EXCLUSIVE_THING"},
}


@pytest.mark.parametrize(
    ("wanted", "attributes", "principals"),
    [
        ({}, {"fleetDigest": "d", "site": "x"}, {f"{ARN}1"}),
        ({"attributes": {}, "principals": []}, {"fleetDigest": "d"}, set()),
        (
            {"attributes": {"b": "1"}, "purge_attributes": False},
            {"fleetDigest": "d", "site": "x", "b": "1"},
            {f"{ARN}1"},
        ),
        ({"principals": [f"{ARN}2"]}, {"fleetDigest": "d", "site": "x"}, {f"{ARN}2"}),
        (
            {"principals": [f"{ARN}2"], "purge_principals": False},
            {"fleetDigest": "d", "site": "x"},
            {f"{ARN}1", f"{ARN}2"},
        ),
    ],
)
def test_what_a_thing_is_to_be(wanted: dict[str, Any], attributes: dict[str, str], principals: set[str]) -> None:
    after = WantedThing(name="a", **wanted).after(BEFORE)
    assert (after["attributes"], set(after["principals"])) == (attributes, principals)
    assert after["principals"].get(f"{ARN}1", "EXCLUSIVE_THING") == "EXCLUSIVE_THING"


def test_a_name_that_aws_refuses_is_refused() -> None:
    with pytest.raises(FleetError, match="thing_name: AWS refuses the name 'a/b'"):
        WantedThing(name="a/b").require_sense()
