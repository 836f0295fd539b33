# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is shown of devices and dead letters."""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.filter.operations import (
    device_rows,
    fleet_rows,
    late_rows,
    letter_rows,
)

ID = "3a3e0a0f" + "0" * 56
UNREACHED = {"msg": "Could not connect", "failed": True}


def device(**more):
    certificate = {"wanted": "ACTIVE", "status": "ACTIVE", "attached": True, "policy_names": ["p"]}
    found = {
        "row": {"state": "ACTIVE", "version": 3},
        "status": {"applied_version": 3, "applied_at": "2026-01-31T12:00:00Z"},
        "in_sync": True,
        "lag": "",
        "thing": {"thing_type_name": "t", "thing_groups": ["g"]},
        "certificates": {ID: certificate},
    }
    return {"devices": [{**found, **more}]}


def test_a_device_has_a_line_for_each_region_reached_or_not() -> None:
    rows = device_rows({"eu-west-1": device(), "us-west-2": UNREACHED})
    assert rows[0] == {
        "region": "eu-west-1",
        "state": "ACTIVE",
        "version": 3,
        "applied": 3,
        "applied_at": "2026-01-31T12:00:00Z",
        "in_sync": "yes",
        "thing": "t in g",
        "certificates": "3a3e0a0f ACTIVE",
        "policies": "p",
        "error": None,
    }
    assert rows[1]["error"] == "not reached: Could not connect"
    assert list(rows[1]) == list(rows[0])
    assert rows[1]["in_sync"] is None


def test_what_differs_is_shown() -> None:
    off = {"wanted": "ACTIVE", "status": "INACTIVE", "attached": False, "policy_names": []}
    absent = {"wanted": "REVOKED", "status": "", "attached": False, "policy_names": []}
    foreign = {"wanted": "", "status": "ACTIVE", "attached": True, "policy_names": ["q"]}
    lagging = device(
        in_sync=False, lag="version 3 is not applied, 2 is", certificates={"a": off, "b": absent, "c": foreign}
    )
    [row] = device_rows({"eu-west-1": lagging})
    assert row["certificates"] == (
        "a INACTIVE (wanted ACTIVE), not attached; b not here (wanted REVOKED); c ACTIVE (wanted unknown)"
    )
    assert (row["in_sync"], row["error"]) == ("no", "version 3 is not applied, 2 is")


def test_an_unknown_device_has_no_state() -> None:
    [row] = device_rows({"r": device(row=None, status=None, thing=None, certificates={}, in_sync=False, lag="no row")})
    assert {name: row[name] for name in ("state", "thing", "certificates", "policies")} == dict.fromkeys(
        ("state", "thing", "certificates", "policies")
    )
    assert row["error"] == "no row"


def test_the_fleet_in_numbers_and_who_is_late() -> None:
    fleet = {
        "rows": 3,
        "states": {"ACTIVE": 2, "REVOKED": 1},
        "applied": 2,
        "behind": 1,
        "failed": 0,
        "unfinished_certificates": 1,
        "late": [{"thing_name": "dev", "since": "2026", "lag": "version 1 is not applied"}],
        "dead_letters": 4,
        "rejections": 5,
    }
    answers = {"eu-west-1": {"fleet": fleet}, "us-west-2": UNREACHED}
    here, there = fleet_rows(answers)
    assert (here["states"], here["dead_letters"], here["error"]) == ("2 ACTIVE, 1 REVOKED", 4, "1 registrations failed")
    assert list(here) == list(there)
    assert there["rows"] is None
    assert late_rows(answers) == [
        {"region": "eu-west-1", "device": "dev", "since": "2026", "why": "version 1 is not applied"}
    ]


def test_letters_are_shown_with_what_became_of_them() -> None:
    letter = {
        "message_id": "m",
        "kind": "look",
        "source": "ingest-thing",
        "device": "dev",
        "error": "",
        "sent_at": "2026",
    }
    shown = {"region": "r", "sent_at": "2026", "kind": "look", "source": "ingest-thing", "device": "dev"}
    assert letter_rows({"r": {"letters": [letter]}}) == [{**shown, "error": None}]
    replayed = {"replayed": [{**letter, "outcome": "queue ingest-thing"}], "kept": [{**letter, "outcome": "held"}]}
    assert [row["outcome"] for row in letter_rows({"r": replayed})] == ["replayed: queue ingest-thing", "kept: held"]
    assert letter_rows({"r": UNREACHED}) == []
