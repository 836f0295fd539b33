# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._canary.canary import in_each, seconds_between
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from ansible_collections.iotops.fleet.plugins.modules.fleet_canary import identity_of, regions_in_order

ENDPOINTS = {"eu-west-1": "", "us-west-2": "", "ap-southeast-2": ""}


def test_the_regions_are_visited_in_their_order_unless_one_is_to_be_first():
    assert regions_in_order(ENDPOINTS, None) == ["eu-west-1", "us-west-2", "ap-southeast-2"]
    assert regions_in_order(ENDPOINTS, "us-west-2") == ["us-west-2", "eu-west-1", "ap-southeast-2"]


@pytest.mark.parametrize(
    ("endpoints", "first", "message"),
    [({}, None, "endpoints is empty"), (ENDPOINTS, "eu-west-9", "first_region=eu-west-9 is none of the regions")],
)
def test_regions_that_make_no_sense_are_refused(endpoints, first, message):
    with pytest.raises(FleetError, match=message):
        regions_in_order(endpoints, first)


def test_a_device_without_certificate_is_named_with_the_remedy(tmp_path):
    missing = str(tmp_path / "dev-1.cert.pem")
    root = tmp_path / "root.pem"
    root.touch()
    params = {
        "thing_name": "dev-1",
        "root_certificate_path": str(root),
        "certificate_path": missing,
        "private_key_path": missing,
    }
    with pytest.raises(
        FleetError, match=r"certificate_path=.*dev-1\.cert\.pem is no file: issue it with the role device_certificates"
    ):
        identity_of({**params, "server_name": "iot.example.com"})


def test_seconds_are_counted_between_times_of_any_offset():
    assert seconds_between("2026-01-01T00:00:00.250Z", "2026-01-01T01:00:01+01:00") == 0.75
    assert seconds_between(None, "2026-01-01T00:00:00Z") is None


def test_places_are_called_at_once_and_answer_in_order():
    assert in_each(lambda place: place * 2, [1, 2, 3]) == [2, 4, 6]
    assert in_each(lambda place: place, []) == []
