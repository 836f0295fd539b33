# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge Scheduler: targets called as the schedule's role, with retries and dead letters.

Sources: "Setting up Amazon EventBridge Scheduler" and "Configuring a dead-letter queue" of the EventBridge Scheduler
User Guide.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import eventbridge
from ministack.services import scheduler as base
from ministack.services.cloudformation import provisioners

from iotops.sandbox import execution_role
from iotops.sandbox.eventbridge import attempt
from iotops.sandbox.patching import replace
from iotops.sandbox.queues import queue_url

__all__ = ["install"]

PRINCIPAL = "scheduler.amazonaws.com"
_TARGETS = ("lambda", "sqs", "states")
_NOT_ASSUMABLE = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."


def _group_arn(schedule_arn: str) -> str:
    """The ARN of a schedule's group, which is what a trust policy may test."""
    return schedule_arn.replace(":schedule/", ":schedule-group/").rpartition("/")[0]


# --- definitions -----------------------------------------------------------------------------------------------------


def _checked(original: Any) -> Any:
    def create_or_update(name: str, body: dict[str, Any]) -> Any:
        problem = _problem(name, body)
        return base._error(400, "ValidationException", problem) if problem else original(name, body)

    return create_or_update


def _problem(name: str, body: dict[str, Any]) -> str | None:
    target = body.get("Target") or {}
    service = (target.get("Arn") or "").split(":")[2:3]
    if target and service and service[0] not in _TARGETS:
        return f"the sandbox's schedules have no target {target['Arn']} (they have {', '.join(_TARGETS)})"
    try:
        source = _group_arn(base._schedule_arn(body.get("GroupName", "default"), name))
        execution_role.require_trust(target.get("RoleArn"), PRINCIPAL, source_arn=source)
    except execution_role.RoleNotAssumableError:
        return _NOT_ASSUMABLE
    return None


def _in_stacks(handler: Any, position: int) -> Any:
    def checked(*arguments: Any, **named: Any) -> Any:
        props = arguments[position]
        problem = _problem(props.get("Name") or "unnamed", props)
        if problem:
            raise ValueError(f"{problem} (Service: Scheduler, Status Code: 400)")
        return handler(*arguments, **named)

    return checked


# --- running ---------------------------------------------------------------------------------------------------------


def _invoke(original: Any) -> Any:
    def invoke_target(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        if ":scheduler:" not in (rule.get("Arn") or ""):
            return original(target, event, rule, view)
        view = view or eventbridge._pattern_event_view(event)
        payload = target.get("Input") or json.dumps(view.event_with_detail())
        return attempt(
            lambda: _send(target, rule, payload),
            target,
            rule["Name"],
            lambda error, tries: _bury(target, rule, payload, error, tries),
        )

    return invoke_target


def _client(target: dict[str, Any], schedule: dict[str, Any], service: str) -> Any:
    return execution_role.client(
        target.get("RoleArn"), service, PRINCIPAL, source_arn=_group_arn(schedule.get("Arn") or "")
    )


def _send(target: dict[str, Any], schedule: dict[str, Any], payload: str) -> None:
    arn: str = target["Arn"]
    service = arn.split(":")[2]
    if service == "lambda":
        _client(target, schedule, "lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=payload)
    elif service == "sqs":
        _client(target, schedule, "sqs").send_message(QueueUrl=queue_url(arn), MessageBody=payload)
    else:
        _client(target, schedule, "stepfunctions").start_execution(stateMachineArn=arn, input=payload)


def _bury(target: dict[str, Any], schedule: dict[str, Any], payload: str, error: Exception, tries: int) -> None:
    arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not arn:
        return
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    notes = {
        "ERROR_CODE": code,
        "ERROR_MESSAGE": str(error)[:1000],
        "RETRY_ATTEMPTS": str(tries - 1),
        "SCHEDULE_ARN": schedule.get("Arn") or "-",
        "TARGET_ARN": target["Arn"],
    }
    attributes = {key: {"DataType": "String", "StringValue": value} for key, value in notes.items()}
    try:
        client = _client(target, schedule, "sqs")
        client.send_message(QueueUrl=queue_url(arn), MessageBody=payload, MessageAttributes=attributes)
    except (ClientError, BotoCoreError, PermissionError) as refused:
        base.logger.error("schedule %s: dead letter refused: %s", schedule.get("Name"), refused)


def install() -> None:
    """Check roles, and fire as them; to be installed after the targets of rules."""
    base._SCHEDULE_TICK_INTERVAL = 1
    replace(base, "_create_schedule", "name, body", _checked)
    replace(base, "_update_schedule", "name, body", _checked)
    replace(eventbridge, "_invoke_target", "target, event, rule, view", _invoke)
    handlers = provisioners._RESOURCE_HANDLERS["AWS::Scheduler::Schedule"]
    handlers.update(create=_in_stacks(handlers["create"], 1), update=_in_stacks(handlers["update"], 2))
