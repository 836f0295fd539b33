# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from typing import Any

import pytest
from jsonata import Jsonata

from tests.unit.asl.definitions import MACHINES, WOKEN, State, all_states, definition, tasks, texts

EXPRESS_LIMIT = 300  # seconds; https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
# What a retry can help against; anything else has to fail at once.
PASSING = re.compile(
    r"Throttl|TooManyRequests|ServiceUnavailable|InternalFailure|InternalServerError|RequestLimit|ThroughputExceeded"
    r"|ExecutionLimit|SdkClient|ServiceException|ClientExecutionTimeout|TransactionCanceled|States\.Timeout"
    r"|^(Sfn\.Sfn|Sqs\.Sqs)Exception$"
)
# What AWS IoT still refuses a while after it said yes, or until another row arrives.
PASSING_IN_STATE = {
    "AddThingToThingGroup": {"Iot.ResourceNotFoundException"},
    "AttachPolicy": {"Iot.ResourceNotFoundException"},
    "CreateThing": {"Iot.ResourceNotFoundException"},
    "UpdateThing": {"Iot.ResourceNotFoundException"},
    "DeleteCertificate": {"Iot.DeleteConflictException"},
    "DeleteThing": {"Iot.InvalidRequestException"},
}


def waits(retrier: dict[str, Any]) -> float:
    """The longest that a retrier may wait in sum, in seconds."""
    pauses = (retrier["IntervalSeconds"] * retrier["BackoffRate"] ** n for n in range(retrier["MaxAttempts"]))
    return sum(min(pause, retrier["MaxDelaySeconds"]) for pause in pauses)


def all_tasks() -> list[Any]:
    return [pytest.param(name, state, id=f"{m}-{name}") for m in WOKEN for name, state in tasks(m).items()]


@pytest.mark.defect("S1-20")
@pytest.mark.parametrize("machine", WOKEN)
def test_a_machine_ends_before_express_would_end_it(machine: str) -> None:
    assert definition(machine)["QueryLanguage"] == "JSONata"
    assert definition(machine)["TimeoutSeconds"] < EXPRESS_LIMIT


@pytest.mark.defect("S1-9", "S1-10", "D-12")
@pytest.mark.parametrize(("name", "task"), all_tasks())
def test_a_task_has_a_time_limit_and_retries_what_passes_and_nothing_else(name: str, task: State) -> None:
    assert 0 < task["TimeoutSeconds"] <= 30
    errors = [error for retrier in task["Retry"] for error in retrier["ErrorEquals"]]
    assert "States.Timeout" in errors
    assert {error for error in errors if not PASSING.search(error)} == PASSING_IN_STATE.get(name, set())
    for retrier in task["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert waits(retrier) <= 150


@pytest.mark.defect("S1-8", "S1-9", "S1-20")
@pytest.mark.parametrize("machine", WOKEN)
def test_every_error_of_every_task_ends_in_a_dead_letter(machine: str) -> None:
    states = definition(machine)["States"]
    for name, state in states.items():
        if state["Type"] in ("Task", "Map"):
            last = state["Catch"][-1]
            assert last["ErrorEquals"] == ["States.ALL"], name
            expected = {"RecordError": "SendDeadLetter", "SendDeadLetter": "Failed"}
            assert last["Next"] in {expected.get(name), "RecordError" if "RecordError" in states else "SendDeadLetter"}
    assert states["Failed"]["Type"] == "Fail"
    assert states["SendDeadLetter"]["Next"] == "Failed"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_transition_leads_somewhere_and_every_state_is_reached(machine: str) -> None:
    def check(scope: dict[str, Any]) -> None:
        targets = {scope["StartAt"]}
        for state in scope["States"].values():
            targets |= {state[key] for key in ("Next", "Default") if key in state}
            targets |= {each["Next"] for key in ("Choices", "Catch") for each in state.get(key, [])}
            if "ItemProcessor" in state:
                check(state["ItemProcessor"])
        assert targets == set(scope["States"])

    check(definition(machine))


@pytest.mark.parametrize("machine", MACHINES)
def test_every_expression_is_jsonata(machine: str) -> None:
    found = [text for text in texts(definition(machine)) if "{%" in text]
    assert found
    for text in found:
        assert text.startswith("{%")
        assert text.endswith("%}")
        Jsonata.jsonata(text[2:-2].strip())


def test_no_state_is_called_alike_in_one_machine() -> None:
    for machine in MACHINES:
        names = [name for name, _ in all_states(definition(machine))]
        assert len(names) == len(set(names))


def test_a_lease_of_convergence_outlives_its_machine() -> None:
    machine = definition("converge-device")
    until = machine["States"]["TakeLease"]["Arguments"]["ExpressionAttributeValues"][":until"]["N"]
    assert int(re.findall(r"\+ (\d+)", until)[0]) > machine["TimeoutSeconds"]


@pytest.mark.defect("S1-18", "D-10")
def test_a_certificate_gets_its_status_after_thing_and_policies() -> None:
    states = dict(all_states(definition("converge-device")))
    path, name = [], "AttachThing"
    while name not in path:
        path.append(name)
        name = states[name].get("Next", states[name].get("Default", name))
    assert path == ["AttachThing", "EachPolicy", "WhatIsLeft", "SetStatus", "CertificateDone"]
