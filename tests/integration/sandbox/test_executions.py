# SPDX-License-Identifier: GPL-3.0-or-later
"""What an execution tells about itself: whose calls are whose, and that it ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, finished, machine, queue, received, role, task, unique

STATES = "states.amazonaws.com"
RETRY = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5, "BackoffRate": 1}]


@pytest.fixture
def describing(sandbox: Sandbox) -> str:
    """A machine that describes the thing its input names, in the state ``Task`` inside of a Map, patiently."""
    arn = role(sandbox, STATES, {"iot:DescribeThing": "*"})
    states = task("aws-sdk:iot:describeThing", {"ThingName": "{% $states.input %}"}, TimeoutSeconds=1, Retry=RETRY)
    processor = {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "Task", "States": states}
    each = {"Type": "Map", "Items": "{% [$states.input.thing] %}", "ItemProcessor": processor, "End": True}
    return machine(sandbox, {"Each": each}, arn)


def start(sandbox: Sandbox, arn: str, **given: Any) -> str:
    states = sandbox.client("stepfunctions", REGION)
    return str(states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"])


def struck(sandbox: Sandbox, rule: str) -> int:
    rules = {each["id"]: each["times"] for each in sandbox.faults()}
    return 100 - int(rules[rule])


def test_a_fault_selects_by_state_and_by_the_input_of_the_execution(sandbox: Sandbox, describing: str) -> None:
    things = [unique("thing") for _ in range(2)]
    for thing in things:
        sandbox.client("iot", REGION).create_thing(thingName=thing)
    rule = sandbox.fault(state="Task", input=f'*"{things[0]}"*', effect="error", error="X", status=400, times=100)
    other = sandbox.fault(state="Each", effect="error", error="X", status=400, times=100)
    try:
        executions = [start(sandbox, describing, thing=thing) for thing in things]
        assert [finished(sandbox, arn)["status"] for arn in executions] == ["FAILED", "SUCCEEDED"]
        assert (struck(sandbox, rule), struck(sandbox, other)) == (6, 0)
        sandbox.client("iot", REGION).describe_thing(thingName=things[0])  # a call of nobody's state
    finally:
        sandbox.clear_faults(rule)
        sandbox.clear_faults(other)


def test_an_execution_that_was_stopped_calls_nothing_any_more(sandbox: Sandbox, describing: str) -> None:
    thing = unique("thing")
    rule = sandbox.fault(input=f'*"{thing}"*', effect="timeout", delay=30, times=100)
    try:
        arn = start(sandbox, describing, thing=thing)
        assert eventually(lambda: struck(sandbox, rule))
        sandbox.client("stepfunctions", REGION).stop_execution(executionArn=arn)
        before = struck(sandbox, rule)
        time.sleep(2.5)
        assert struck(sandbox, rule) == before
        assert finished(sandbox, arn)["status"] == "ABORTED"
    finally:
        sandbox.clear_faults(rule)


def alarm(sandbox: Sandbox, machine_arn: str, metric: str, **more: Any) -> str:
    name = unique("alarm")
    sandbox.client("cloudwatch", REGION).put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/States",
        MetricName=metric,
        Dimensions=[{"Name": "StateMachineArn", "Value": machine_arn}],
        Statistic="Sum",
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
        **{"Period": 60, "TreatMissingData": "notBreaching", **more},
    )
    return name


def state(sandbox: Sandbox, name: str) -> str:
    (described,) = sandbox.client("cloudwatch", REGION).describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(described["StateValue"])


def test_alarms_hear_how_executions_of_their_machine_end(sandbox: Sandbox, describing: str) -> None:
    quiet = machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, STATES, {}))
    names = {
        (arn, metric): alarm(sandbox, arn, metric)
        for arn in (describing, quiet)
        for metric in ("ExecutionsFailed", "ExecutionsAborted")
    }
    rule = sandbox.fault(state="Task", effect="error", error="X", status=400)
    try:
        finished(sandbox, start(sandbox, describing, thing=unique("thing")))
    finally:
        sandbox.clear_faults(rule)
    in_alarm = {key for key, name in names.items() if state(sandbox, name) == "ALARM"}
    assert in_alarm == {(describing, "ExecutionsFailed")}


def test_an_alarm_ends_with_its_reason(sandbox: Sandbox, describing: str) -> None:
    name = alarm(sandbox, describing, "ExecutionsAborted", Period=2)
    rule = sandbox.fault(state="Task", effect="timeout", delay=30)
    try:
        arn = start(sandbox, describing, thing=unique("thing"))
        sandbox.client("stepfunctions", REGION).stop_execution(executionArn=arn)
        assert state(sandbox, name) == "ALARM"
    finally:
        sandbox.clear_faults(rule)
    assert eventually(lambda: state(sandbox, name) == "OK", 8)


def test_what_a_kill_cuts_off_runs_again(tmp_path: Path) -> None:
    own = Sandbox(tmp_path / "sandbox").start()
    try:
        arn = machine(own, {"Wait": {"Type": "Wait", "Seconds": 2, "End": True}}, role(own, STATES, {}))
        over, cut_off = start(own, arn, number=1), start(own, arn, number=2)
        own.client("stepfunctions", REGION).stop_execution(executionArn=over)
        own.snapshot()
        own.kill()
        own.start()
        assert finished(own, cut_off)["status"] == "SUCCEEDED"
        assert finished(own, over)["status"] == "ABORTED"
    finally:
        own.stop()


def test_an_execution_that_took_too_long_is_told_to_the_default_bus(sandbox: Sandbox) -> None:
    events, (url, queue_arn) = sandbox.client("events", REGION), queue(sandbox, sender="events.amazonaws.com")
    slow = {"Wait": {"Type": "Wait", "Seconds": 5, "End": True}}
    arn = machine(sandbox, slow, role(sandbox, STATES, {}), top={"TimeoutSeconds": 1})
    name = unique("rule")
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [arn], "status": ["TIMED_OUT"]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue_arn}])
    start(sandbox, arn, thing="slow")
    (event,) = received(sandbox, url)
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert json.loads(event["detail"]["input"]) == {"thing": "slow"}
