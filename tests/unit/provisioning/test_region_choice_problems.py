# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules by which devices are sent to regions are judged before anything changes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.filter.region_choice_problems import region_choice_problems

GOOD: dict[str, Any] = {
    "regions": ["eu-west-1", "us-west-2"],
    "default_region": "eu-west-1",
    "weights": {"us-west-2": 0.5},
    "continents": {"EU": ["eu-west-1"]},
    "countries": {"DE": ["eu-west-1"], "KP": []},
}


def test_good_rules_have_no_problem() -> None:
    assert region_choice_problems(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"regions": ["eu-west-1", "eu-west-9"]}, "eu-west-9 is no region of AWS IoT Core"),
        ({"regions": "eu-west-1"}, "regions: 'eu-west-1' is no list of regions"),
        ({"default_region": "eu-central-1"}, "default_region: 'eu-central-1' is none of regions"),
        ({"weights": {"us-west-2": -1}}, "-1 of us-west-2 is no weight"),
        ({"countries": {False: ["eu-west-1"]}}, "'false' is no country; give its two capital letters, in quotes"),
        ({"countries": {"DE": ["eu-central-1"]}}, "eu-central-1 of DE is none of regions"),
        ({"nearest": True}, "nearest is none of"),
    ],
)
def test_each_mistake_is_one_line_with_its_name(changes: dict[str, Any], words: str) -> None:
    found = region_choice_problems({**GOOD, **changes})
    assert any(words in line for line in found), found
    assert not any("\n" in line for line in found)


def test_what_is_no_dictionary_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no dictionary"):
        region_choice_problems(["eu-west-1"])  # type: ignore[arg-type]
