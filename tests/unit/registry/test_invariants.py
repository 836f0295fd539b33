# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way of being wrong is seen, and nothing is wrong with what is right."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.invariants import Region, unsafe, violations

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY, TYPE = "fleet-device", "fleet-device"


def row(thing: str = "lamp", **changes: Any) -> dict[str, Any]:
    certificate = {
        "Pem": "", "Status": "ACTIVE", "NotAfter": "2027-01-01T00:00:00Z", "IssuerFingerprint": "ca", "Serial": "1",
    }  # fmt: skip
    return {
        "ThingName": thing,
        "State": "ACTIVE",
        "WriteId": "one",
        "CertificateId": "cert",
        "Certificates": {"cert": certificate},
        "PolicyNames": [POLICY],
        "ThingTypeName": TYPE,
        "ThingGroups": [],
        "Attributes": {"room": "7"},
        **changes,
    }


RIGHT = Region(
    name="eu-west-1",
    rows={"lamp": row()},
    status={"lamp": {"AppliedWriteId": "one"}},
    revocations=frozenset(),
    rejected=frozenset(),
    things={"lamp": {"thingTypeName": TYPE, "attributes": {"room": "7", "certificateId": "cert", "more": "is fine"}}},
    groups_of={"lamp": frozenset()},
    certificates={"cert": "ACTIVE"},
    things_of={"cert": frozenset({"lamp"})},
    policies_of={"cert": frozenset({POLICY})},
)


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert violations([RIGHT, replace(RIGHT, name="us-west-2")], now=NOW) == []
    assert unsafe(RIGHT, now=NOW) == []


NOTHING: frozenset[str] = frozenset()
DELETED = {"rows": {"lamp": row(State="DELETED")}, "things": {}, "things_of": {"cert": NOTHING}}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"things": {}}, "no thing"),
        ({"things": {**RIGHT.things, "stray": {}}}, "a thing without row"),
        ({"things": {"lamp": {**RIGHT.things["lamp"], "thingTypeName": "x"}}}, "its type"),
        ({"things": {"lamp": {"thingTypeName": TYPE, "attributes": {"room": "8"}}}}, "certificateId, room"),
        ({"groups_of": {"lamp": frozenset({"shelf"})}}, "its groups"),
        ({"things_of": {"cert": NOTHING}}, r"attached to \[\]"),
        ({"things_of": {"cert": frozenset({"lamp", "other"})}}, r"attached to \['lamp', 'other'\]"),
        ({"policies_of": {"cert": NOTHING}}, r"policies \[\]"),
        ({"certificates": {"cert": "INACTIVE"}}, "INACTIVE, not ACTIVE"),
        ({"certificates": {}}, "None, not ACTIVE"),
        ({"rows": {"lamp": row(State="REVOKED")}}, "ACTIVE, not REVOKED"),
        ({"revocations": frozenset({"serial:ca:1"})}, "ACTIVE, not REVOKED"),
        ({**DELETED, "certificates": {"cert": "REVOKED"}}, "still attached"),
        ({**DELETED, "certificates": {"cert": "REVOKED"}, "things": RIGHT.things}, "still a thing"),
        ({"certificates": {"cert": "ACTIVE", "orphan": "INACTIVE"}}, "of no row"),
        ({"certificates": {"cert": "ACTIVE", "orphan": "ACTIVE"}, "rejected": frozenset({"orphan"})}, "of no row"),
        ({"status": {}}, "applied None, not one"),
        ({"status": {"lamp": {"AppliedWriteId": "one", "Error": "x"}}}, "in error"),
        ({"status": {"lamp": {"AppliedWriteId": "one", "LeaseUntil": NOW.timestamp()}}}, "a lease is held"),
        ({"status": {**RIGHT.status, "gone": {}}}, "a status without row"),
    ],
)
def test_each_way_of_being_wrong_is_seen(changes: dict[str, Any], line: str) -> None:
    wrong = replace(RIGHT, **changes)
    empty = {
        "things_of": {**wrong.things_of, "orphan": NOTHING},
        "policies_of": {**wrong.policies_of, "orphan": NOTHING},
    }
    found = violations([replace(wrong, **empty)], now=NOW)
    assert len([each for each in found if re.search(line, each)]) == 1, found


@pytest.mark.parametrize(
    "changes",
    [
        {"certificates": {"cert": "ACTIVE", "new": "PENDING_ACTIVATION"}},
        {"certificates": {"cert": "ACTIVE", "bad": "INACTIVE"}, "rejected": frozenset({"bad"})},
        {"status": {**RIGHT.status, "certificate/new": {"LeaseUntil": NOW.timestamp() + 60}}},
        {"status": {"lamp": {"AppliedWriteId": "one", "LeaseOwner": "gone", "LeaseUntil": NOW.timestamp() - 1}}},
    ],
)
def test_what_only_looks_wrong_is_none(changes: dict[str, Any]) -> None:
    assert violations([replace(RIGHT, **changes)], now=NOW) == []


def test_regions_that_disagree_are_seen() -> None:
    other = replace(
        RIGHT, name="us-west-2", rows={"lamp": row(WriteId="two")}, status={"lamp": {"AppliedWriteId": "two"}}
    )
    assert violations([RIGHT, other], now=NOW) == ["lamp: eu-west-1 and us-west-2 have different rows"]
    revoked = replace(RIGHT, name="us-west-2", revocations=frozenset({"id:other"}))
    assert violations([RIGHT, revoked], now=NOW) == ["id:other: revoked in one of eu-west-1 and us-west-2 only"]


def test_an_open_door_is_unsafe_even_while_things_are_under_way() -> None:
    revoked = replace(RIGHT, rows={"lamp": row(State="REVOKED")})
    assert len(unsafe(revoked, now=NOW)) == 1
    assert unsafe(replace(revoked, status={}), now=NOW) == [], "nobody got to it yet"
