# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of state machines say which state of which execution makes them, and end with their execution.

An execution that was stopped or timed out makes no further call; the base would let its task go on trying.
"""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ministack.services import stepfunctions as sfn

from iotops.sandbox import execution_role
from iotops.sandbox.calls import EXECUTION_HEADER, STATE_HEADER
from iotops.sandbox.patching import replace

__all__ = ["install", "is_wanted"]

_TASKS = 4096  # at the same time; a thread is started only when no other one is idle
# Of the task that this thread runs: the state's name and the execution's record.
_running: contextvars.ContextVar[tuple[str, dict[str, Any]] | None] = contextvars.ContextVar("running", default=None)


def is_wanted() -> bool:
    """Whether the execution whose task this thread runs still does."""
    running = _running.get()
    return running is None or running[1].get("status", "RUNNING") == "RUNNING"


def _task(original: Any) -> Any:
    def execute_task(state_def: dict[str, Any], raw_input: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        token = _running.set((ctx.get("State", {}).get("Name", ""), execution or {}))
        try:
            return original(state_def, raw_input, execution, ctx)
        finally:
            _running.reset(token)

    return execute_task


def _attempt(original: Any) -> Any:
    def invoke_resource(resource: str, input_data: Any) -> Any:
        if not is_wanted():
            raise sfn._ExecutionError("States.Runtime", "The execution has ended")  # which nothing retries or catches
        return original(resource, input_data)

    return invoke_resource


def _timed(_original: Any) -> Any:
    threads = ThreadPoolExecutor(_TASKS, thread_name_prefix="task")

    def invoke_resource_with_timeout(resource: str, input_data: Any, timeout: float) -> Any:
        """In a thread that other tasks use after it; the base starts one for each."""
        future = threads.submit(contextvars.copy_context().run, sfn._invoke_resource, resource, input_data)
        try:
            return future.result(timeout)
        except TimeoutError:
            raise sfn._ExecutionError("States.Timeout", f"Task timed out after {timeout} seconds") from None

    return invoke_resource_with_timeout


def _sign(params: dict[str, Any], **_: Any) -> None:
    if running := _running.get():
        params["headers"] |= {STATE_HEADER: running[0], EXECUTION_HEADER: running[1].get("executionArn", "")}


def install() -> None:
    """Mark the calls of tasks, and stop with the execution."""
    replace(sfn, "_execute_task", "state_def, raw_input, execution, ctx", _task)
    replace(sfn, "_invoke_resource", "resource, input_data", _attempt)
    replace(sfn, "_invoke_resource_with_timeout", "resource, input_data, timeout", _timed)
    execution_role.session.register("before-call", _sign, unique_id="sandbox-task-calls")
