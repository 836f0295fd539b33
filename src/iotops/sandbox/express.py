# SPDX-License-Identifier: GPL-3.0-or-later
"""EXPRESS executions: any number of one name, five minutes at most, visible in the log group only.

Sources: "Choosing workflow type" and "Using CloudWatch Logs to log execution history" of the AWS Step Functions
Developer Guide.
"""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import error_response_json, json_response, new_uuid, request_scope
from ministack.services import cloudwatch_logs
from ministack.services import stepfunctions as sfn

__all__ = ["LONGEST_EXECUTION", "finish", "record", "refusal", "run_again", "start", "take_interrupted"]

LONGEST_EXECUTION = 300.0  # seconds
_RESTART_DELAY = 2.0  # seconds after which the gateway answers again
_FATAL = frozenset({"ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut"})
_ERRORS = _FATAL | {"FailStateEntered", "LambdaFunctionFailed", "TaskFailed", "TaskTimedOut"}
_LEVELS: dict[str, frozenset[str] | None] = {"ALL": None, "ERROR": frozenset(_ERRORS), "FATAL": _FATAL}
_DATA = ("input", "output", "parameters")


def start(machine: dict[str, Any], data: dict[str, Any]) -> Any:
    """StartExecution of an EXPRESS machine: answers at once, never refuses a name that was used before."""
    execution = record(machine, data)
    arn = execution["executionArn"]
    threading.Thread(target=contextvars.copy_context().run, args=(sfn._run_execution, arn), daemon=True).start()
    return json_response({"executionArn": arn, "startDate": execution["startDate"]})


def record(machine: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The record of an execution that is about to run."""
    _, _, rest = machine["stateMachineArn"].partition(":stateMachine:")
    name = data.get("name") or new_uuid()
    arn = machine["stateMachineArn"].replace(f":stateMachine:{rest}", f":express:{rest}:{name}:{new_uuid()}")
    now, text = sfn.now_iso(), data.get("input", "{}")
    execution: dict[str, Any] = {
        "executionArn": arn,
        "stateMachineArn": machine["stateMachineArn"],
        "name": name,
        "status": "RUNNING",
        "startDate": now,
        "stopDate": None,
        "input": text,
        "output": None,
        "testCase": "",
        "mockAttempts": {},
        "express": True,
        "sync": True,  # the base's word for: publish no status events
        "events": [
            {
                "id": 1,
                "type": "ExecutionStarted",
                "timestamp": now,
                "executionStartedEventDetails": {"input": text, "roleArn": machine["roleArn"]},
            }
        ],
    }
    sfn._executions[arn] = execution
    return execution


def take_interrupted(executions: Any) -> list[dict[str, Any]]:
    """Take out of a saved store what was running.

    A Map Run's children are forgotten: the execution that runs again makes another Map Run.
    """
    if executions is None:
        return []
    found = [(key, execution) for key, execution in executions.all_items() if execution["status"] == "RUNNING"]
    for key, _execution in found:
        executions.pop_scoped(*key, None)
    return [execution for _key, execution in found if "mapRunArn" not in execution]


def run_again(executions: list[dict[str, Any]]) -> None:
    """Run what a stop interrupted from its beginning.

    EXPRESS executions run at least once. STANDARD ones would go on where they were; the same execution starts anew.
    """
    for execution in executions:
        arn = execution["executionArn"]
        where = parse_arn(arn)
        with request_scope(where.account_id, where.region):
            sfn._executions[arn] = {**execution, "events": execution["events"][:1]}
            context = contextvars.copy_context()
        threading.Timer(_RESTART_DELAY, context.run, (sfn._run_execution, arn)).start()
    for run in sfn._map_runs.all_values():
        if run["status"] == "RUNNING":
            run.update(status="ABORTED", stopDate=sfn.now_iso())


def refusal(arn: str) -> Any:
    """The answer to a call that AWS has for STANDARD only, or None when ``arn`` is of a STANDARD machine."""
    if ":express:" in arn:
        return error_response_json("InvalidArn", f"Invalid Arn: 'Resource type not valid in this context: {arn}'", 400)
    if (sfn._state_machines.get(arn) or {}).get("type") == "EXPRESS":
        return error_response_json(
            "StateMachineTypeNotSupported", "This operation is not supported by this type of state machine", 400
        )
    return None


def finish(execution: dict[str, Any], machine: dict[str, Any]) -> None:
    """Deliver the history to the log group as the machine's logging configuration says, and forget the execution."""
    sfn._executions.pop(execution["executionArn"], None)
    if execution["status"] != "SUCCEEDED":
        sfn.logger.warning(
            "%s %s: %s: %s",
            execution["executionArn"],
            execution["status"],
            execution.get("error"),
            execution.get("cause"),
        )
    configuration = machine.get("loggingConfiguration") or {}
    wanted = _LEVELS.get(configuration.get("level", "OFF"), frozenset())
    lines = [
        _line(execution, event, with_data=bool(configuration.get("includeExecutionData")))
        for event in execution["events"]
        if wanted is None or event["type"] in wanted
    ]
    for destination in configuration.get("destinations") or []:
        _log((destination.get("cloudWatchLogsLogGroup") or {}).get("logGroupArn") or "", machine["name"], lines)


def _line(execution: dict[str, Any], event: dict[str, Any], *, with_data: bool) -> dict[str, Any]:
    details: dict[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    stamp = sfn._iso_to_epoch_ms(event["timestamp"])
    message = {
        "id": str(event["id"]),
        "type": event["type"],
        "details": details if with_data else {key: value for key, value in details.items() if key not in _DATA},
        "previous_event_id": str(event["id"] - 1),
        "event_timestamp": str(stamp),
        "execution_arn": execution["executionArn"],
        "redrive_count": "0",
    }
    return {"timestamp": stamp, "message": json.dumps(message, separators=(",", ":"))}


def _log(group_arn: str, machine: str, lines: list[dict[str, Any]]) -> None:
    if not lines or ":log-group:" not in group_arn:
        return
    where = parse_arn(group_arn)
    group = where.resource.removeprefix("log-group:").removesuffix(":*")
    stream = f"states/{machine}/{sfn.now_iso()[:13].replace('T', '-')}/0"
    with request_scope(where.account_id, where.region):
        cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})
        cloudwatch_logs._put_log_events({"logGroupName": group, "logStreamName": stream, "logEvents": lines})
