# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.server_rotation import server_rotation_rows

ARN = "arn:aws:acm:us-west-2:123456789012:certificate/1"
DOMAIN = {
    "domain_configuration_name": "demo-primary",
    "domain_name": "iot.example.com",
    "domain_configuration_status": "ENABLED",
    "server_certificates": [{"server_certificate_arn": ARN, "server_certificate_status": "VALID"}],
}
SERVED = {"serial": "0A", "not_after": "2027-01-01T00:00:00+00:00", "distrust": None}
CURRENT = {"serial": "0A", "certificate": "server.cert.pem", "private_key": "server.key.pem"}
DUE = {"current": CURRENT, "successor": {"certificate": "next.pem"}, "reason": "renewal was asked for"}
UNDER_WAY = {"current": CURRENT, "successor": {"serial": "0B"}, "reason": "a rotation is under way"}
IDLE = {"current": CURRENT, "successor": None, "reason": None}


def row(pair: dict[str, Any] = UNDER_WAY, state: str = "rotated", **seen: Any) -> dict[str, Any]:
    found = {"arn": ARN, "present": [], "next": ["leaf changed"], "domains": [DOMAIN], "served": [SERVED], **seen}
    return server_rotation_rows({"us-west-2": found}, pair, "iot.example.com", state)[0]


HAS_NEXT = {"present": ["leaf changed"], "next": []}


@pytest.mark.parametrize(
    ("pair", "state", "seen", "holds", "step"),
    [
        (IDLE, "rotated", {}, "present", "nothing is due"),
        (DUE, "rotated", {"next": []}, "present", "import a new one, prove it"),
        (UNDER_WAY, "rotated", {}, "present", "import 0B, prove it"),
        (UNDER_WAY, "rotated", HAS_NEXT, "successor", "prove the successor"),
        (UNDER_WAY, "restored", HAS_NEXT, "successor", "put 0A back, prove it"),
        (UNDER_WAY, "restored", {}, "present", "prove the present one"),
        (UNDER_WAY, "rotated", {"present": ["chain changed", "tags changed"]}, "present", "import 0B, prove it"),
    ],
)
def test_what_a_region_holds_and_what_comes_next(
    pair: dict[str, Any], state: str, seen: dict[str, Any], holds: str, step: str
) -> None:
    found = row(pair, state, **seen)
    assert (found["holds"], found["step"], found["problem"]) == (holds, step, None)
    assert (found["served"], found["status"]) == ("0A", "VALID")


@pytest.mark.parametrize("state", ["rotated", "restored"])
@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"arn": "", "present": ["imported"]}, "us-west-2: ACM has no server certificate"),
        ({"present": ["leaf changed"]}, f"us-west-2: {ARN} is neither the present certificate (serial 0A) nor"),
        ({"domains": []}, "us-west-2: there is no domain configuration: put that right with playbooks/site.yml"),
        ({"domains": [{**DOMAIN, "domain_name": "x.example.com"}]}, "is for x.example.com, not for iot.example.com"),
        ({"domains": [{**DOMAIN, "domain_configuration_status": "DISABLED"}]}, "demo-primary is DISABLED"),
        ({"domains": [{**DOMAIN, "server_certificates": []}]}, f"serves no certificate, not {ARN}"),
    ],
)
def test_what_could_not_be_finished_or_taken_back_is_refused(state: str, seen: dict[str, Any], why: str) -> None:
    assert why in row(UNDER_WAY, state, **seen)["problem"]


def test_without_a_rotation_nothing_is_refused() -> None:
    assert row(IDLE, arn="", present=["imported"], domains=[])["problem"] is None


def test_two_chains_and_distrust_are_shown() -> None:
    stranger = {"serial": "0C", "not_after": "2026-12-01T00:00:00+00:00", "distrust": "self-signed certificate"}
    found = row(served=[SERVED, stranger])
    assert (found["served"], found["status"]) == ("0A and 0C", "self-signed certificate")
    assert found["until"] == stranger["not_after"]
