# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of the check compares: the same fleet on both sides, and the other side as it is said to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.checking import ours, peer
from benchmarks.checking.fleet import APPLICATION, AWAY, HOME, Fleet, fleet

DEVICES = 120  # more than a page of the fleet index


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("bench")) as found:
        found.sandbox.clear_faults()  # the latency
        found.grow(DEVICES)
        yield found


def test_the_other_method_makes_ten_calls_for_a_device_and_one_for_a_hundred_names(seeded: Fleet) -> None:
    began = seeded.sandbox.now()
    seen = peer.compare(seeded.sandbox.gateway, HOME, AWAY, workers=10, devices=DEVICES)
    assert seen.devices == Counter(same=DEVICES)
    assert seeded.calls(began) == 10 * DEVICES + 2
    assert seen.whole(2 * DEVICES) == pytest.approx((2 * seen.seconds, 2 * seen.processor))


def test_the_other_method_compares_as_many_devices_as_it_is_asked_for(seeded: Fleet) -> None:
    assert peer.compare(seeded.sandbox.gateway, HOME, AWAY, workers=10, devices=7).devices.total() == 7


def test_ours_looks_at_all_of_them_in_both_regions_and_says_what_memory_it_took(seeded: Fleet) -> None:
    done = ours.check(seeded.sandbox.gateway, (HOME, AWAY), application=APPLICATION)
    assert {region: answer["replication"]["devices"] for region, answer in done.answers.items()} == {
        HOME: DEVICES, AWAY: DEVICES,
    }  # fmt: skip
    assert all(answer["replication"]["faults"] == {} for answer in done.answers.values())
    assert 30 < done.memory < 300


def test_both_see_a_thing_that_one_region_lacks(seeded: Fleet) -> None:
    iot = seeded.sandbox.client("iot", AWAY)
    name = "device-0-1"
    [principal] = iot.list_thing_principals(thingName=name)["principals"]
    iot.detach_thing_principal(thingName=name, principal=principal)
    iot.delete_thing(thingName=name)
    seen = peer.compare(seeded.sandbox.gateway, HOME, AWAY, workers=10, devices=DEVICES)
    done = ours.check(seeded.sandbox.gateway, (HOME, AWAY), application=APPLICATION)
    assert seen.devices == Counter(same=DEVICES - 1, different=1)
    assert done.answers[HOME]["replication"]["faults"] == {}
    assert done.answers[AWAY]["replication"]["faults"] == {"thing_missing": 1}
