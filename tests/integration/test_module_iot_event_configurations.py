# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.modules import Region

MODULE = "iot_event_configurations"


@pytest.fixture
def all_off(region: Region) -> Iterator[Region]:
    found = read(region)
    region.run(MODULE, event_configurations=dict.fromkeys(found, False))
    yield region
    region.run(MODULE, event_configurations=found)


def read(region: Region) -> dict[str, bool]:
    return region.run(f"{MODULE}_info")["event_configurations"]


def test_switches_on_what_is_named_and_leaves_the_rest(all_off: Region):
    wanted = {"event_configurations": {"THING": True, "CA_CERTIFICATE": True}}

    predicted = all_off.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert not any(read(all_off).values())

    done = all_off.run(MODULE, **wanted)
    assert done["changed"]
    assert done["event_configurations"] == predicted["event_configurations"] == read(all_off)
    assert [name for name, on in read(all_off).items() if on] == ["CA_CERTIFICATE", "THING"]
    assert done["diff"]["before"]["THING"] is False
    assert done["diff"]["after"]["THING"] is True

    for check in (True, False):
        assert not all_off.run(MODULE, check=check, **wanted)["changed"]


@pytest.mark.defect("S1-39")
def test_an_unnamed_type_keeps_its_state(all_off: Region):
    all_off.run(MODULE, event_configurations={"THING": True})
    all_off.run(MODULE, event_configurations={"POLICY": True})
    assert read(all_off)["THING"]


def test_switches_off(all_off: Region):
    all_off.run(MODULE, event_configurations={"THING": True, "POLICY": True})
    off = {"event_configurations": {"THING": False}}

    assert all_off.run(MODULE, check=True, **off)["changed"]
    assert read(all_off)["THING"]
    assert all_off.run(MODULE, **off)["changed"]
    assert read(all_off)["POLICY"]
    assert not read(all_off)["THING"]
    for check in (True, False):
        assert not all_off.run(MODULE, check=check, **off)["changed"]


def test_all_eleven_types_are_known(region: Region):
    assert len(read(region)) == 11


def test_an_unknown_type_is_refused_by_name(region: Region):
    assert "THING_PRINCIPAL" in region.refusal(MODULE, event_configurations={"THING_PRINCIPAL": True})


def test_regions_are_apart(all_off: Region, other_region: Region):
    before = read(other_region)
    all_off.run(MODULE, event_configurations={"JOB": True})
    assert read(other_region) == before
