# SPDX-License-Identifier: GPL-3.0-or-later
"""register-device lets in what a row has room for by rotation.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ministack.services import stepfunctions

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rotation, rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from tests.unit.asl.definitions import definition

VERDICT = definition("register-device")["States"]["ReadRow"]["Assign"]["verdict"]


def verdict(row: dict[str, Any] | None, revoked: str = "", **variables: Any) -> str:
    """What is made of a certificate that nobody knows."""
    found = {"${InventoryTable}": [typed_item(row)] if row else []}
    found["${RevocationsTable}"] = [{"Key": {"S": revoked}}] if revoked else []
    answer = {"Responses": found, "UnprocessedKeys": {}}
    known = {"thingName": "t", "certificateId": "new", "isByTemplate": False, "trusted": True, "reason": ""}
    context = {"variables": {**known, **variables}, "Execution": {"Input": {}}}
    return str(stepfunctions._apply_jsonata_template(VERDICT, None, context, result=answer))


@pytest.mark.parametrize(
    ("active", "revoked", "expired"),
    [(0, 0, 0), (1, 0, 0), (19, 0, 9), (20, 0, 0), (19, 25, 9), (19, 26, 0), (0, 45, 0)],
)
def test_room_for_a_certificate(active: int, revoked: int, expired: int) -> None:
    kinds = [("ACTIVE", "2100")] * active + [("REVOKED", "2100")] * revoked + [("ACTIVE", "2020")] * expired
    certificates = {
        f"c{number}": {"Status": status, "NotAfter": f"{year}-01-01T00:00:00Z"}
        for number, (status, year) in enumerate(kinds)
    }
    row = {"ThingName": "t", "State": "ACTIVE", "Certificates": certificates}
    full = rotation.is_full(row, datetime.now(UTC), most=rows.MAX_CERTIFICATES)
    assert verdict(row) == ("the device has 20 certificates that are valid" if full else "renewed")


def test_who_comes_by_a_template_is_left_to_aws_iot_only_while_nobody_knows_its_name() -> None:
    row = {"ThingName": "t", "State": "ACTIVE", "Certificates": {}}
    assert verdict(None, isByTemplate=True) == "left to AWS IoT"
    assert verdict(None, isByTemplate=True, trusted=False, reason="it expired") == "left to AWS IoT"
    assert verdict(None, "id:new", isByTemplate=True) == "the certificate is revoked"
    assert verdict(None, "thing:t", isByTemplate=True) == "the device is REVOKED"
    assert verdict(row, isByTemplate=True) == "renewed"
    assert verdict(row, isByTemplate=True, trusted=False, reason="it expired") == "it expired"
    assert verdict({**row, "State": "SUSPENDED"}, isByTemplate=True) == "renewed"
    assert verdict({**row, "State": "DELETED"}, isByTemplate=True) == "the device is DELETED"


@pytest.mark.parametrize(
    ("changes", "revoked", "expected"),
    [
        ({}, "", "renewed"),
        ({"PresentedAt": "2026-01-01T00:00:00Z"}, "", "known"),
        ({"RetireAt": "2026-01-01T00:00:00Z"}, "", "known"),
        ({"Status": "REVOKED"}, "", "known"),
        ({}, "id:new", "known"),
    ],
)
def test_a_certificate_by_a_template_that_ingestion_saw_first_is_renewed(
    changes: dict[str, str], revoked: str, expected: str
) -> None:
    entry = {"Status": "ACTIVE", "NotAfter": "2100-01-01T00:00:00Z", **changes}
    row = {"ThingName": "t", "State": "ACTIVE", "CertificateId": "old", "Certificates": {"new": entry}}
    assert verdict(row, revoked, isByTemplate=True) == expected
    assert verdict(row, revoked) == "known"
    assert verdict({**row, "CertificateId": "new"}, revoked, isByTemplate=True) == "known"
    assert verdict({**row, "State": "REVOKED"}, revoked, isByTemplate=True) == "known"
