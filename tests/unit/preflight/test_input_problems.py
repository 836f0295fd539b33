# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.input_problems import input_problems

GOOD: dict[str, Any] = {
    "regions": ["eu-west-1", "us-west-2"],
    "application": "multi-region-iot",
    "home_region": "eu-west-1",
    "write_region": "us-west-2",
    "domain": "iot.example.com",
    "hosted_zone_id": "Z0123456789EXAMPLE",
    "pki_dir": "/pki",
    "key_profile": "ec",
    "state_machine_type": "EXPRESS",
    "tags": {"Application": "multi-region-iot"},
    "assume_role_arn": "",
}


def test_good_inputs_have_no_problem() -> None:
    assert input_problems(GOOD) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("application", "Multi", "'Multi': use at most 30 of a-z"),
        ("application", "a" * 31, "use at most 30"),
        ("application", "fleet-", "fleet_application"),
        ("application", "a--b", "fleet_application"),
        ("application", "1fleet", "beginning with a letter"),
        ("regions", ["eu-west-1", "us-west-2", "eu-west-9"], "Host 'eu-west-9'"),
        ("regions", [], "no region"),
        ("home_region", "eu-central-1", "fleet_home_region is 'eu-central-1': name one of the inventory's regions"),
        ("write_region", "eu-central-1", "fleet_write_region"),
        ("domain", "example.com", "name below your zone"),
        ("domain", "iot_x.example.com", "fleet_domain is 'iot_x.example.com'"),
        ("domain", None, "fleet_domain is not set"),
        ("hosted_zone_id", "example.com", "fleet_hosted_zone_id is 'example.com'"),
        ("key_profile", "dsa", "fleet_key_profile is 'dsa': use ec or rsa"),
        ("state_machine_type", "express", "use EXPRESS or STANDARD"),
        ("rotation_signer", "kms", "fleet_rotation_signer is 'kms': use offline or function"),
        ("tags", "a=b", "use a dictionary"),
        ("tags", {"aws:x": "y"}, "fleet_tags has 'aws:x: y'"),
        ("tags", {str(number): "x" for number in range(41)}, "41 tags"),
        ("assume_role_arn", "fleet-operator", "use an ARN like"),
    ],
)
def test_each_bad_input_is_one_line_with_its_name(name: str, value: Any, words: str) -> None:
    problems = input_problems({**GOOD, name: value})
    assert len(problems) == 1, problems
    assert words in problems[0]
    assert "\n" not in problems[0]


def test_all_problems_are_said_at_once() -> None:
    assert len(input_problems({**GOOD, "domain": "x", "key_profile": "x", "home_region": "x"})) == 3


def test_a_longer_region_leaves_less_room_for_the_application() -> None:
    inputs = {**GOOD, "regions": ["eu-west-1", "us-west-2", "ap-southeast-2"]}
    assert input_problems({**inputs, "application": "a" * 25}) == []
    assert "at most 25" in input_problems({**inputs, "application": "a" * 26})[0]


def test_an_old_ansible_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.iotops.fleet.plugins.filter.input_problems"
    monkeypatch.setattr(f"{module}.ansible_version", "2.18.9")
    assert input_problems(GOOD) == ["ansible-core is 2.18.9: install 2.19.0 or later"]
