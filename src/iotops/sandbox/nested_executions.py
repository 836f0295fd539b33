# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions that somebody waits for: StartSyncExecution of EXPRESS machines, and tasks that run a STANDARD one.

The base starts either of any machine, and nested ones without asking IAM. Sources: StartSyncExecution of the AWS Step
Functions API reference; "Start workflow executions from a task state" of the Developer Guide.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions as sfn

from iotops.sandbox import express, service_tasks, task_calls
from iotops.sandbox.patching import replace

__all__ = ["install"]

_FIRST_LOOK, _LONGEST_PAUSE = 0.05, 1.0  # seconds


def _start_sync(_original: Any) -> Any:
    def start_sync_execution(data: dict[str, Any]) -> Any:
        """Run an EXPRESS machine; the answer tells how it ended, and is no error when it failed."""
        arn = sfn._resolve_state_machine_arn(data.get("stateMachineArn", ""))
        machine = sfn._state_machines.get(arn) if arn else None
        if machine is None:
            return error_response_json("StateMachineDoesNotExist", "State Machine Does Not Exist", 400)
        if machine.get("type") != "EXPRESS":
            message = "This operation is not supported by this type of state machine"
            return error_response_json("StateMachineTypeNotSupported", message, 400)
        execution = express.record(machine, data)
        sfn._run_execution(execution["executionArn"])
        answer = {
            name: execution[name]
            for name in ("executionArn", "stateMachineArn", "name", "startDate", "stopDate", "status", "input")
        }
        details = {"included": True}
        if execution["status"] == "SUCCEEDED":
            return json_response({**answer, "inputDetails": details, "output": execution["output"],
                                  "outputDetails": details})  # fmt: skip
        problem = {name: execution.get(name) or "" for name in ("error", "cause")}
        return json_response({**answer, **problem, "inputDetails": details})

    return start_sync_execution


def _run_nested(_original: Any) -> Any:
    def invoke_nested_start_execution_sync(resource: str, input_data: Any) -> Any:
        """Start, and look until it has ended; with ``.sync:2`` the output is a value and not text."""
        started = service_tasks.optimised_task("stepfunctions", "StartExecution", input_data)
        arn, pause = started["ExecutionArn"], _FIRST_LOOK
        while (found := _described(arn))["Status"] == "RUNNING":
            if not task_calls.is_wanted():
                service_tasks.optimised_task("stepfunctions", "StopExecution", {"ExecutionArn": arn})
                raise sfn._ExecutionError("States.Runtime", "The execution has ended")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if found["Status"] != "SUCCEEDED":
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(found))
        if resource.endswith(".sync:2"):
            found["Output"] = json.loads(found["Output"])
        return found

    return invoke_nested_start_execution_sync


def _described(arn: str) -> dict[str, Any]:
    found: dict[str, Any] = service_tasks.optimised_task("stepfunctions", "DescribeExecution", {"ExecutionArn": arn})
    return {name: value for name, value in found.items() if value is not None}


def install() -> None:
    """Take the place of the base's."""
    replace(sfn, "_start_sync_execution", "data", _start_sync)
    replace(sfn, "_invoke_nested_start_execution_sync", "resource, input_data", _run_nested)
