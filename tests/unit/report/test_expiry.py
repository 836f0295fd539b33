# SPDX-License-Identifier: GPL-3.0-or-later
"""What can expire, judged and sorted."""

from __future__ import annotations

import pytest

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.filter.expiry import KINDS, expiry_devices, expiry_report

NOW = "2026-01-31T12:00:00Z"
ERROR = dict.fromkeys(KINDS, 10)
WARN = dict.fromkeys(KINDS, 20)


def entry(kind, day=None, **more):
    """A line that ends on a day of February."""
    end = f"2026-02-{day:02}T12:00:00Z" if day else None
    return {"kind": kind, "name": "n", "place": "p", "not_after": end, "note": "", "severity": "", **more}


def report(*entries, devices=None, **answers):
    found = {"certificates": list(entries), **({"devices": devices} if devices else {})}
    return expiry_report({"eu-west-1": found, **answers}, WARN, ERROR, NOW)


def test_the_soonest_end_is_first_wherever_it_is():
    device = {"thing_name": "dev-1", "certificate_id": "3a3e0a0f77", "not_after": "2026-02-05T00:00:00Z"}
    made = report(
        entry("server", 12),
        entry("domain", note="VALID"),
        devices={"in_use": 1, "within": {"0": 0}, "soonest": [device]},
        controller={"certificates": [entry("root", 28), entry("crl", 2)]},
    )
    assert [(each["kind"], each["days"]) for each in made["entries"]] == [
        ("crl", 2),
        ("device", 4),
        ("server", 12),
        ("root", 28),
        ("domain", None),
    ]
    assert made["entries"][1] == {
        "level": "error",
        "days": 4,
        "ends": "2026-02-05T00:00:00Z",
        "kind": "device",
        "name": "dev-1",
        "place": "eu-west-1",
        "note": "certificate 3a3e0a0f",
    }
    assert made["checked_at"] == NOW


@pytest.mark.parametrize(
    ("end", "severity", "level"),
    [
        ("2026-02-20T12:00:00Z", "", "ok"),
        ("2026-02-20T11:59:59Z", "", "warn"),
        ("2026-02-10T12:00:00Z", "", "warn"),
        ("2026-02-10T11:59:59Z", "", "error"),
        ("2026-01-31T11:59:59Z", "", "error"),
        ("2026-02-20T12:00:00Z", "warn", "warn"),
        ("2026-02-20T12:00:00Z", "error", "error"),
        ("2026-02-10T11:59:59Z", "warn", "error"),
        (None, "error", "error"),
        (None, "", "ok"),
    ],
)
def test_a_line_is_as_bad_as_its_end_or_its_note(end, severity, level):
    made = report(entry("server", not_after=end, severity=severity))
    assert made["entries"][0]["level"] == level
    assert made["level"] == level
    assert made["levels"] == {"ok": 0, "warn": 0, "error": 0, level: 1}


def test_each_kind_has_its_own_days():
    days = {**ERROR, "crl": 1}
    made = expiry_report({"p": {"certificates": [entry("crl", 3), entry("acm", 3)]}}, WARN, days, NOW)
    assert {each["kind"]: each["level"] for each in made["entries"]} == {"crl": "warn", "acm": "error"}


def test_a_kind_without_days_is_refused():
    with pytest.raises(AnsibleFilterError, match="error_days has no days for crl, device: give a number"):
        expiry_report({}, WARN, {kind: 1 for kind in KINDS if kind not in ("crl", "device")})


def test_a_region_that_was_not_read_is_the_first_line_and_an_error():
    made = report(entry("server", 1), **{"us-west-2": {"failed": True, "msg": "Could not connect"}, "sa-east-1": {}})
    assert [each["note"] for each in made["entries"]] == [
        "not reached: no answer",
        "not reached: Could not connect",
        "",
    ]
    assert (made["entries"][1]["kind"], made["entries"][1]["place"]) == ("region", "us-west-2")
    assert made["level"] == "error"


def test_devices_are_one_line_and_so_is_that_nobody_counted_them():
    devices = {"in_use": 1000, "within": {"30": 12, "0": 1, "14": 7}, "soonest": []}
    line = expiry_devices(report(devices=devices)["devices"])
    assert line == "Devices: 1000 use a certificate, 1 expired, 7 within 14 days, 12 within 30 days (eu-west-1)."
    assert expiry_devices(report()["devices"]) == "Devices: the registry was not read."
