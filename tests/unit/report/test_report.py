# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ansible_collections.iotops.fleet.plugins.filter.report import resource_rows, site_rows, table

VISIT = {
    "region": "eu-west-1",
    "attempts": 2,
    "refused": 1,
    "accepted_seconds": 1.084,
    "acknowledged_seconds": 0.01,
    "stored_seconds": 0.2,
    "converged_seconds": None,
}


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [{"region": "eu-west-1", "devices": 3}, {"region": "us-west-2", "devices": 1000}]
    assert table(rows) == "REGION     DEVICES\neu-west-1  3\nus-west-2  1000"


def test_no_line_ends_with_a_blank():
    shown = table([{"a": "long value", "b": ""}, {"a": "x", "b": "y"}])
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_columns_can_be_chosen_and_absent_values_are_hyphens():
    assert table([{"a": 1, "b": None}, {"a": 2}], ["b", "a"]) == "B  A\n-  1\n-  2"


def test_no_rows_are_no_text():
    assert table([]) == ""


def test_a_region_is_shown_with_all_that_stands_and_how_the_device_fared():
    expiry = datetime.now(UTC) + timedelta(days=375, hours=1)
    found = {
        "dns_records": [{"name": "iot.example.com", "set_identifier": "eu-west-1", "values": ["abc-ats.iot"]}],
        "server_certificates": [
            {"arn": "arn:validation", "type": "AMAZON_ISSUED", "not_after": None},
            {"arn": "arn:served", "type": "IMPORTED", "not_after": expiry.isoformat()},
        ],
        "ca_certificates": [{"id": "ab12", "status": "ACTIVE", "auto_registration": "ENABLE"}],
        "stacks": [
            {"name": "x-endpoint", "status": "CREATE_COMPLETE"},
            {"name": "x-messages", "status": "UPDATE_COMPLETE"},
        ],
    }
    rows = site_rows({"eu-west-1": found}, {"regions": [VISIT]})
    assert [(row["region"], row["item"], row["value"]) for row in rows] == [
        ("eu-west-1", "endpoint", "iot.example.com -> abc-ats.iot"),
        ("", "server certificate", "arn:served"),
        ("", "expires", f"{expiry:%Y-%m-%d} (in 375 days)"),
        ("", "issuing CA", "ab12 (ACTIVE, auto-registration ENABLE)"),
        ("", "stack", "x-endpoint: CREATE_COMPLETE"),
        ("", "", "x-messages: UPDATE_COMPLETE"),
        ("", "canary", "accepted after 1 refused, 1.08 s; message acknowledged 0.01 s, stored 0.20 s"),
    ]


def test_an_empty_region_shows_that_nothing_stands():
    values = {row["item"]: row["value"] for row in site_rows({"eu-west-1": {}})}
    assert values == {"endpoint": "-", "server certificate": "-", "issuing CA": "-", "canary": "not run"}


def test_every_resource_is_named_by_what_identifies_it():
    found = {
        "stacks": [{"name": "x-messages"}],
        "health_checks": [{"id": "h1"}],
        "devices": [{"things": 2, "certificates": 3}],
    }
    assert resource_rows({"eu-west-1": found}) == [
        {"region": "eu-west-1", "item": "devices", "value": "2 things, 3 certificates"},
        {"region": "", "item": "health checks", "value": "h1"},
        {"region": "", "item": "stacks", "value": "x-messages"},
    ]
