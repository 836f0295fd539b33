# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hop between services that nobody waits for tries again, keeps what it gives up, and alarms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.templates import TEMPLATES, Resource, many, of_type, template, with_numbers

QUEUE = "AWS::SQS::Queue"
DEAD_LETTERS = "${Application}-dead-letters"
STREAM_KEEPS = 86400  # seconds
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
TIMEOUTS_OF_FUNCTION = 6
NO_TOPIC = {"If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}


def problems(resources: dict[str, Resource]) -> list[str]:
    """What a template's hops lack."""
    return [
        f"{name}: {problem}"
        for kind, look in CHECKS.items()
        for name, properties in of_type(resources, kind)
        for problem in look(name, properties, resources)
    ]


def _topic_rule(_name: str, properties: Resource, _resources: dict[str, Resource]) -> Iterator[str]:
    queue = properties["TopicRulePayload"].get("ErrorAction", {}).get("Sqs", {}).get("QueueUrl")
    if not _is_dead_letters(queue):
        yield "its error action is not the dead letters"


def _queue(name: str, properties: Resource, resources: dict[str, Resource]) -> Iterator[str]:
    if _are_own(properties) or _is_dead_letters(properties["QueueName"]):
        if not _alarms(resources, "AWS/SQS", "ApproximateNumberOfMessagesVisible", name, properties["QueueName"]):
            yield "no alarm on ApproximateNumberOfMessagesVisible"
        return
    redrive = properties.get("RedrivePolicy", {})
    target = redrive.get("deadLetterTargetArn")
    own = any(target == {"GetAtt": f"{each}.Arn"} and _are_own(dead) for each, dead in of_type(resources, QUEUE))
    if not (own or _is_dead_letters(target)) or not redrive.get("maxReceiveCount", 0) > 0:
        yield "its redrive policy does not lead to the dead letters"
    for _, source in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        if source["EventSourceArn"] == {"GetAtt": f"{name}.Arn"}:
            function = resources[source["FunctionName"]["Ref"]]["Properties"]
            if properties["VisibilityTimeout"] < TIMEOUTS_OF_FUNCTION * function["Timeout"]:
                yield f"its messages come back before {TIMEOUTS_OF_FUNCTION} times its function's timeout"


def _pipe(name: str, properties: Resource, resources: dict[str, Resource]) -> Iterator[str]:
    settings = properties["SourceParameters"]["DynamoDBStreamParameters"]
    if not _is_dead_letters(settings.get("DeadLetterConfig", {}).get("Arn")):
        yield "what it gives up does not come to the dead letters"
    if not settings.get("MaximumRetryAttempts", -1) > 0:
        yield "it does not say how often it tries"
    if not 0 < settings.get("MaximumRecordAgeInSeconds", -1) < STREAM_KEEPS:
        yield "it may try for longer than the stream keeps a record"
    if not _alarms(resources, "AWS/EventBridge/Pipes", "ExecutionFailed", name, properties["Name"]):
        yield "no alarm on ExecutionFailed"


def _bus_rule(_name: str, properties: Resource, resources: dict[str, Resource]) -> Iterator[str]:
    for target in properties["Targets"]:
        retry = target.get("RetryPolicy", {})
        if not (retry.get("MaximumRetryAttempts", 0) > 0 and retry.get("MaximumEventAgeInSeconds", 0) > 0):
            yield "its target has no retry policy"
        if not _is_dead_letters(target.get("DeadLetterConfig", {}).get("Arn")):
            yield "what it gives up does not come to the dead letters"
        for function, called in of_type(resources, "AWS::Lambda::Function"):
            invoked = target["Arn"] == {"GetAtt": f"{function}.Arn"}
            if invoked and not _is_dead_letters(called.get("DeadLetterConfig", {}).get("TargetArn")):
                yield f"an event that {function} fails at does not come to the dead letters"


def _machine(name: str, properties: Resource, resources: dict[str, Resource]) -> Iterator[str]:
    for metric in ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"):
        if not _alarms(resources, "AWS/States", metric, name, properties["StateMachineName"]):
            yield f"no alarm on {metric}"


def _function(name: str, properties: Resource, resources: dict[str, Resource]) -> Iterator[str]:
    if not _alarms(resources, "AWS/Lambda", "Errors", name, properties["FunctionName"]):
        yield "no alarm on Errors"


def _alarm(_name: str, properties: Resource, _resources: dict[str, Resource]) -> Iterator[str]:
    if properties.get("AlarmActions") != NO_TOPIC:
        yield "it does not tell the topic of AlarmTopicArn"


def _alarms(resources: dict[str, Resource], namespace: str, metric: str, name: str, named: Any) -> bool:
    """Whether an alarm rings at the first one."""
    return any(
        (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == (namespace, metric, 0)
        and alarm["ComparisonOperator"] == "GreaterThanThreshold"
        and [dimension["Value"] for dimension in alarm["Dimensions"]]
        in ([{"Ref": name}], [named], [{"GetAtt": f"{name}.QueueName"}])
        for _, alarm in of_type(resources, "AWS::CloudWatch::Alarm")
    )


def _are_own(queue: Resource) -> bool:
    """Whether a queue is the dead letters of one other queue."""
    return str(queue["QueueName"]).endswith("-dead-letters") and not _is_dead_letters(queue["QueueName"])


def _is_dead_letters(queue: Any) -> bool:
    return isinstance(queue, str) and queue.replace(":", "/").rsplit("/", 1)[-1] == DEAD_LETTERS


CHECKS: dict[str, Callable[[str, Resource, dict[str, Resource]], Iterator[str]]] = {
    "AWS::IoT::TopicRule": _topic_rule,
    QUEUE: _queue,
    "AWS::Pipes::Pipe": _pipe,
    "AWS::Events::Rule": _bus_rule,
    "AWS::StepFunctions::StateMachine": _machine,
    "AWS::Lambda::Function": _function,
    "AWS::CloudWatch::Alarm": _alarm,
}


@pytest.mark.defect("S1-20", "S1-30", "D-6")
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_hop_tries_again_keeps_what_it_gives_up_and_alarms(name: str) -> None:
    assert problems(with_numbers(name)["Resources"]) == []


def test_there_are_hops_of_every_kind() -> None:
    kinds = {resource["Type"] for name in TEMPLATES for resource in template(name)["Resources"].values()}
    assert set(CHECKS) <= kinds


def without(name: str, change: Callable[[dict[str, Resource]], None]) -> list[str]:
    """What the template lacks when it is changed, beside what it lacks anyway."""
    resources = with_numbers(name)["Resources"]
    before = problems(resources)
    change(resources)
    return [problem for problem in problems(resources) if problem not in before]


def _strip(properties: Resource, *path: str) -> None:
    for key in path[:-1]:
        properties = many(properties[key])[0]
    del properties[path[-1]]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("AWS::IoT::TopicRule", ("TopicRulePayload", "ErrorAction")),
        ("AWS::SQS::Queue", ("RedrivePolicy",)),
        ("AWS::Pipes::Pipe", ("SourceParameters", "DynamoDBStreamParameters", "DeadLetterConfig")),
        ("AWS::Pipes::Pipe", ("SourceParameters", "DynamoDBStreamParameters", "MaximumRetryAttempts")),
        ("AWS::Pipes::Pipe", ("SourceParameters", "DynamoDBStreamParameters", "MaximumRecordAgeInSeconds")),
        ("AWS::Events::Rule", ("Targets", "RetryPolicy")),
        ("AWS::Events::Rule", ("Targets", "DeadLetterConfig")),
        ("AWS::CloudWatch::Alarm", ("AlarmActions",)),
    ],
)
def test_a_hop_without_its_safeguard_is_found(kind: str, path: tuple[str, ...]) -> None:
    for name in TEMPLATES:
        for logical_id, _ in of_type(template(name)["Resources"], kind):
            if logical_id != "DeadLetters":  # where it ends
                found = without(name, lambda all_, one=logical_id: _strip(all_[one]["Properties"], *path))
                assert logical_id in {problem.split(":")[0] for problem in found}


@pytest.mark.parametrize(
    ("name", "alarm", "problem"),
    [
        ("replication", "ConvergeDeviceFailed", "ConvergeDevice: no alarm on ExecutionsFailed"),
        ("replication", "ConvergeDeviceTimedOut", "ConvergeDevice: no alarm on ExecutionsTimedOut"),
        ("replication", "ConvergeDeviceAborted", "ConvergeDevice: no alarm on ExecutionsAborted"),
        ("replication", "PipeFailed", "Pipe: no alarm on ExecutionFailed"),
        ("sweep", "SweepDevicesFailed", "SweepDevices: no alarm on Errors"),
        ("foundation", "DeadLettersAlarm", "DeadLetters: no alarm on ApproximateNumberOfMessagesVisible"),
        ("message_queue", "HasDeadLetters", "DeadLetters: no alarm on ApproximateNumberOfMessagesVisible"),
        ("message_queue", "ConsumerFailed", "Consumer: no alarm on Errors"),
    ],
)
def test_what_is_not_alarmed_on_is_found(name: str, alarm: str, problem: str) -> None:
    assert without(name, lambda resources: resources.pop(alarm)) == [problem]
    assert without(name, lambda resources: resources[alarm]["Properties"].update(Threshold=5)) == [problem]


def test_a_function_that_a_rule_invokes_without_dead_letters_is_found() -> None:
    found = without("sweep", lambda resources: resources["SweepDevices"]["Properties"].pop("DeadLetterConfig"))
    assert found == ["SweepDevicesRule: an event that SweepDevices fails at does not come to the dead letters"]


def test_messages_that_come_back_while_their_function_runs_are_found() -> None:
    found = without("shadows", lambda resources: resources["Queue"]["Properties"].update(VisibilityTimeout=179))
    assert found == ["Queue: its messages come back before 6 times its function's timeout"]
