# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from iotops.sandbox.calls import Call
from iotops.sandbox.errors import SandboxError
from iotops.sandbox.faults import EFFECTS, Fault, Faults

CALL = Call("eu-west-1", "iot", "CreateThing", "")


def test_a_rule_without_selectors_strikes_every_call():
    faults = Faults()
    faults.add({"effect": "throttle"})
    assert [fault.effect for fault in faults.strike(CALL)] == ["throttle"]


@pytest.mark.parametrize(
    ("selector", "strikes"),
    [
        ({"region": "eu-west-1"}, True),
        ({"region": "us-west-2"}, False),
        ({"service": "iot"}, True),
        ({"service": "iot-data"}, False),
        ({"operation": "*Thing"}, True),
        ({"operation": "*thing"}, False),
        ({"region": "eu-*", "service": "iot", "operation": "CreateThing"}, True),
        ({"region": "eu-*", "service": "sqs", "operation": "CreateThing"}, False),
    ],
)
def test_every_selector_must_match(selector, strikes):
    assert Fault.parse({"effect": "refuse", **selector}).selects(CALL) is strikes


@pytest.mark.parametrize(
    ("selector", "strikes"),
    [({"state": "Create*"}, True), ({"state": "AttachThing"}, False), ({"state": ""}, False)],
)
def test_a_rule_may_be_about_one_state_of_a_state_machine(selector, strikes):
    call = Call("eu-west-1", "iot", "CreateThing", "", state="CreateThing")
    assert Fault.parse({"effect": "refuse", **selector}).selects(call) is strikes


def test_a_rule_about_an_execution_leaves_other_calls_alone():
    assert not Fault.parse({"effect": "refuse", "input": '*"lamp"*'}).selects(CALL)


def test_times_counts_down_and_then_the_rule_sleeps():
    faults = Faults()
    faults.add({"effect": "refuse", "times": 2})
    assert [bool(faults.strike(CALL)) for _ in range(4)] == [True, True, False, False]
    assert faults.listing()[0]["times"] == 0


def test_delays_add_up_and_one_other_effect_ends_the_search():
    faults = Faults()
    for effect in ("delay", "delay", "refuse", "throttle"):
        faults.add({"effect": effect, "delay": 0.1})
    assert [fault.effect for fault in faults.strike(CALL)] == ["delay", "delay", "refuse"]


def test_probability_decides_each_time():
    faults = Faults(seed=1)
    faults.add({"effect": "refuse", "probability": 0.3})
    struck = sum(bool(faults.strike(CALL)) for _ in range(1000))
    assert 240 < struck < 360


def test_a_rule_of_the_same_id_takes_the_place_of_the_first():
    faults = Faults()
    faults.add({"id": "one", "effect": "refuse"})
    faults.add({"id": "one", "effect": "throttle"})
    assert [rule["effect"] for rule in faults.listing()] == ["throttle"]
    faults.remove("one")
    assert faults.listing() == []


@pytest.mark.parametrize("effect", [effect for effect in EFFECTS if effect != "delay"])
def test_every_effect_but_delay_needs_nothing_else(effect):
    assert Fault.parse({"effect": effect}).effect == effect


@pytest.mark.parametrize(
    "rule",
    [{}, {"effect": "x"}, {"effect": "delay"}, {"effect": "error", "x": 1}, {"effect": "error", "probability": 2}],
)
def test_a_rule_that_makes_no_sense_is_refused(rule):
    with pytest.raises(SandboxError, match="fault rule"):
        Fault.parse(rule)


def test_a_rate_strikes_only_what_goes_over_it_in_each_region():
    now = [0.0]
    faults = Faults(clock=lambda: now[0])
    faults.add({"effect": "throttle", "rate": 3})

    def strikes(count, region="eu-west-1"):
        return [bool(faults.strike(Call(region, "iot", "CreateThing", ""))) for _ in range(count)]

    assert strikes(5) == [False] * 3 + [True] * 2, "a second's worth at once"
    assert strikes(1, "us-west-2") == [False], "another region has its own"
    now[0] = 0.4
    assert strikes(2) == [False, True]
    now[0] = 60
    assert strikes(5) == [False] * 3 + [True] * 2, "no more than a second's worth is saved"


def test_a_rate_below_one_lets_a_call_through_now_and_then():
    now = [0.0]
    faults = Faults(clock=lambda: now[0])
    faults.add({"effect": "throttle", "rate": 0.5})
    struck = []
    for now[0] in (0, 1, 2, 3, 4):
        struck.append(bool(faults.strike(CALL)))
    assert struck == [False, True, False, True, False]


@pytest.mark.parametrize("rule", [{"rate": 0}, {"rate": "10"}, {"effect": "error", "rate": 10}])
def test_a_rate_is_a_positive_number_and_of_throttling(rule):
    with pytest.raises(SandboxError, match="calls a second, above 0, of effect throttle"):
        Fault.parse({"effect": "throttle", **rule})


def test_rules_are_lifted_by_what_their_ids_begin_with():
    faults = Faults()
    for name in ("quota-a", "quota-b", "other"):
        faults.add({"effect": "throttle", "id": name})
    faults.remove_all("quota-")
    assert [rule["id"] for rule in faults.listing()] == ["other"]
