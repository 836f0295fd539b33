# SPDX-License-Identifier: GPL-3.0-or-later
"""Topic rule actions: as the role they name, with substitution templates, a few retries, then the error action.

Source: "AWS IoT rule actions", "Substitution templates" and "Error handling (error action)" of the AWS IoT Developer
Guide.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import json
import random
import re
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import get_account_id, get_region, new_uuid
from ministack.services import iot

from iotops.sandbox import execution_role, rule_sql
from iotops.sandbox.patching import replace

__all__ = ["Settings", "install", "settings"]

PRINCIPAL = "iot.amazonaws.com"


@dataclasses.dataclass
class Settings:
    """How often and how long a failing action is tried."""

    attempts: int = 3
    first_delay: float = 0.1  # seconds, doubled after each attempt, with full jitter


settings = Settings()
_workers = concurrent.futures.ThreadPoolExecutor(max_workers=16, thread_name_prefix="rule-action")
_running: set[asyncio.Task[None]] = set()
# The rule and the message (topic, payload, client id) that the current task handles.
_rule_name: contextvars.ContextVar[str] = contextvars.ContextVar("rule_name", default="")
_message: contextvars.ContextVar[tuple[str, bytes, str | None] | None] = contextvars.ContextVar("message", default=None)


def _client(spec: dict[str, Any], service: str) -> Any:
    return execution_role.client(spec.get("roleArn"), service, PRINCIPAL, source_arn=_rule_arn())


def _rule_arn() -> str:
    return f"arn:aws:iot:{get_region()}:{get_account_id()}:rule/{_rule_name.get()}"


def _text(event: Any) -> str:
    return event if isinstance(event, str) else json.dumps(event)


def _state_machine(spec: dict[str, Any], event: Any) -> None:
    machine = f"arn:aws:states:{get_region()}:{get_account_id()}:stateMachine:{spec['stateMachineName']}"
    name = f"{spec.get('executionNamePrefix') or ''}{new_uuid()}"[:80]
    _client(spec, "stepfunctions").start_execution(stateMachineArn=machine, name=name, input=_text(event))


def _object(spec: dict[str, Any], event: Any) -> None:
    _client(spec, "s3").put_object(Bucket=spec["bucketName"], Key=spec["key"], Body=_text(event).encode())


def _columns(spec: dict[str, Any], event: Any) -> None:
    if not isinstance(event, dict):
        raise ValueError("dynamoDBv2 needs a JSON object")
    _client(spec, "dynamodb").put_item(TableName=spec["putItem"]["tableName"], Item=_item(event))


def _item(values: dict[str, Any]) -> dict[str, Any]:
    serialise = TypeSerializer().serialize
    exact = json.loads(json.dumps(values), parse_float=Decimal)
    return {name: serialise(value) for name, value in exact.items()}


def _row(spec: dict[str, Any], event: Any) -> None:
    keys = {spec["hashKeyField"]: _key(spec, "hash")}
    if spec.get("rangeKeyField"):
        keys[spec["rangeKeyField"]] = _key(spec, "range")
    payload = _item({"payload": event})["payload"]
    item = {**keys, spec.get("payloadField") or "payload": payload}
    _client(spec, "dynamodb").put_item(TableName=spec["tableName"], Item=item)


def _key(spec: dict[str, Any], which: str) -> dict[str, str]:
    return {"N" if spec.get(f"{which}KeyType") == "NUMBER" else "S": str(spec[f"{which}KeyValue"])}


def _queue(spec: dict[str, Any], event: Any) -> None:
    text = _text(event)
    if spec.get("useBase64"):
        text = base64.b64encode(text.encode()).decode()
    _client(spec, "sqs").send_message(QueueUrl=spec["queueUrl"], MessageBody=text)


def _notification(spec: dict[str, Any], event: Any) -> None:
    _client(spec, "sns").publish(TargetArn=spec["targetArn"], Message=_text(event))


def _log(spec: dict[str, Any], event: Any) -> None:
    logs, group = _client(spec, "logs"), spec["logGroupName"]
    stream = f"iot_log_rule_action_{_rule_name.get()}"
    with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    line = {"timestamp": int(time.time() * 1000), "message": _text(event)}
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[line])


# kind: (what does it, the members without which it cannot)
_ACTIONS: dict[str, tuple[Callable[[dict[str, Any], Any], None], tuple[str, ...]]] = {
    "cloudwatchLogs": (_log, ("roleArn", "logGroupName")),
    "dynamoDB": (_row, ("roleArn", "tableName", "hashKeyField", "hashKeyValue")),
    "dynamoDBv2": (_columns, ("roleArn", "putItem")),
    "s3": (_object, ("roleArn", "bucketName", "key")),
    "sns": (_notification, ("roleArn", "targetArn")),
    "sqs": (_queue, ("roleArn", "queueUrl")),
    "stepFunctions": (_state_machine, ("roleArn", "stateMachineName")),
}
_BASE_ACTIONS: dict[str, tuple[str, ...]] = {"lambda": ("functionArn",), "republish": ("roleArn", "topic")}
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")


def _expand(value: Any) -> Any:
    """Fill ``${...}`` from the message, ``undefined`` where it has nothing; roles are taken as they stand."""
    if isinstance(value, dict):
        return {key: item if key == "roleArn" else _expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item) for item in value]
    current = _message.get()
    if not isinstance(value, str) or current is None:
        return value
    topic, payload, client_id = current
    message = iot._rule_message(payload)

    def one(match: re.Match[str]) -> str:
        found = iot._eval_select_expr(match.group(1), topic, payload, message, client_id)
        return "undefined" if found is iot._MISSING else _text(found)

    return _TEMPLATE.sub(one, value)


def _transient(error: Exception) -> bool:
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"].get("HTTPStatusCode", 500)
        return status >= 500 or status == 429 or "Thrott" in error.response["Error"]["Code"]
    return isinstance(error, BotoCoreError)


def _perform(kind: str, spec: dict[str, Any], event: Any) -> None:
    delay = settings.first_delay
    for attempt in range(1, settings.attempts + 1):
        try:
            return _ACTIONS[kind][0](spec, event)
        except Exception as error:
            if attempt == settings.attempts or not _transient(error):
                raise
        time.sleep(random.uniform(0, delay))  # noqa: S311 - jitter
        delay *= 2
    return None


def _dispatch(original: Any) -> Any:
    async def dispatch_rule_action(
        account_id: str, region: str, rule_name: str, action: dict[str, Any], event: Any
    ) -> None:
        action = _expand({key: value for key, value in action.items() if value})
        kind = next(iter(action))
        if kind in _ACTIONS:
            run = contextvars.copy_context().run
            await asyncio.get_running_loop().run_in_executor(_workers, run, _perform, kind, action[kind], event)
            return
        if kind == "republish":
            _require_publish(action[kind])
        await original(account_id, region, rule_name, action, event)

    return dispatch_rule_action


def _require_publish(spec: dict[str, Any]) -> None:
    spec["topic"] = spec["topic"].removeprefix("$") if spec["topic"].startswith("$$") else spec["topic"]
    resource = f"arn:aws:iot:{get_region()}:{get_account_id()}:topic/{spec['topic']}"
    execution_role.require_allowed(spec.get("roleArn"), PRINCIPAL, "iot:Publish", resource, source_arn=_rule_arn())


def _run(original: Any) -> Any:
    async def run_rule_actions(
        account_id: str,
        region: str,
        rule: dict[str, Any],
        payload: bytes,
        topic: str = "",
        client_id: str | None = None,
    ) -> None:
        """Evaluate the rule beside the publisher, which does not wait for it."""

        async def run() -> None:
            from ministack.core.responses import request_scope

            _rule_name.set(rule.get("ruleName", ""))
            _message.set((topic, payload or b"", client_id))
            with request_scope(account_id, region):
                await original(account_id, region, rule, payload, topic, client_id)

        task = asyncio.create_task(run())
        _running.add(task)
        task.add_done_callback(_running.discard)

    return run_rule_actions


def _store(original: Any) -> Any:
    def put_topic_rule(name: str, payload: dict[str, Any], *, created_at: float | None = None) -> Any:
        actions = [*(payload.get("actions") or []), *filter(None, [payload.get("errorAction")])]
        for action in actions:
            problem = _problem_of_action(action)
            if problem:
                raise iot.RuleSqlError(f"topic rule {name}: {problem}")
            _require_trust(name, next(spec for spec in action.values() if spec))
        return original(name, payload, created_at=created_at)

    return put_topic_rule


def _require_trust(rule_name: str, spec: dict[str, Any]) -> None:
    if "roleArn" not in spec:
        return
    source = f"arn:aws:iot:{get_region()}:{get_account_id()}:rule/{rule_name}"
    try:
        execution_role.require_trust(spec["roleArn"], PRINCIPAL, source_arn=source)
    except execution_role.RoleNotAssumableError as error:
        raise iot.RuleRoleError(str(error)) from None


def _problem_of_action(action: dict[str, Any]) -> str | None:
    kinds = [kind for kind, spec in action.items() if spec]
    if len(kinds) != 1:
        return f"an action must be of exactly one kind, not {kinds}"
    kind = kinds[0]
    required = _ACTIONS[kind][1] if kind in _ACTIONS else _BASE_ACTIONS.get(kind)
    if required is None:
        return f"the sandbox has no {kind} action (it has {', '.join(sorted({*_ACTIONS, *_BASE_ACTIONS}))})"
    missing = [name for name in required if not action[kind].get(name)]
    if missing:
        return f"the {kind} action lacks {', '.join(missing)}"
    templates = (match for text in _strings(action[kind]) for match in _TEMPLATE.findall(text))
    return next((problem for template in templates if (problem := rule_sql.problem_of_expression(template))), None)


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def install() -> None:
    """Perform the actions the base lacks, and those it performs without a role."""
    rule_sql.install()
    iot._RULE_ACTION_RESOURCE_KEYS.update(
        {
            "cloudwatchLogs": ("logGroupName",),
            "dynamoDB": ("tableName",),
            "s3": ("bucketName",),
            "stepFunctions": ("stateMachineName",),
        }
    )
    replace(iot, "_dispatch_rule_action", "account_id, region, rule_name, action, event", _dispatch)
    replace(iot, "_run_rule_actions", "account_id, region, rule, payload, topic, client_id", _run)
    replace(iot, "put_topic_rule", "name, payload, created_at", _store)
