# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done about which fault."""

from __future__ import annotations

import io
import json

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._replication import repairs
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import (
    KINDS,
    REMOVE,
    ROLE,
    SHADOW,
    WRITE,
    Fault,
)


def fault(name: str, thing: str = "lamp", certificate: str = "", detail: str = "") -> Fault:
    return Fault(name, thing, certificate, detail)


def plan(*faults: Fault, kinds: tuple[str, ...] = repairs.REPAIRED, orphans: bool = False) -> repairs.Plan:
    return repairs.Plan(lambda: iter(faults), kinds, orphans)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_repaired_by_exactly_one(name: str) -> None:
    wanted = list(plan(fault(name, certificate="c1"), orphans=True).wanted())
    done = [len(list(of(wanted))) for of in (repairs.items, repairs.rows, repairs.shadows)]
    by = KINDS[name].repair
    assert sum(done) == (0 if by == ROLE else 1)
    assert done[1] == (by == WRITE)
    assert done[2] == (by == SHADOW)


def test_a_device_is_taken_once_and_as_its_worst_fault_wants() -> None:
    faults = [
        *(fault("failed", "a"), fault("not_applied", "a")),
        *(fault("not_applied", "b"), fault("policy_missing", "b", "c1"), fault("policy_missing", "b", "c2")),
        *(fault("orphan_thing", "c"), fault("row_missing", "d")),
    ]
    assert [work.device for work in repairs.items(faults)] == [
        {"ThingName": "a"},
        {"ThingName": "b", "Exact": True},
        {"ThingName": "c", "Exact": True},
    ]
    assert list(repairs.rows(faults)) == ["d"]


def test_each_certificate_without_a_row_is_taken_once_whatever_stands_beside_it() -> None:
    faults = [
        *(fault("ca_missing", ""), fault("orphan_certificate", "", "c1", "one"), fault("orphan_certificate", "", "c1")),
        *(fault("orphan_certificate", "", "c2"), fault("attributes", "lamp")),
    ]
    found = [work.device for work in repairs.items(faults)]
    assert found == [{"CertificateId": "c1"}, {"CertificateId": "c2"}, {"ThingName": "lamp", "Exact": True}]


def test_things_without_a_row_stay_unless_it_is_said() -> None:
    faults = (fault("orphan_thing"), fault("attributes", "other"), fault("topic_rule", ""))
    assert plan(*faults).left() == {"orphan_thing": 1, "topic_rule": 1}
    assert plan(*faults, orphans=True).left() == {"topic_rule": 1}
    assert plan(*faults, kinds=("orphan_thing",), orphans=True).left() == {"attributes": 1, "topic_rule": 1}
    assert KINDS["orphan_thing"].repair == REMOVE


def test_a_shadow_is_named_by_what_its_detail_begins_with() -> None:
    faults = [fault("shadow", "lamp", detail="$classic: desired: gone"), fault("shadow", "lamp", detail="a:b: x")]
    assert list(repairs.shadows(faults)) == [("lamp", "$classic"), ("lamp", "a:b")]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_is_json_however_long_it_is(count: int) -> None:
    items = [{"ThingName": f"lamp-{number}"} for number in range(count)]
    file = io.StringIO()
    assert repairs.write_list(file, iter(items)) == count
    assert json.loads(file.getvalue()) == items


def test_each_item_has_its_turn_when_its_calls_fit_into_the_rates() -> None:
    exact, converge = repairs.Work({"ThingName": "a"}, ("UpdateCertificate",)), repairs.Work({"ThingName": "b"}, ())
    admit = repairs.Work({"CertificateId": "c"}, ("CreateThing", "UpdateCertificate"))
    register = repairs.Work({"ThingName": "d"}, ("RegisterCertificate",))
    rates = {"UpdateCertificate": 2.0, "RegisterCertificate": 0.5, "CreateThing": 100.0}
    works = [exact, exact, register, register, converge, admit]
    turns = list(repairs.in_turn(works, rates))
    assert [turn["Device"] for turn in turns] == [work.device for work in works]
    assert [turn["After"] for turn in turns] == [0, 0.5, 0.5, 2, 2, 2], "one waits for those before it"
    assert [turn["After"] for turn in repairs.in_turn([exact] * 3, {})] == [0, 0, 0]


@pytest.mark.parametrize(("rate", "expected"), [(10.0, 30), (0.25, 5), (0.01, 1)])
def test_no_more_are_begun_than_have_their_turn_soon(rate: float, expected: int) -> None:
    rates = {"UpdateCertificate": rate, "CreateThing": 50.0}
    assert repairs.at_a_time(30, {"UpdateCertificate": 1000, "CreateThing": 1000}, rates) == expected
    assert repairs.at_a_time(30, {"AttachPolicy": 1000}, rates) == 30, "not of what it calls"


def test_calls_are_counted_for_all_that_may_be_missing() -> None:
    faults = [
        *(fault("attributes", "a"), fault("groups", "a"), fault("policy_missing", "b", "c1")),
        *(fault("certificate_missing", "c", "c2"), fault("orphan_certificate", "", "c3")),
    ]
    devices, calls = repairs.calls(repairs.items(faults))
    assert devices == 4
    assert (calls["ListThingPrincipals"], calls["CreateThing"]) == (3, 4)
    assert (calls["RegisterCertificate"], calls["UpdateCertificate"]) == (1, 3), (
        "a new one is registered as it is to be"
    )
    assert repairs.calls([]) == (0, {})


def test_the_same_repair_has_the_same_name_and_another_one_another() -> None:
    name = repairs.run_id("2026-01-31T12:00:00Z", ["b", "a"], remove_orphans=False)
    assert name == repairs.run_id("2026-01-31T12:00:00Z", ["a", "b"], remove_orphans=False)
    assert name.startswith("20260131T120000Z-")
    assert len(name) <= 80  # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    others = [
        repairs.run_id("2026-01-31T12:00:01Z", ["a", "b"], remove_orphans=False),
        repairs.run_id("2026-01-31T12:00:00Z", ["a"], remove_orphans=False),
        repairs.run_id("2026-01-31T12:00:00Z", ["a", "b"], remove_orphans=True),
    ]
    assert len({name, *others}) == 4
