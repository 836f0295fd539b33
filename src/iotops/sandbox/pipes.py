# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge pipes from a DynamoDB stream, as the pipe's role: filter, template, batches, retries and dead letters.

Source: "Amazon EventBridge Pipes" of the Amazon EventBridge User Guide.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_region, request_scope
from ministack.services import dynamodb
from ministack.services import pipes as base
from ministack.services.cloudformation import provisioners

from iotops.sandbox import execution_role, pipe_batches
from iotops.sandbox.patching import replace

__all__ = ["install"]

PRINCIPAL = pipe_batches.PRINCIPAL
_KEPT = ("SourceParameters", "TargetParameters", "Enrichment", "EnrichmentParameters", "LogConfiguration")
_POLL = 0.1  # seconds between two looks at a stream
_TRANSITION = 0.2  # seconds that CREATING, UPDATING, STARTING and STOPPING take
_READS = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
_SETTLED = {"CREATING": "RUNNING", "UPDATING": "RUNNING", "STARTING": "RUNNING", "STOPPING": "STOPPED"}
_FAILED = {"CREATING": "CREATE_FAILED", "UPDATING": "UPDATE_FAILED", "STARTING": "START_FAILED"}

_supervisor = threading.Lock()
_supervising = False
_workers: dict[str, threading.Thread] = {}


def source_problem(pipe: dict[str, Any]) -> str | None:
    """Why the pipe cannot read its stream; None when it can. Calls nothing."""
    source = base._dynamodb_stream_source(pipe.get("Source", ""))
    if source is None:
        return f"the sandbox reads DynamoDB streams only, not {pipe.get('Source')}"
    table = dynamodb._tables.get(source[1]) or {}
    if table.get("LatestStreamArn") != pipe["Source"] or not (table.get("StreamSpecification") or {}).get(
        "StreamEnabled"
    ):
        return f"Stream {pipe['Source']} not found"
    try:
        for action in _READS:
            execution_role.require_allowed(
                pipe.get("RoleArn"), PRINCIPAL, action, pipe["Source"], source_arn=pipe["Arn"]
            )
    except PermissionError as error:
        return str(error)
    return None


# --- definitions -----------------------------------------------------------------------------------------------------


def _configure(pipe: dict[str, Any], body: dict[str, Any], state: str) -> None:
    """Keep what the base drops, and start the transition to what is wanted."""
    pipe.update({key: body[key] for key in _KEPT if key in body})
    stream = (pipe.get("SourceParameters") or {}).get("DynamoDBStreamParameters") or {}
    if state == "CREATING" and stream.get("StartingPosition"):
        pipe["StartingPosition"] = stream["StartingPosition"]
        base._positions[pipe["Arn"]] = base._initial_position(pipe)
    _begin(pipe, state if pipe["DesiredState"] == "RUNNING" else "STOPPED")


def _begin(pipe: dict[str, Any], state: str) -> None:
    pipe.update(CurrentState=state, StateReason="", _since=time.time())
    base._ensure_poller()


def _create(original: Any) -> Any:
    def create_pipe(name: str, body: dict[str, Any]) -> Any:
        problem = pipe_batches.problem(body)
        if problem:
            return base._error(400, "ValidationException", problem)
        answer = original(name, body)
        return _answer(name, answer, body, "CREATING")

    return create_pipe


def _update(original: Any) -> Any:
    def update_pipe(name: str, body: dict[str, Any]) -> Any:
        problem = pipe_batches.problem({**(base._pipes.get(name) or {}), **body})
        if problem:
            return base._error(400, "ValidationException", problem)
        return _answer(name, original(name, body), body, "UPDATING")

    return update_pipe


def _answer(name: str, answer: Any, body: dict[str, Any], state: str) -> Any:
    if answer[0] >= 400:
        return answer
    _configure(base._pipes[name], body, state)
    return base._json_resp(200, base._lifecycle_response(base._pipes[name]))


def _set_state(original: Any) -> Any:
    def set_state(name: str, desired: str) -> Any:
        answer = original(name, desired)
        if answer[0] >= 400:
            return answer
        _begin(base._pipes[name], "STARTING" if desired == "RUNNING" else "STOPPING")
        return base._json_resp(200, base._lifecycle_response(base._pipes[name]))

    return set_state


def _describe(original: Any) -> Any:
    def describe_response(pipe: dict[str, Any]) -> dict[str, Any]:
        return {**original(pipe), **{key: pipe[key] for key in _KEPT if pipe.get(key)}}

    return describe_response


def _fields(original: Any) -> Any:
    def pipes_pipe_fields(props: dict[str, Any]) -> dict[str, Any]:
        return {**original(props), **{key: props.get(key) for key in _KEPT}}

    return pipes_pipe_fields


def _stack_create(original: Any) -> Any:
    def pipes_pipe_create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        problem = pipe_batches.problem(props)
        if problem:
            raise ValueError(problem)
        name, attributes = original(logical_id, props, stack_name)
        pipe = base._pipes[name]
        problem = source_problem(pipe)
        if problem:
            base.delete_pipe(name)
            raise ValueError(f"Pipe {name} failed to create: {problem}")
        _configure(pipe, props, "CREATING")
        return name, attributes

    return pipes_pipe_create


# --- running ---------------------------------------------------------------------------------------------------------


def _ensure(_original: Any) -> Any:
    def ensure_poller() -> None:
        global _supervising
        with _supervisor:
            if not _supervising:
                threading.Thread(target=_supervise, name="pipes", daemon=True).start()
                _supervising = True

    return ensure_poller


def _supervise() -> None:
    while True:
        for account, region, pipe in base._iter_all_pipes():
            with request_scope(account, region):
                _settle(pipe)
                if pipe["CurrentState"] == "RUNNING" and not _alive(pipe["Arn"]):
                    run = contextvars.copy_context().run
                    worker = threading.Thread(target=run, args=(_work, pipe["Arn"]), name=pipe["Name"], daemon=True)
                    _workers[pipe["Arn"]] = worker
                    worker.start()
        time.sleep(_POLL)


def _alive(arn: str) -> bool:
    return arn in _workers and _workers[arn].is_alive()


def _settle(pipe: dict[str, Any]) -> None:
    state = pipe["CurrentState"]
    if state not in _SETTLED or time.time() - pipe.get("_since", 0) < _TRANSITION:
        return
    problem = source_problem(pipe) if state in _FAILED else None
    pipe.update(CurrentState=_FAILED[state] if problem else _SETTLED[state], StateReason=problem or "")


def _current(arn: str) -> dict[str, Any] | None:
    pipe: dict[str, Any] | None = base._pipes.get(arn.rsplit("/", 1)[-1])
    return pipe if pipe and pipe["CurrentState"] == "RUNNING" else None


def _work(arn: str) -> None:
    while pipe := _current(arn):
        try:
            moved = _step(pipe, lambda: _current(arn) is pipe)
        except Exception as error:
            base.logger.exception("Pipes %s", pipe["Name"])
            pipe["StateReason"] = str(error)[:512]
            moved = False
        if not moved:
            time.sleep(_POLL)


def _step(pipe: dict[str, Any], wanted: Callable[[], bool]) -> bool:
    """Deliver the next batch; False when there was none or it has to be tried again later."""
    _, table = base._dynamodb_stream_source(pipe["Source"])
    position, records = _read(pipe, table)
    if not records:
        return False
    if len(records) < pipe_batches.stream_setting(pipe, "BatchSize"):
        time.sleep(pipe_batches.stream_setting(pipe, "MaximumBatchingWindowInSeconds"))
        position, records = _read(pipe, table)
    problem = source_problem(pipe)
    if problem:
        pipe["StateReason"] = problem[:512]
        time.sleep(1)
        return False
    kept = [record for record in records if pipe_batches.matches(pipe, record)]
    if kept and not pipe_batches.deliver(pipe, kept, wanted):
        return False
    with contextlib.suppress(KeyError):  # deleted meanwhile
        if pipe["Arn"] in base._positions:
            base._positions[pipe["Arn"]] = position + len(records)
    return True


def _read(pipe: dict[str, Any], table: str) -> tuple[int, list[dict[str, Any]]]:
    where = {"account_id": pipe["Arn"].split(":")[4], "region": get_region()}
    position = max(int(base._positions.get(pipe["Arn"], 0)), dynamodb.stream_start_position(table, **where))
    limit = int(pipe_batches.stream_setting(pipe, "BatchSize"))
    return position, list(dynamodb.stream_records_since(table, position, limit, **where))


def install() -> None:
    """Run pipes here; the base keeps their definitions."""
    replace(base, "_ensure_poller", "", _ensure)
    replace(base, "_create_pipe", "name, body", _create)
    replace(base, "_update_pipe", "name, body", _update)
    replace(base, "_set_state", "name, desired", _set_state)
    replace(base, "_describe_response", "pipe", _describe)
    replace(provisioners, "_pipes_pipe_fields", "props", _fields)
    replace(provisioners, "_pipes_pipe_create", "logical_id, props, stack_name", _stack_create)
    provisioners._RESOURCE_HANDLERS["AWS::Pipes::Pipe"]["create"] = provisioners._pipes_pipe_create
