# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs that make no sense end in one line that names the input, its value and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import fleet_of, known_regions, require_sense
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

GOOD: dict[str, Any] = {
    "devices": 1000,
    "regions": ["eu-west-1", "us-west-2"],
    "region_shares": {},
    "revoked": 0,
    "messages_per_day": 24.0,
    "message_bytes": 512,
    "connects_per_day": 1.0,
    "peak": 1.0,
    "design": "rows",
    "machine_type": "EXPRESS",
    "store": "TABLE",
    "indexing": False,
    "quotas": {},
    "quota_share": 1.0,
    "hours": 24.0,
    "reconnect_minutes": 10.0,
    "months": 1,
}


def test_good_inputs_are_planned_with_the_same_share_in_each_region() -> None:
    require_sense(GOOD, known_regions())
    planned = fleet_of(GOOD, {})
    assert (planned.devices, planned.shares) == (1000, {"eu-west-1": 0.5, "us-west-2": 0.5})


def test_shares_have_the_order_of_the_regions() -> None:
    shares = {"us-west-2": "0.25", "eu-west-1": 0.75}
    require_sense({**GOOD, "region_shares": shares}, known_regions())
    assert list(fleet_of({**GOOD, "region_shares": shares}, {}).shares.items()) == [
        ("eu-west-1", 0.75),
        ("us-west-2", 0.25),
    ]


@pytest.mark.parametrize("region", ["eu-west-1", "cn-north-1", "us-gov-west-1"])
def test_regions_of_every_partition_are_known(region: str) -> None:
    assert region in known_regions()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("devices", 0, "devices is 0: give 1 to 100,000,000"),
        ("devices", -5, "devices is -5: give 1 to"),
        ("devices", 100_000_001, "devices is 100,000,001: give 1 to"),
        ("revoked", -1, "revoked is -1: give 0 to"),
        ("messages_per_day", float("nan"), "messages_per_day is nan: give 0 to 8,640,000"),
        ("messages_per_day", float("inf"), "messages_per_day is inf: give 0 to"),
        ("message_bytes", 131_073, "message_bytes is 131,073: give 1 to 131,072"),
        ("connects_per_day", 86_401.0, "connects_per_day is 86,401: give 0 to 86,400"),
        ("peak", 0.5, "peak is 0.5: give 1 to 1,000"),
        ("quota_share", 0.0, "quota_share is 0: give 0.01 to 1"),
        ("quota_share", 1.1, "quota_share is 1.1: give 0.01 to 1"),
        ("hours", 0.0, "hours is 0: give 0.1 to 8,760"),
        ("months", 0, "months is 0: give 1 to 120"),
        ("regions", [], "regions is empty: name at least one"),
        ("regions", ["eu-west-1", "eu-west-1"], "regions is eu-west-1, eu-west-1: name each once"),
        ("regions", ["eu-west-9"], "regions has eu-west-9, which AWS IoT does not know: choose of ap-"),
        ("region_shares", {"eu-west-1": 1}, "region_shares names eu-west-1: name each of eu-west-1, us-west-2"),
        ("region_shares", {"eu-west-1": 0.6, "us-west-2": 0.6}, "region_shares is 0.6, 0.6: give parts of 1"),
        ("region_shares", {"eu-west-1": 1.5, "us-west-2": -0.5}, "region_shares is 1.5, -0.5: give parts of 1"),
        ("region_shares", {"eu-west-1": "most", "us-west-2": 0}, "region_shares of eu-west-1 is most: give a number"),
        ("quotas", {"eu-north-1": {"AttachPolicy": 1}}, "quotas names eu-north-1: name one of eu-west-1, us-west-2"),
        ("quotas", {"eu-west-1": 15}, "quotas of eu-west-1 is 15: give a value by name"),
        ("quotas", {"eu-west-1": {"Attach": 15}}, "quotas of eu-west-1 names Attach: name an operation of AWS IoT or"),
        ("quotas", {"eu-west-1": {"AttachPolicy": 0}}, "quotas of eu-west-1 has AttachPolicy 0: give more than 0"),
        ("quotas", {"eu-west-1": {"AttachPolicy": "x"}}, "quotas of eu-west-1, AttachPolicy, is x: give a number"),
        ("quotas", {"eu-west-1": {"MessageSize": 1}}, "quotas of eu-west-1 has MessageSize, which AWS does not raise"),
        ("design", "mesh", "design is mesh: choose one of rows, group, lookup"),
        ("store", "QUEUE", "store is QUEUE: choose one of TABLE, EXPRESS, STANDARD"),
    ],
)
def test_nonsense_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(FleetError) as refused:
        require_sense({**GOOD, name: value}, known_regions())
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_a_device_that_publishes_more_than_a_connection_may_is_refused() -> None:
    with pytest.raises(FleetError, match=r"messages_per_day x peak is 17,280,000: give at most 8,640,000"):
        require_sense({**GOOD, "messages_per_day": 8_640_000.0, "peak": 2.0}, known_regions())
