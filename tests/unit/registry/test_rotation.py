# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes in a row when its device is given a certificate, and when it shows up with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rotation, rows

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def certificate(**changes: str) -> dict[str, str]:
    return {"Pem": "PEM", "Status": "ACTIVE", "NotAfter": "2030-01-01T00:00:00Z", "IssuerFingerprint": "f", **changes}


def given(row: dict[str, Any], principal: str = "old") -> dict[str, Any]:
    return rotation.given(row, "new", entry(), principal=principal, now=NOW)


def entry() -> dict[str, Any]:
    return rotation.entry(
        pem="PEM", not_after=datetime(2027, 6, 1, tzinfo=UTC), issuer="f", serial=0x0A1B, region="eu-west-1",
        job="fleet-rotate-1", now=NOW, within=timedelta(days=1),
    )  # fmt: skip


def test_the_entry_of_a_new_certificate() -> None:
    assert entry() == {
        "Pem": "PEM", "Status": "ACTIVE", "NotAfter": "2027-06-01T00:00:00Z", "IssuerFingerprint": "f", "Serial": "a1b",
        "RegisteredAt": "2026-06-01T00:00:00Z", "RegisteredIn": "eu-west-1", "JobId": "fleet-rotate-1",
        "PresentBy": "2026-06-02T00:00:00Z",
    }  # fmt: skip


def test_what_is_given_is_not_yet_the_current_one_and_retires_nothing() -> None:
    old = certificate()
    assert given({"CertificateId": "old", "Certificates": {"old": old}}) == {
        "Certificates": {"old": old, "new": entry()}
    }


def test_what_was_never_presented_is_revoked_and_what_has_expired_leaves() -> None:
    awaited = certificate(PresentBy="2026-06-02T00:00:00Z")
    certificates = {
        "old": certificate(),
        "awaited": awaited,
        "presented": {**awaited, "PresentedAt": "2026-05-01T00:00:00Z"},
        "expired": certificate(NotAfter="2026-05-01T00:00:00Z"),
    }
    statuses = {
        key: each["Status"]
        for key, each in given({"CertificateId": "old", "Certificates": certificates})["Certificates"].items()
    }
    assert statuses == {"old": "ACTIVE", "awaited": "REVOKED", "presented": "ACTIVE", "new": "ACTIVE"}


def test_a_certificate_that_the_device_uses_is_not_revoked_though_it_was_never_committed() -> None:
    awaited = certificate(PresentBy="2026-06-02T00:00:00Z")
    row = {"CertificateId": "old", "Certificates": {"old": certificate(), "awaited": awaited}}
    assert given(row, principal="awaited")["Certificates"]["awaited"] == awaited


def test_what_is_presented_becomes_the_current_one_and_the_others_leave_after_the_grace() -> None:
    leaving = certificate(RetireAt="2026-06-02T00:00:00Z", RevokeAt="2026-06-03T00:00:00Z")
    row = {"CertificateId": "old", "Certificates": {"leaving": leaving, "old": certificate(), "new": entry()}}
    changed = rotation.presented(row, "new", grace=timedelta(days=7), now=NOW)
    assert changed == {
        "CertificateId": "new",
        "NotAfter": "2027-06-01T00:00:00Z",
        "Certificates": {
            "leaving": leaving,
            "old": certificate(RetireAt="2026-06-08T00:00:00Z", RevokeAt="2026-06-15T00:00:00Z"),
            "new": {**entry(), "PresentedAt": "2026-06-01T00:00:00Z"},
        },
    }
    after = {"ThingName": "lamp", "State": "ACTIVE", **changed}
    statuses = [rows.effective_status(after, key, (), NOW + timedelta(days=8)) for key in ("old", "new")]
    assert statuses == ["INACTIVE", "ACTIVE"]
