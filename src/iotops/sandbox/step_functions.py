# SPDX-License-Identifier: GPL-3.0-or-later
"""Executions as AWS runs them: as the machine's role, at once, and within their time."""

from __future__ import annotations

import functools
import random
import time
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions as sfn

from iotops.sandbox import (
    branch_history,
    distributed_map,
    execution_limits,
    execution_metrics,
    express,
    jsonata_expressions,
    machine_permissions,
    nested_executions,
    service_tasks,
    state_machine_definitions,
    succeed_output,
    task_calls,
)
from iotops.sandbox.patching import replace

__all__ = ["install"]

_START_DELAY = 0.15  # seconds that the base sleeps before each execution
_TERMINAL = frozenset({"States.DataLimitExceeded", "States.Runtime"})


class _Clock:
    """The module ``time`` without the base's pause at the start of an execution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        if seconds != _START_DELAY:
            time.sleep(seconds)


def _run(original: Any) -> Any:
    def run_execution(exec_arn: str) -> None:
        execution = sfn._executions.get(exec_arn) or {}
        machine = sfn._state_machines.get(execution.get("stateMachineArn")) or {}
        service_tasks.machine_role.set(machine.get("roleArn", ""))
        service_tasks.machine_arn.set(machine.get("stateMachineArn", ""))
        with execution_limits.time_limit(execution, machine.get("definition") or "{}"):
            original(exec_arn)
        if execution.get("express"):
            express.finish(execution, machine)

    return run_execution


def _fail(original: Any) -> Any:
    def fail_execution(execution: dict[str, Any], error: str, cause: str) -> None:
        """An execution that was stopped or timed out stays so, whatever its last task does."""
        with execution_limits.ending:
            if execution["status"] == "RUNNING":
                original(execution, error, cause)

    return fail_execution


def _start(original: Any) -> Any:
    def start_execution(data: dict[str, Any]) -> Any:
        arn = sfn._resolve_state_machine_arn(data.get("stateMachineArn", ""))
        machine = sfn._state_machines.get(arn) if arn else None
        if machine and machine.get("type") == "EXPRESS":
            return express.start(machine, data)
        running = _same_running(machine, data) if machine else None
        if running:  # StartExecution is idempotent for STANDARD while the execution of this name and input runs
            return json_response({"executionArn": running["executionArn"], "startDate": running["startDate"]})
        return original(data)

    return start_execution


def _same_running(machine: dict[str, Any], data: dict[str, Any]) -> dict[str, Any] | None:
    arn = machine["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{data.get('name')}"
    execution: dict[str, Any] | None = sfn._executions.get(arn)
    if execution and execution["status"] == "RUNNING" and execution["input"] == data.get("input", "{}"):
        return execution
    return None


def _retrier(original: Any) -> Any:
    def find_matching_retrier(retriers: list[dict[str, Any]], error: str, retry_counts: dict[int, int]) -> Any:
        """The retrier with the delay before this very attempt, which the base would let grow without end or jitter."""
        retrier, index = original(retriers, error, retry_counts)
        if retrier is None:
            return retrier, index
        delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** retry_counts.get(index, 0)
        delay = min(delay, retrier.get("MaxDelaySeconds", delay))
        if retrier.get("JitterStrategy") == "FULL":
            delay = random.uniform(0, delay)  # noqa: S311
        return {**retrier, "IntervalSeconds": delay, "BackoffRate": 1}, index

    return find_matching_retrier


def _matches(original: Any) -> Any:
    def error_matches(error_equals: list[str], error: str) -> bool:
        """States.ALL and States.TaskFailed match no error of the definition itself."""
        return error in error_equals or (error not in _TERMINAL and bool(original(error_equals, error)))

    return error_matches


def _creating(original: Any) -> Any:
    def create_or_update(data: dict[str, Any]) -> Any:
        arn = data.get("stateMachineArn") or service_tasks.arn_of_machine(data.get("name") or "")
        known = sfn._state_machines.get(arn) or {}
        role = data.get("roleArn") or known.get("roleArn")
        logging = data.get("loggingConfiguration") or known.get("loggingConfiguration") or {}
        refusal = machine_permissions.refusal(role, arn, logging)
        if not refusal and (data.get("type") or known.get("type")) == "EXPRESS":
            problem = state_machine_definitions.problem_of_express(data.get("definition"))
            refusal = ("InvalidDefinition", problem) if problem else None
        return error_response_json(*refusal, 400) if refusal else original(data)

    return create_or_update


def _load(original: Any) -> Any:
    def load_persisted_state(data: Any) -> None:
        interrupted = express.take_interrupted((data or {}).get("executions"))
        original(data)
        express.run_again(interrupted)

    return load_persisted_state


def _test(original: Any) -> Any:
    def test_state(data: dict[str, Any]) -> Any:
        token = service_tasks.machine_role.set(data.get("roleArn", ""))
        try:
            return original(data)
        finally:
            service_tasks.machine_role.reset(token)

    return test_state


def _wait(original: Any) -> Any:
    def jsonata_wait_seconds(state_def: dict[str, Any], raw_input: Any, ctx: dict[str, Any]) -> Any:
        """Parts of a second too: AWS wants whole ones, and tests shorten the waits of the definitions."""
        seconds = sfn._jsonata_state_field(state_def, "Seconds", "number", raw_input, ctx)
        return seconds if 0 < seconds < 1 else original(state_def, raw_input, ctx)

    return jsonata_wait_seconds


def _not_for_express(key: str, original: Any) -> Any:
    def refusing(data: dict[str, Any]) -> Any:
        return express.refusal(data.get(key) or "") or original(data)

    functools.update_wrapper(refusing, original)
    return refusing


def install() -> None:
    """Run executions as their role, within their limits and without the base's pause."""
    service_tasks.install()
    branch_history.install()
    succeed_output.install()
    task_calls.install()
    jsonata_expressions.install()
    state_machine_definitions.install()
    distributed_map.install()
    nested_executions.install()
    sfn.time = _Clock()
    replace(sfn, "_run_execution", "exec_arn", _run)
    replace(sfn, "_fail_execution", "execution, error, cause", _fail)
    replace(sfn, "_start_execution", "data", _start)
    replace(sfn, "_test_state", "data", _test)
    replace(sfn, "_jsonata_wait_seconds", "state_def, raw_input, ctx", _wait)
    replace(sfn, "_create_state_machine", "data", _creating)
    replace(sfn, "_update_state_machine", "data", _creating)
    replace(sfn, "_find_matching_retrier", "retriers, error, retry_counts", _retrier)
    replace(sfn, "_error_matches", "error_equals, error", _matches)
    replace(sfn, "load_persisted_state", "data", _load)
    execution_metrics.install()
    for name, key in (
        ("_describe_execution", "executionArn"),
        ("_get_execution_history", "executionArn"),
        ("_stop_execution", "executionArn"),
        ("_describe_state_machine_for_execution", "executionArn"),
        ("_list_executions", "stateMachineArn"),
    ):
        replace(sfn, name, "data", functools.partial(_not_for_express, key))
