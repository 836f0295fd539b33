# SPDX-License-Identifier: GPL-3.0-or-later
"""A row that is written in advance is the one that register-device would have written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ministack.services import stepfunctions

from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import DeviceCertificate, Home, verdict
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item, typed_item
from tests.unit.asl.definitions import definition

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = "c" * 64
HOME = Home(application="fleet", partition="aws", region="eu-west-1", account="123456789012")
DEVICE = DeviceCertificate(
    name="lamp", certificate_id=ID, pem="-----BEGIN", serial="5ec", not_after="2036-01-01T00:00:00Z", issuer="f" * 64
)
SUBSTITUTIONS = {
    "Partition": "aws",
    "Region": "eu-west-1",
    "AccountId": "123456789012",
    "PolicyName": "fleet-device",
    "ThingTypeName": "fleet-device",
    "InventoryTable": "rows",
    "RevocationsTable": "revocations",
    "AllowListTable": "allowed",
}


def states(**more: str) -> dict[str, Any]:
    """Those of register-device with the substitutions of its template."""
    text = json.dumps(definition("register-device")["States"])
    for name, value in {**SUBSTITUTIONS, **more}.items():
        text = text.replace(f"${{{name}}}", value)
    return dict(json.loads(text))


def evaluated(template: Any, result: Any = None, **variables: Any) -> Any:
    context = {"variables": variables, "Execution": {"Input": {}}}
    return stepfunctions._apply_jsonata_template(template, None, context, result=result)


def test_the_row_is_that_of_register_device() -> None:
    found = states()
    identity = {
        "trusted": True,
        "reason": "",
        "thingName": "lamp",
        "issuerFingerprint": "f" * 64,
        "serial": "5ec",
        "notAfter": DEVICE.not_after,
    }
    known = evaluated(found["Identify"]["Assign"], {"Payload": identity}, pem=DEVICE.pem)
    arn = evaluated(found["TakeLease"]["Assign"]["certificateArn"].replace("$states.input.certificateId", f"'{ID}'"))
    item = evaluated(
        found["CreateRow"]["Arguments"]["Item"],
        **{name: known[name] for name in ("thingName", "notAfter", "certificate")},
        certificateId=ID,
        certificateArn=arn,
        caCertificateId="f" * 64,
    )
    theirs, ours = plain_item(item), HOME.row(DEVICE, NOW)
    [their], [our] = theirs["Certificates"].values(), ours["Certificates"].values()
    assert their.pop("PresentedAt")  # ours has not been
    for one, other in ((theirs, ours), (their, our)):
        for clock in ("UpdatedAt", "WriteId", "RegisteredAt"):
            assert (clock in one) == (clock in other)
            one.pop(clock, None), other.pop(clock, None)
    assert theirs == {**ours, "UpdatedRegion": "eu-west-1"}
    assert ours["UpdatedRegion"] == "controller"


def test_a_device_carries_the_policies_that_were_chosen_instead_of_the_fleets_own() -> None:
    assert HOME.row(DEVICE, NOW)["PolicyNames"] == ["fleet-device"]
    chosen = replace(HOME, policies=("fleet-load-test", "own"))
    assert chosen.row(DEVICE, NOW)["PolicyNames"] == ["fleet-load-test", "own"]


ROWS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "its own": {"State": "ACTIVE", "Certificates": {ID: {"NotAfter": DEVICE.not_after}}},
    "another": {"State": "ACTIVE", "Certificates": {"other": {"NotAfter": DEVICE.not_after}}},
    "suspended": {"State": "SUSPENDED", "Certificates": {"other": {"NotAfter": DEVICE.not_after}}},
    "deleted": {"State": "DELETED", "Certificates": {"other": {"NotAfter": DEVICE.not_after}}},
    "revoked": {"State": "REVOKED", "Certificates": {ID: {"NotAfter": DEVICE.not_after}}},
}
REVOKED = [[], *([key] for key in DEVICE.revocation_keys), list(DEVICE.revocation_keys)]
ALLOWED: list[dict[str, str]] = [{}, {"lamp": ""}, {"lamp": ID}, {"lamp": "other"}]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_verdict_is_that_of_register_device_but_for_renewals(row: dict[str, Any] | None) -> None:
    """A second certificate is admitted when the device presents it, which only the device can do."""
    for revoked, allowed in [*((each, None) for each in REVOKED), *(([], each) for each in ALLOWED)]:
        assign = states(UseAllowList=str(allowed is not None).lower())["ReadRow"]["Assign"]
        entries = [
            typed_item({"ThingName": name, **({"CertificateId": each} if each else {})})
            for name, each in (allowed or {}).items()
        ]
        answer = {
            "UnprocessedKeys": {},
            "Responses": {
                "rows": [typed_item({"ThingName": "lamp", **row})] if row else [],
                "revocations": [typed_item({"Key": key}) for key in revoked],
                "allowed": entries,
            },
        }
        theirs = evaluated(assign["verdict"], answer, thingName="lamp", certificateId=ID)
        ours = verdict(DEVICE, row, revoked, allowed)
        if theirs == "renewed":
            assert ours.startswith("the device has a row with other certificates")
        else:
            assert ours == {"new": ""}.get(theirs, theirs), (revoked, allowed)
