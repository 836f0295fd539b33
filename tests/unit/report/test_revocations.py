# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.filter.revocations import refusal_rows, revocation_rows

TARGET = {"thing_name": "dev-1", "certificate_id": "ab" * 32, "key": "serial:9f:5f3a", "reason": "lost"}


def test_the_preview_says_what_goes_and_what_is_gone_already():
    rows = revocation_rows(
        [
            {**TARGET, "device": True, "seen": True, "pending": True},
            {**TARGET, "thing_name": "", "certificate_id": "", "device": False, "seen": False, "pending": True},
            {**TARGET, "device": False, "seen": True, "pending": False},
        ]
    )
    assert [(each["device"], each["revokes"], each["now"]) for each in rows] == [
        ("dev-1", "the device and its name", "in the registry"),
        (None, "this certificate", "no region has seen it"),
        ("dev-1", "this certificate", "revoked already"),
    ]
    assert (rows[0]["certificate"], rows[1]["certificate"], rows[1]["serial"]) == ("ab" * 32, None, "5f3a")


def test_who_is_not_refused_comes_first_and_says_why():
    seen = {"state": "REVOKED", "status": "REVOKED", "attempt": "refused: closed", "seconds": 1.5, "why": ""}
    late = {**seen, "status": "ACTIVE", "attempt": "it was let in", "seconds": None, "why": "its certificate is ACTIVE"}
    rows = refusal_rows(
        [
            {**TARGET, **seen, "region": "eu-west-1", "refused": True},
            {**TARGET, **late, "region": "us-west-2", "refused": False},
        ]
    )
    assert [(each["region"], each["outcome"]) for each in rows] == [
        ("us-west-2", "NOT REFUSED: its certificate is ACTIVE"),
        ("eu-west-1", "refused"),
    ]
    assert rows[1]["certificate"] == "ab" * 6
