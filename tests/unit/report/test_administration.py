# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is shown of what regions have, and what keeps devices from being deleted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.filter.administration import (
    deletion_problems,
    device_names,
    listed_devices,
    unknown_devices,
)
from ansible_collections.iotops.fleet.plugins.module_utils._devices.listing import Region

ARN = "arn:aws:iot:eu-west-1:123456789012:cert/"
A, B, C, D, E = (letter * 64 for letter in "abcde")
LOST = {"msg": "Could not connect", "failed": True}


def row(name: str, state: str, *certificates: str) -> dict[str, Any]:
    return {
        "ThingName": name, "State": state, "Version": 2, "WriteId": "w", "Certificates": dict.fromkeys(certificates),
    }  # fmt: skip


def answer(*names: str) -> dict[str, Any]:
    """What ``fleet_devices_info`` says of a region.

    ``one`` has two certificates, the second of which ``strange``, which has no row, has too; ``gone`` is DELETED;
    ``late`` has another certificate than its row, which is not applied. ``d`` belongs to nobody, ``e`` is a claim
    certificate.
    """
    kind = {"thing_type_name": "kind", "attributes": {}}
    region = Region(
        things=[{"thing_name": name, **kind} for name in ("late", "one", "strange")],
        principals={
            "one": {f"{ARN}{A}": "", f"{ARN}{B}": ""},
            "strange": {f"{ARN}{B}": "", "arn:aws:cognito:x": ""},
            "late": {f"{ARN}{C}": ""},
        },
        statuses={A: "ACTIVE", B: "INACTIVE", C: "ACTIVE", D: "REVOKED", E: "ACTIVE"},
        rows={
            each["ThingName"]: each
            for each in (row("one", "ACTIVE", A, B), row("gone", "DELETED"), row("late", "ACTIVE"))
        },
        applied={"one": {"AppliedWriteId": "w"}, "gone": {"AppliedWriteId": "w"}, "late": {"AppliedVersion": 1}},
        claims={E},
    )
    region.share()
    listed = list(names or ("gone", "late", "one", "strange"))
    return {"devices": region.devices(listed), "loose_certificates": region.loose(listed) if not names else []}


def test_a_device_has_a_line_for_each_region_and_so_has_what_nobody_has() -> None:
    rows = listed_devices({"eu-west-1": answer(), "us-west-2": answer("one"), "eu-north-1": LOST})
    assert [(each["device"], each["region"]) for each in rows] == [
        ("gone", "eu-west-1"),
        ("late", "eu-west-1"),
        ("one", "eu-west-1"),
        ("one", "us-west-2"),
        ("strange", "eu-west-1"),
        (None, "eu-west-1"),
        (None, "eu-west-1"),
        (None, "eu-north-1"),
    ]
    by_name = {each["device"]: each for each in rows[:5]}
    assert by_name["one"] == {
        "device": "one",
        "region": "us-west-2",
        "state": "ACTIVE",
        "thing": "kind",
        "certificates": "aaaaaaaa ACTIVE; bbbbbbbb INACTIVE",
        "note": "bbbbbbbb is also of strange",
    }
    assert by_name["strange"]["certificates"] == "bbbbbbbb INACTIVE, not in the row"
    assert by_name["strange"]["note"] == "no row; bbbbbbbb is also of one"
    assert (by_name["gone"]["thing"], by_name["gone"]["certificates"]) == (None, None)
    assert by_name["late"]["note"] == "not applied: version 2 is not applied, 1 is"
    assert (rows[5]["certificates"], rows[5]["note"]) == ("dddddddd REVOKED", "no thing, no row")
    assert (rows[6]["certificates"], rows[6]["note"]) == ("eeeeeeee ACTIVE", "claim certificate")
    assert rows[7]["note"] == "not reached: Could not connect"


def test_a_certificate_of_another_thing_or_of_no_row_keeps_a_device_from_being_deleted() -> None:
    assert deletion_problems({"eu-west-1": answer("one")}) == [
        f"certificate {B} of one in eu-west-1 is that of strange, too: delete them together, or detach it from one"
    ]
    assert deletion_problems({"eu-west-1": answer("late")}) == [
        f"certificate {C} of late in eu-west-1 is not in its row: wait until it was taken in, or detach it"
    ]
    assert deletion_problems({"eu-west-1": answer("gone")}) == []


def test_a_region_that_could_not_be_looked_at_keeps_devices_from_being_deleted() -> None:
    remedy = "run this again when it answers, or without it (--limit)"
    assert deletion_problems({"eu-west-1": answer("gone"), "us-west-2": LOST, "eu-north-1": {}}) == [
        f"us-west-2 could not be looked at (Could not connect): {remedy}",
        f"eu-north-1 could not be looked at (no answer): {remedy}",
    ]


def test_who_is_known_in_one_region_is_known() -> None:
    assert unknown_devices({"eu-west-1": answer("one", "nobody"), "us-west-2": answer("nobody"), "x": LOST}) == [
        "nobody"
    ]


def test_names_come_as_a_list_or_as_text_with_commas() -> None:
    assert (
        device_names("dev-[1:2], gateway,") == device_names(["dev-[1:2]", "gateway"]) == ["dev-1", "dev-2", "gateway"]
    )
    assert device_names("") == device_names([]) == []
    with pytest.raises(AnsibleFilterError, match="device name 'a b': AWS IoT takes"):
        device_names("a b")
