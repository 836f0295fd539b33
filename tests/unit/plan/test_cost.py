# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet costs. The figures were worked out by hand from AWS's prices, or counted by the benchmark."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._plan import monthly, once
from ansible_collections.iotops.fleet.plugins.module_utils._plan.bill import by_service, line, total
from ansible_collections.iotops.fleet.plugins.module_utils._plan.prices import MESSAGE_TIERS, PRICES, messages_usd
from benchmarks.joining import prices
from tests.unit.plan.fleets import BILLION_A_MONTH, MILLION, fleet

PERFORMANCE = Path(__file__).parents[3] / "docs/performance.md"
JOINING = MILLION / 15  # seconds


def test_prices_are_those_of_the_benchmark_and_each_has_a_source() -> None:
    shared = PRICES.keys() & prices.PRICES.keys()
    assert shared == prices.PRICES.keys()
    assert {unit: PRICES[unit].usd / PRICES[unit].per for unit in shared} == pytest.approx(
        {unit: prices.PRICES[unit] / 1e6 for unit in shared}
    )
    assert all(price.source and re.fullmatch(r"20\d\d-\d\d", price.date) for price in PRICES.values())


@pytest.mark.parametrize(
    ("messages", "usd"), [(0, 0), (1e9, 1000), (2e9, 1800), (5e9, 1000 + 3200), (6e9, 1000 + 3200 + 700)]
)
def test_many_messages_are_cheaper(messages: float, usd: float) -> None:
    assert messages_usd(messages) == pytest.approx(usd)
    assert MESSAGE_TIERS[0][1] == PRICES["iot message"].usd


def measured() -> dict[str, tuple[float, float]]:
    """Units a device and USD per million devices by unit, of the table for EXPRESS in docs/performance.md."""
    found: dict[str, tuple[float, float]] = {}
    table = PERFORMANCE.read_text().partition("| EXPRESS |")[2].partition("| **all** |")[0]
    for unit, units, usd in re.findall(r"\(([\w -]+)\) \| ([\d.]+) \| ([\d.]+) \|", table):
        before = found.get(unit, (0.0, 0.0))
        found[unit] = (before[0] + float(units), before[1] + float(usd))
    return found


def test_onboarding_costs_what_the_benchmark_has_counted() -> None:
    lines = once.onboarding(fleet(), JOINING)
    sums: dict[str, float] = {}
    for each in lines:
        sums[each.unit] = sums.get(each.unit, 0.0) + each.units / MILLION
    table = measured()
    assert sums.keys() == table.keys()
    assert sums == pytest.approx({unit: units for unit, (units, _usd) in table.items()}, rel=0.002)
    assert total(lines) == pytest.approx(28.03, abs=0.01)


def test_standard_machines_charge_each_of_57_2_transitions() -> None:
    lines = once.onboarding(fleet(), JOINING, machine_type="STANDARD")
    assert sum(each.units for each in lines if each.unit == "transition") == pytest.approx(57.2 * MILLION)
    assert total(lines) == pytest.approx(1453, abs=0.5)


@pytest.mark.parametrize(
    ("machine_type", "filtered", "usd"), [("STANDARD", False, 566), ("STANDARD", True, 490), ("EXPRESS", True, 22)]
)
def test_earlier_systems_cost_what_was_worked_out_by_hand(machine_type: str, filtered: bool, usd: float) -> None:
    lines = once.lookup(MILLION, 2, machine_type, filtered=filtered)
    assert total(lines) == pytest.approx(usd, abs=0.5)


def test_earlier_systems_in_parts() -> None:
    usd = by_service(once.lookup(MILLION, 2, "STANDARD", filtered=False))
    assert usd == pytest.approx(
        {
            "Step Functions": 250 + 225 + 75,
            "AWS IoT Core": 5.00 + 2.30,
            "DynamoDB": 3.75,
            "EventBridge": 2.80,
            "Lambda": 2.07,
        },
        abs=0.005,
    )
    express = by_service(once.lookup(MILLION, 2, "EXPRESS", filtered=True))
    assert express["Step Functions"] == pytest.approx(4.1 + 3.6, abs=0.05)


def test_a_group_costs_a_registry_operation_more_in_each_region() -> None:
    plain, grouped = (total(once.onboarding(fleet(), JOINING, design=design)) for design in ("rows", "group"))
    assert grouped - plain == pytest.approx(2 * 1.25)


def test_a_backfill_costs_as_much_as_being_made_in_one_region() -> None:
    usd = by_service(once.backfill(fleet()))
    assert usd["AWS IoT Core"] == pytest.approx(2 * 1.25 + 0.15 + 0.15)
    assert total(once.backfill(fleet(indexing=True))) - total(once.backfill(fleet())) == pytest.approx(2.25)


def test_a_million_devices_online_cost_3504_a_month() -> None:
    [connectivity] = [each for each in monthly.monthly(fleet()) if each.what == "connectivity"]
    assert connectivity.usd == pytest.approx(3504)
    assert connectivity.source == "AWS price list, 2026-09"


def test_a_billion_messages() -> None:
    ways = dict(monthly.ways(fleet(messages_per_day=BILLION_A_MONTH)))
    assert ways == pytest.approx(
        {
            "broker": 1000,
            "broker, by Basic Ingest": 0,
            "a rule with one action": 300,
            "TABLE: the rule writes the tables": 1250,
            "EXPRESS: a state machine for each, besides": 1208,
            "STANDARD: a state machine for each, besides": 50_000,
        },
        abs=0.5,
    )
    alone = fleet(shares={"eu-west-1": 1.0}, messages_per_day=BILLION_A_MONTH)
    assert dict(monthly.ways(alone))["TABLE: the rule writes the tables"] == pytest.approx(625)


def test_a_large_message_is_several() -> None:
    small, large = (fleet(messages_per_day=BILLION_A_MONTH, message_bytes=size) for size in (5120, 5121))
    assert dict(monthly.ways(large))["a rule with one action"] == pytest.approx(600)
    assert dict(monthly.ways(small))["a rule with one action"] == pytest.approx(300)


def test_what_is_kept_costs_more_every_month() -> None:
    planned = fleet(messages_per_day=BILLION_A_MONTH, message_bytes=840)  # 1,000 octets with its keys: 1 TB a month
    storage = [
        sum(each.usd for each in monthly.monthly(planned, month) if each.what == "storage") for month in (1, 2, 3)
    ]
    assert [after - before for before, after in itertools.pairwise(storage)] == pytest.approx([2 * 1000 * 0.25] * 2)


def test_nothing_is_charged_for_what_nobody_does() -> None:
    quiet = fleet(messages_per_day=0, connects_per_day=0)
    assert not {"rules triggered", "actions", "writes in every replica"} & {
        each.what for each in monthly.monthly(quiet)
    }
    assert all(each.usd > 0 for each in monthly.monthly(quiet))


def test_a_bill_sums_up_by_service_the_dearest_first() -> None:
    lines = [line("A", "x", 1e6, "rule"), line("B", "y", 1e6, "transition"), line("A", "z", 1e6, "action")]
    assert list(by_service(lines).items()) == [("B", 25.0), ("A", pytest.approx(0.30))]
