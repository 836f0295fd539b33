# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, machine, queue, received, role, unique

EVENTS = "events.amazonaws.com"


def bus_rule(sandbox: Sandbox, target: dict[str, Any]) -> str:
    """A bus whose every event goes to the target; its name."""
    events, bus = sandbox.client("events", REGION), unique("bus")
    events.create_event_bus(Name=bus)
    events.put_rule(Name="rule", EventBusName=bus, EventPattern=json.dumps({"source": ["test"]}))
    answer = events.put_targets(Rule="rule", EventBusName=bus, Targets=[{"Id": "target", **target}])
    assert answer["FailedEntryCount"] == 0
    return bus


def send(sandbox: Sandbox, bus: str, detail: Any) -> None:
    entry = {"EventBusName": bus, "Source": "test", "DetailType": "Test", "Detail": json.dumps(detail)}
    assert sandbox.client("events", REGION).put_events(Entries=[entry])["FailedEntryCount"] == 0


def inputs(sandbox: Sandbox, arn: str) -> list[Any]:
    states = sandbox.client("stepfunctions", REGION)
    return [
        json.loads(states.describe_execution(executionArn=entry["executionArn"])["input"])
        for entry in states.list_executions(stateMachineArn=arn)["executions"]
    ]


def a_machine(sandbox: Sandbox) -> str:
    return machine(sandbox, {"End": {"Type": "Succeed"}}, role(sandbox, "states.amazonaws.com", {}))


def test_machine_is_started_as_the_targets_role_with_the_transformed_input(sandbox: Sandbox) -> None:
    arn = a_machine(sandbox)
    bus = bus_rule(
        sandbox,
        {
            "Arn": arn,
            "RoleArn": role(sandbox, EVENTS, {"states:StartExecution": arn}),
            "InputTransformer": {
                "InputPathsMap": {"name": "$.detail.name"},
                "InputTemplate": '{"ThingName": <name>, "Reason": "event"}',
            },
        },
    )
    since = sandbox.now()
    send(sandbox, bus, {"name": "dev-1"})
    assert eventually(lambda: inputs(sandbox, arn)) == [{"ThingName": "dev-1", "Reason": "event"}]
    (call,) = sandbox.journal(since, operation="StartExecution")
    assert call["caller"].endswith("/events")


def test_denied_target_goes_to_the_dead_letters_at_once(sandbox: Sandbox) -> None:
    arn, (dead, dead_arn) = a_machine(sandbox), queue(sandbox, sender=EVENTS)
    bus = bus_rule(sandbox, {"Arn": arn, "RoleArn": role(sandbox, EVENTS, {}), "DeadLetterConfig": {"Arn": dead_arn}})
    send(sandbox, bus, {"n": 1})
    sqs = sandbox.client("sqs", REGION)
    (message,) = eventually(
        lambda: sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"]).get("Messages"), 5
    )
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    notes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert (notes["ERROR_CODE"], notes["RETRY_ATTEMPTS"], notes["TARGET_ARN"]) == ("NO_PERMISSIONS", "0", arn)


def test_throttled_target_is_tried_again(sandbox: Sandbox) -> None:
    arn = a_machine(sandbox)
    bus = bus_rule(sandbox, {"Arn": arn, "RoleArn": role(sandbox, EVENTS, {"states:StartExecution": arn})})
    fault = sandbox.fault(operation="StartExecution", effect="throttle", times=2)
    try:
        send(sandbox, bus, {"n": 1})
        assert eventually(lambda: len(inputs(sandbox, arn)) == 1)
    finally:
        sandbox.clear_faults(fault)


def test_exhausted_retries_end_in_the_dead_letters(sandbox: Sandbox) -> None:
    arn, (dead, dead_arn) = a_machine(sandbox), queue(sandbox, sender=EVENTS)
    bus = bus_rule(
        sandbox,
        {
            "Arn": arn,
            "RoleArn": role(sandbox, EVENTS, {"states:StartExecution": arn}),
            "RetryPolicy": {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60},
            "DeadLetterConfig": {"Arn": dead_arn},
        },
    )
    fault = sandbox.fault(operation="StartExecution", effect="error")
    try:
        send(sandbox, bus, {"n": 1})
        assert received(sandbox, dead)[0]["detail"] == {"n": 1}
    finally:
        sandbox.clear_faults(fault)
    assert inputs(sandbox, arn) == []


def test_queue_without_a_policy_for_the_bus_gets_nothing(sandbox: Sandbox) -> None:
    (closed, closed_arn), (dead, dead_arn) = queue(sandbox), queue(sandbox, sender=EVENTS)
    opened, opened_arn = queue(sandbox, sender=EVENTS)
    send(sandbox, bus_rule(sandbox, {"Arn": closed_arn, "DeadLetterConfig": {"Arn": dead_arn}}), {"n": 1})
    send(sandbox, bus_rule(sandbox, {"Arn": opened_arn}), {"n": 2})
    assert received(sandbox, dead)[0]["detail"] == {"n": 1}
    assert received(sandbox, opened)[0]["detail"] == {"n": 2}
    assert received(sandbox, closed, seconds=0.2) == []
