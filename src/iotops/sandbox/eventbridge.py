# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets of bus rules: as their role or under the resource's own policy, with retries and dead letters.

A function is invoked asynchronously: what it throws is between Lambda and its own retries and destinations.
Source: "Event retry policies and dead-letter queues" of the Amazon EventBridge User Guide.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import dataclasses
import json
import random
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge as base
from ministack.services import lambda_svc, sqs

from iotops.sandbox import execution_role
from iotops.sandbox.patching import replace

__all__ = ["Settings", "attempt", "install", "settings"]

PRINCIPAL = "events.amazonaws.com"


@dataclasses.dataclass
class Settings:
    """How long the time between attempts may grow, and how many there are at most (185 on AWS, over 24 hours)."""

    first_delay: float = 0.2  # seconds, doubled after each attempt, with jitter
    longest_delay: float = 5.0  # seconds
    attempts: int = 185


settings = Settings()
_workers = concurrent.futures.ThreadPoolExecutor(max_workers=32, thread_name_prefix="bus-target")
# The target and the rule whose invocation the base prepares, for the functions it calls with less.
_current: contextvars.ContextVar[tuple[dict[str, Any], dict[str, Any]]] = contextvars.ContextVar("bus_target")


def _invoke(original: Any) -> Any:
    def invoke_target(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        token = _current.set((target, rule))
        try:
            original(target, event, rule, view)
        finally:
            _current.reset(token)

    return invoke_target


def _to_state_machine(_original: Any) -> Any:
    def dispatch_to_stepfunctions(arn: str, payload: str) -> None:
        target, rule = _current.get()

        def start() -> None:
            client = execution_role.client(
                target.get("RoleArn"), "stepfunctions", PRINCIPAL, source_arn=rule.get("Arn") or ""
            )
            client.start_execution(stateMachineArn=arn, input=payload)

        _deliver(start, payload)

    return dispatch_to_stepfunctions


def _to_queue(original: Any) -> Any:
    def dispatch_to_sqs(spec: Any, payload: str, sqs_parameters: dict[str, Any] | None = None) -> None:
        target, rule = _current.get()

        def send() -> None:
            _require_queue(str(spec), target, rule)
            original(spec, payload, sqs_parameters)

        _deliver(send, payload)

    return dispatch_to_sqs


def _to_function(_original: Any) -> Any:
    def dispatch_to_lambda(arn: str, payload: str) -> None:
        _target, rule = _current.get()

        def invoke() -> None:
            _require_function(arn, rule)
            function, config, _name = lambda_svc._get_func_record_for_ref(arn)
            record = lambda_svc._execution_record_for_config(function, config)
            lambda_svc.invoke_async_with_retry(record, json.loads(payload))

        _deliver(invoke, payload)

    return dispatch_to_lambda


def _require_queue(arn: str, target: dict[str, Any], rule: dict[str, Any]) -> None:
    """The queue has to be there, and let the target's role or EventBridge itself send.

    Raises:
        PermissionError: it is not, or does not.

    """
    queue = sqs._queue_by_arn(arn)
    if not queue:
        raise PermissionError(f"NO_RESOURCE: queue {arn} does not exist")
    if target.get("RoleArn"):
        execution_role.require_allowed(
            target["RoleArn"], PRINCIPAL, "sqs:SendMessage", arn, source_arn=rule.get("Arn") or ""
        )
    else:
        _require_policy(queue["attributes"].get("Policy"), "sqs:SendMessage", arn, rule)


def _require_function(arn: str, rule: dict[str, Any]) -> None:
    function, config, _name = lambda_svc._get_func_record_for_ref(arn)
    if not function or not config:
        raise PermissionError(f"NO_RESOURCE: function {arn} does not exist")
    _require_policy(function.get("policy"), "lambda:InvokeFunction", arn, rule)


def _require_policy(policy: Any, action: str, resource: str, rule: dict[str, Any]) -> None:
    document = json.loads(policy) if isinstance(policy, str) and policy else policy or {}
    context = iam_evaluator.EvalContext(
        PRINCIPAL, "Service", get_account_id(), action, resource, get_region(),
        service_context={"aws:sourceaccount": get_account_id(), "aws:sourcearn": rule.get("Arn") or ""},
    )  # fmt: skip
    for statement in execution_role.many(document.get("Statement")):
        principal = statement.get("Principal")
        named = principal == "*" or (
            isinstance(principal, dict) and PRINCIPAL in execution_role.many(principal.get("Service"))
        )
        if (
            statement.get("Effect") == "Allow"
            and named
            and iam_evaluator._action_matches(action, execution_role.many(statement.get("Action")), [])
            and iam_evaluator._conditions_met(statement.get("Condition") or {}, context)
        ):
            return
    raise PermissionError(f"NO_PERMISSIONS: the policy of {resource} does not let {PRINCIPAL} {action}")


def _deliver(send: Callable[[], None], payload: str) -> None:
    target, rule = _current.get()
    attempt(send, target, rule.get("Name", ""), lambda error, tries: _bury(target, rule, payload, error, tries))


def attempt(
    send: Callable[[], None], target: dict[str, Any], name: str, bury: Callable[[Exception, int], None]
) -> None:
    """Send beside the caller, again and again as the target's retry policy says; in the end ``bury(error, tries)``."""
    _workers.submit(contextvars.copy_context().run, _attempt, send, target, name, bury)


def _attempt(
    send: Callable[[], None], target: dict[str, Any], name: str, bury: Callable[[Exception, int], None]
) -> None:
    policy = target.get("RetryPolicy") or {}
    attempts = min(int(policy.get("MaximumRetryAttempts", settings.attempts)), settings.attempts) + 1
    until = time.time() + float(policy.get("MaximumEventAgeInSeconds", 86400))
    delay = settings.first_delay
    for number in range(1, attempts + 1):
        try:
            return send()
        except (ClientError, BotoCoreError, PermissionError) as error:
            base.logger.warning("rule or schedule %s: %s", name, error)
            last: Exception = error
            if not _transient(error) or number == attempts or time.time() + delay > until:
                break
        time.sleep(random.uniform(delay / 2, delay))  # noqa: S311 - jitter
        delay = min(delay * 2, settings.longest_delay)
    return bury(last, number)


def _transient(error: Exception) -> bool:
    """Missing permissions and missing resources go to the dead letters at once, all else is tried again."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        return not any(word in code for word in ("AccessDenied", "NotFound", "DoesNotExist", "NotAuthorized"))
    return isinstance(error, BotoCoreError)


def _bury(target: dict[str, Any], rule: dict[str, Any], payload: str, error: Exception, attempts: int) -> None:
    arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not arn:
        return
    code = "NO_PERMISSIONS" if isinstance(error, PermissionError) else "SDK_CLIENT_ERROR"
    message = str(error)
    if isinstance(error, ClientError):
        code = {"AccessDeniedException": "NO_PERMISSIONS"}.get(error.response["Error"]["Code"], "SDK_CLIENT_ERROR")
    if message.startswith("NO_RESOURCE"):
        code = "NO_RESOURCE"
    notes = {
        "ERROR_CODE": code,
        "ERROR_MESSAGE": message[:1000],
        "RETRY_ATTEMPTS": str(attempts - 1),
        "RULE_ARN": rule.get("Arn") or "",
        "TARGET_ARN": target.get("Arn") or "",
    }
    attributes = {key: {"DataType": "String", "StringValue": value or "-"} for key, value in notes.items()}
    try:
        _require_queue(arn, {}, rule)
        url = f"http://127.0.0.1/{get_account_id()}/{arn.rsplit(':', 1)[-1]}"
        sqs._act_send_message({"MessageBody": payload, "MessageAttributes": attributes}, url)
    except (PermissionError, sqs._Err) as refused:
        base.logger.error("rule %s: dead letter refused: %s", rule.get("Name"), refused)


def install() -> None:
    """Deliver to state machines, queues and functions as AWS does, and look for rules that are due more often."""
    base._SCHEDULER_TICK_INTERVAL = 1
    replace(base, "_invoke_target", "target, event, rule, view", _invoke)
    replace(base, "_dispatch_to_stepfunctions", "arn, payload", _to_state_machine)
    replace(base, "_dispatch_to_sqs", "spec, payload, sqs_parameters", _to_queue)
    replace(base, "_dispatch_to_lambda", "arn, payload", _to_function)
