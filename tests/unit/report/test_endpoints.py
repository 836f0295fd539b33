# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen of endpoints, as rows."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotops.fleet.plugins.filter.endpoints import endpoint_rows, endpoint_turned_away

REGIONS = {"eu-west-1": ["a:8883", "a:443"], "us-west-2": ["b:8883"]}


def seen(address: str, connect: str = "accepted", **more: Any) -> dict[str, Any]:
    wanted = {"ok": connect == "accepted", "reason": "" if connect == "accepted" else "closed", "certificate_id": "3a"}
    return {
        "item": address,
        "connect": connect,
        "common_name": "dev-1",
        "not_after": "2027-01-01T00:00:00Z",
        "server_not_after": "2027-02-01T00:00:00Z",
        "tls_version": "TLSv1.3",
        "alpn": "",
        **wanted,
        **more,
    }


def device(state: str, wanted: str) -> dict[str, Any]:
    return {"thing_name": "dev-1", "row": {"state": state}, "certificates": {"3a": {"wanted": wanted}}}


def test_each_look_is_a_row_and_a_region_is_the_controllers() -> None:
    answers = {
        "eu-west-1": {"results": [seen("a:8883"), seen("a:443", alpn="x-amzn-mqtt-ca")]},
        "edge-1": {"results": [seen("b:8883")]},
    }
    rows = endpoint_rows(answers, REGIONS)
    assert [(row["region"], row["seen_from"], row["address"], row["state"]) for row in rows] == [
        ("eu-west-1", "controller", "a:8883", "green"),
        ("eu-west-1", "controller", "a:443", "green"),
        ("us-west-2", "edge-1", "b:8883", "green"),
    ]
    assert (rows[0]["server_ends"], rows[0]["ends"], rows[1]["alpn"]) == ("2027-02-01", "2027-01-01", "x-amzn-mqtt-ca")


def test_the_registry_says_why_a_device_was_turned_away() -> None:
    answers = {"edge-1": {"results": [seen("a:8883", "closed"), seen("b:8883", "refused")]}}
    assert endpoint_turned_away(endpoint_rows(answers, REGIONS)) == ["dev-1"]
    closed, refused = endpoint_rows(answers, REGIONS, [device("REVOKED", "REVOKED")])
    assert closed["reason"] == "closed (the registry says: dev-1 REVOKED, this certificate REVOKED)"
    assert refused["reason"] == "closed"
    [closed, _refused] = endpoint_rows(answers, REGIONS, [device("ACTIVE", "")])
    assert closed["reason"].endswith("dev-1 ACTIVE, this certificate unknown)")
    [closed, _refused] = endpoint_rows(answers, REGIONS, [{"thing_name": "dev-1", "row": None}])
    assert "the registry does not know dev-1: a new device is let in" in closed["reason"]


def test_a_host_that_could_not_look_is_red() -> None:
    gone = {"unreachable": True, "msg": "Failed to connect\nto the host"}
    broken = {"results": [{"item": "a:8883", "msg": "No module named ansible"}]}
    rows = endpoint_rows({"edge-1": gone, "edge-2": broken}, REGIONS)
    assert [(row["seen_from"], row["state"], row["reason"]) for row in rows] == [
        ("edge-1", "red", "not looked: Failed to connect to the host"),
        ("edge-2", "red", "not looked: No module named ansible"),
    ]
    assert endpoint_turned_away(rows) == []
