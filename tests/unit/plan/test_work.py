# SPDX-License-Identifier: GPL-3.0-or-later
"""How long quotas let things take, and what to ask AWS for. The figures were worked out by hand from AWS's tables."""

from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan import load, work
from ansible_collections.iotops.fleet.plugins.module_utils._plan.designs import DESIGNS
from tests.unit.asl.definitions import tasks
from tests.unit.plan.fleets import MILLION, fleet

HOUR = 3600


@pytest.mark.parametrize(
    ("design", "rate", "hours", "quota"),
    [
        ("lookup", 10, 27.8, "DescribeCertificate"),  # each region asks the other one: 2 calls a device, of 10 a second
        ("rows", 15, 18.5, "AttachPolicy"),  # every region attaches every policy
        ("group", 20, 13.9, "DescribeCertificate"),  # each of two regions looks at half of the devices
    ],
)
def test_a_million_devices_join_as_fast_as_the_scarcest_quota_lets_them(
    design: str, rate: float, hours: float, quota: str
) -> None:
    pace = work.onboarding(fleet(), design).pace(fleet())
    assert pace.quota == quota
    assert MILLION / pace.seconds == pytest.approx(rate)
    assert pace.seconds / HOUR == pytest.approx(hours, abs=0.05)


def test_with_quotas_of_100_a_second_a_million_joins_in_2_8_hours() -> None:
    names = (
        "AttachPolicy",
        "DescribeCertificate",
        "UpdateCertificate",
        "RegisterCertificate",
        "JustInTimeRegistration",
    )
    raised = fleet(given=dict.fromkeys(names, 100))
    assert work.onboarding(raised).pace(raised).seconds / HOUR == pytest.approx(2.8, abs=0.05)


def test_then_standard_state_machines_are_next() -> None:
    names = (
        "AttachPolicy",
        "DescribeCertificate",
        "UpdateCertificate",
        "RegisterCertificate",
        "JustInTimeRegistration",
    )
    raised = fleet(given=dict.fromkeys(names, 1000), machine_type="STANDARD")
    pace = work.onboarding(raised).pace(raised)
    assert pace.quota == "StateTransition"
    assert MILLION / pace.seconds == pytest.approx(1500 / 28.6, rel=0.001)  # of 57.2 transitions half in each region
    raised = fleet(given=dict.fromkeys(names, 1000))
    assert work.onboarding(raised).pace(raised).quota in ("CreateThing", "AttachThingPrincipal")


def test_devices_that_all_enter_through_one_region_are_bound_by_what_it_does_for_each() -> None:
    one_way = fleet(shares={"eu-west-1": 1.0, "us-west-2": 0.0})
    pace = work.onboarding(one_way).pace(one_way)
    assert (MILLION / pace.seconds, pace.quota) == (pytest.approx(10), "DescribeCertificate")


def test_what_a_device_costs_where_it_enters_is_what_the_definitions_call() -> None:
    called = {
        resource[0].upper() + resource[1:]
        for machine in ("register-device", "converge-device")
        for state in tasks(machine).values()
        for resource in [state["Resource"].rpartition(":")[2]]
        if ":aws-sdk:iot:" in state["Resource"]
    }
    own = {"JustInTimeRegistration", "TableWrites", "PutEvents", "EventInvocations"}
    rows = DESIGNS["rows"]
    assert set(rows.entry) - own <= called
    assert set(rows.other) - own <= called
    # docs/performance.md: 5 calls of AWS IoT where it enters, 4 in each other region
    assert [sum(count for name, count in each.items() if name not in own) for each in (rows.entry, rows.other)] == [
        5,
        4,
    ]


def test_a_backfill_of_a_million_makes_four_calls_each_and_takes_27_8_hours() -> None:
    filled = work.backfill(fleet(), "us-west-2")
    assert filled.calls == {
        "us-west-2": Counter(
            CreateThing=MILLION, RegisterCertificate=MILLION, AttachThingPrincipal=MILLION, AttachPolicy=MILLION
        )
    }
    pace = filled.pace(fleet())
    assert (pace.seconds / HOUR, pace.quota) == (pytest.approx(27.8, abs=0.05), "RegisterCertificate")


def test_a_revoked_device_takes_two_calls_of_a_backfill() -> None:
    calls = work.backfill(fleet(revoked=1000), "us-west-2").calls["us-west-2"]
    assert (calls["UpdateCertificate"], calls["RegisterCertificate"]) == (1000, MILLION + 1000)


@pytest.mark.parametrize(
    ("depth", "seconds", "quota"),
    [
        ("registry", 400, "ListThings"),  # 4,000 pages at 10 a second
        ("full", 50_000, "ListThingPrincipals"),  # a million at 20 a second
        ("digest", 1 / 15, "GetStatistics"),
    ],
)
def test_a_million_devices_are_checked_in(depth: str, seconds: float, quota: str) -> None:
    pace = work.check(fleet(), depth).pace(fleet())
    assert (pace.seconds, pace.quota) == (pytest.approx(seconds), quota)


def test_rows_alone_take_no_call_of_aws_iot() -> None:
    assert set(work.check(fleet(), "rows").calls["eu-west-1"]) == {"TableReads"}


@pytest.mark.parametrize(
    ("given", "region", "seconds"),
    [
        (None, "us-west-2", 333),
        ({"Connect": 500}, "us-west-2", 33.3 * 60),
        (None, "eu-north-1", 2.78 * HOUR),  # a small region takes 100 a second
    ],
)
def test_a_million_devices_connect_again_in(given: dict[str, float] | None, region: str, seconds: float) -> None:
    planned = fleet(shares={"eu-west-1": 0.5, region: 0.5}, given=given)
    assert work.reconnect_all(planned, region).pace(planned).seconds == pytest.approx(seconds, rel=0.002)


def test_the_devices_of_a_lost_region_spread_as_the_others_have_theirs() -> None:
    planned = fleet(shares={"eu-west-1": 0.5, "us-west-2": 0.3, "us-east-1": 0.2})
    assert work.reconnect(planned, "eu-west-1").calls == {
        "us-west-2": {"Connect": pytest.approx(300_000)},
        "us-east-1": {"Connect": pytest.approx(200_000)},
    }
    idle = fleet(shares={"eu-west-1": 1.0, "us-west-2": 0.0, "us-east-1": 0.0})
    assert work.parts_without(idle, "eu-west-1") == {"us-west-2": 0.5, "us-east-1": 0.5}


def test_a_share_of_the_quotas_takes_as_much_longer() -> None:
    half = fleet(quota_share=0.5)
    assert work.onboarding(half).pace(half).seconds == pytest.approx(2 * MILLION / 15)


def test_what_to_ask_for_is_what_would_meet_the_wished_time() -> None:
    planned = fleet(hours=10)  # 27.8 devices a second
    wanted = {request.quota: request.wanted for request in work.onboarding(planned).requests(planned)
              if request.region == "eu-west-1"}  # fmt: skip
    assert wanted == {"AttachPolicy": 28, "DescribeCertificate": 14, "UpdateCertificate": 14, "RegisterCertificate": 14}
    met = fleet(hours=10, given=wanted)
    assert work.onboarding(met).pace(met).seconds <= 10 * HOUR
    assert list(work.onboarding(met).requests(met)) == []


def test_a_region_has_to_hold_the_devices_of_the_largest_other_one() -> None:
    planned = fleet(shares={"eu-west-1": 0.6, "us-west-2": 0.4})
    held = {each.region: each for each in load.loads(planned) if each.quota == "ConcurrentConnections"}
    assert (held["eu-west-1"].now, held["eu-west-1"].later) == (600_000, pytest.approx(MILLION))
    assert (held["us-west-2"].now, held["us-west-2"].later) == (400_000, pytest.approx(MILLION))
    asked = {(each.region, each.quota): each for each in load.requests(planned)}
    assert asked["us-west-2", "ConcurrentConnections"].wanted == MILLION
    assert asked["us-west-2", "ConcurrentConnections"].why == "run without another region"
    assert asked["eu-west-1", "ConcurrentConnections"].why == "run"


def test_messages_use_up_broker_rules_and_the_tables_of_every_replica() -> None:
    busy = fleet(messages_per_day=8640, peak=2, message_bytes=1000)  # 100,000 a second on average
    used = {each.quota: each for each in load.loads(busy) if each.region == "us-west-2"}
    for quota in ("InboundPublish", "RuleEvaluations"):
        assert (used[quota].now, used[quota].later) == (pytest.approx(100_000), pytest.approx(200_000))
    assert used["TableWrites"].now == used["TableWrites"].later == pytest.approx(400_000)  # 2 units, all of the fleet's
    assert "StartExecutionStandard" not in used


def test_a_state_machine_for_each_message_uses_up_its_quotas() -> None:
    one_each = {"messages_per_day": 864, "machine_type": "EXPRESS"}  # 10,000 a second
    standard = {each.quota: each.now for each in load.loads(fleet(store="STANDARD", **one_each))}
    assert standard["StartExecutionStandard"] == pytest.approx(5000)
    assert standard["StateTransition"] == pytest.approx(10_000)
    express = {each.quota: each.now for each in load.loads(fleet(store="EXPRESS", **one_each))}
    assert express["StartExecutionExpress"] == pytest.approx(5000)


def test_a_single_region_has_nobody_to_stand_in_for() -> None:
    alone = fleet(shares={"eu-west-1": 1.0})
    assert all(each.now == each.later for each in load.loads(alone))
