# SPDX-License-Identifier: GPL-3.0-or-later
"""Which issuing CA the devices depend on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.issuers import Census

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, NEW = "a" * 64, "b" * 64
LATER, PAST = "2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z"


def entry(issuer: str, **changes: str) -> dict[str, str]:
    return {"Status": "ACTIVE", "NotAfter": LATER, "IssuerFingerprint": issuer, **changes}


def row(name: str, current: str = "c-old", state: str = "ACTIVE", **certificates: dict[str, str]) -> dict[str, Any]:
    held = {key.replace("_", "-"): each for key, each in certificates.items()} or {"c-old": entry(OLD)}
    kept = {"ThingName": name, "State": state, "Version": 1, "WriteId": "w1"}
    return {**kept, "CertificateId": current, "Certificates": held}


def census(*rows: dict[str, Any], applied: tuple[str, ...] = ()) -> Census:
    made = Census(NOW)
    for each in rows:
        made.take(each)
    for name in applied:
        made.take_status({"ThingName": name, "AppliedWriteId": "w1"})
    return made


def waiting(made: Census, *issued: str, **registered: str) -> dict[str, str]:
    return made.waiting(OLD, issued=issued, registered=registered)


@pytest.mark.parametrize(
    "device",
    [
        row("d"),
        row("d", state="SUSPENDED"),
        row("d", c_old=entry(OLD), c_new=entry(NEW)),  # the new one was never presented
        row("d", current="gone", c_old=entry(OLD)),
        row("d", current="c-new", c_old=entry(OLD), c_new=entry(NEW, Status="REVOKED")),
    ],
)
def test_a_device_that_uses_a_certificate_of_the_ca_waits(device: dict[str, Any]) -> None:
    assert waiting(census(device, applied=("d",))) == {"d": f"uses it until {LATER}"}


@pytest.mark.parametrize(
    "device",
    [
        row("d", current="c-new", c_old=entry(OLD), c_new=entry(NEW)),
        row("d", state="REVOKED"),
        row("d", state="DELETED"),
        row("d", c_old=entry(OLD, NotAfter=PAST)),
        row("d", c_old=entry(OLD, Status="REVOKED")),
        row("d", c_old=entry(OLD, RetireAt=PAST)),
    ],
)
def test_a_device_that_does_not_use_it_does_not(device: dict[str, Any]) -> None:
    assert waiting(census(device, applied=("d",)), "d") == {}


def test_devices_in_their_grace_are_counted() -> None:
    made = census(
        row("renewed", current="c-new", c_old=entry(OLD, RetireAt=LATER), c_new=entry(NEW)),
        row("done", current="c-new", c_old=entry(OLD, RetireAt=PAST), c_new=entry(NEW)),
    )
    assert (made.of(OLD).retiring, len(made.of(OLD).uses), len(made.of(NEW).uses)) == (1, 0, 2)


def test_what_was_issued_and_never_connected_waits_but_no_server() -> None:
    assert waiting(census(row("d", c_new=entry(NEW))), "d", "boxed", "iot.example.com") == {
        "boxed": "has a certificate of it, and has never connected"
    }


def test_what_the_region_registered_and_no_row_has_waits_while_it_may_connect() -> None:
    registered = {"c-old": "ACTIVE", "strange": "ACTIVE", "knocking": "PENDING_ACTIVATION", "rejected": "INACTIVE"}
    found = census(row("d", state="REVOKED")).waiting(OLD, issued=(), registered=registered)
    assert set(found) == {"strange", "knocking"}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (None, "nothing is applied"),
        ({"AppliedWriteId": "w0", "AppliedVersion": 0}, "version 1 is not applied, 0 is"),
        ({"AppliedWriteId": "w1", "Error": "denied"}, "failed: denied"),
    ],
)
def test_a_region_that_is_behind_is_told_and_counted(status: dict[str, Any] | None, why: str) -> None:
    made = census(row("d"))
    if status:
        made.take_status({"ThingName": "d", **status})
    assert waiting(made)["d"].endswith(f"; in this region {why}")
    assert made.late_count(OLD) == 1
