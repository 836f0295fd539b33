# SPDX-License-Identifier: GPL-3.0-or-later
"""Map states in distributed mode: each item, or batch of items, is an execution of its own, so many at a time.

Children of type STANDARD are listed by ListExecutions of their Map Run, those of type EXPRESS are in the log group of
their machine only. The base runs them without S3's and IAM's consent, without batches, JSONata or results in S3, and
cannot stop them. Sources: "Using Map state in Distributed mode" of the AWS Step Functions Developer Guide and
DescribeMapRun of its API reference. The name of the error for a role that may not start children is not documented.
"""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import stepfunctions as sfn

from iotops.sandbox import execution_limits, execution_role, express, map_items, service_tasks
from iotops.sandbox.map_results import Written
from iotops.sandbox.patching import replace

__all__ = ["install"]

_THREADS = 256  # children at a time, whatever MaxConcurrency allows
_LOOK = 0.2  # seconds between two looks at what else may end a Map Run
_LONGEST_RESULT = 256 * 1024  # bytes
_COUNTS = (
    "pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten",
    "failuresNotRedrivable", "pendingRedrive",
)  # fmt: skip
_OUTCOMES = {"SUCCEEDED": "succeeded", "FAILED": "failed", "TIMED_OUT": "timedOut", "ABORTED": "aborted"}


class _MapRun:
    """One Map Run; ``record`` is what DescribeMapRun shows."""

    def __init__(self, fields: map_items.Fields, processor: dict[str, Any], execution: dict[str, Any]) -> None:
        self._fields, self._processor, self._execution = fields, processor, execution
        self._express = processor["ProcessorConfig"].get("ExecutionType") == "EXPRESS"
        where, _, machine = execution["stateMachineArn"].rpartition(":stateMachine:")
        self._where, self._name = where, f"{machine}/{fields.state.get('Label') or new_uuid()}"
        self._count, self._percentage = (fields.number(f"ToleratedFailure{unit}") for unit in ("Count", "Percentage"))
        self.record: dict[str, Any] = {
            "mapRunArn": f"{where}:mapRun:{self._name}:{new_uuid()}",
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": sfn.now_iso(),
            "maxConcurrency": int(fields.number("MaxConcurrency") or 0),
            "toleratedFailurePercentage": self._percentage or 0.0,
            "toleratedFailureCount": int(self._count or 0),
            "itemCounts": dict.fromkeys(_COUNTS, 0),
            "executionCounts": dict.fromkeys(_COUNTS, 0),
            "redriveCount": 0,
            "_stateMachineArn": f"{where}:stateMachine:{self._name}",
        }
        self._lock, self._changed = threading.Lock(), threading.Event()
        self._running: dict[str, dict[str, Any]] = {}
        self._outputs: dict[int, Any] = {}
        self._written = Written() if "ResultWriter" in fields.state else None
        self._workers, self._started, self._exhausted, self._over = 0, 0, False, False
        self._problem: Exception | None = None

    def carry_out(self) -> Any:
        """Run the children; the state's result.

        Raises:
            stepfunctions._ExecutionError: the items, the tolerance, the results, or the end of the execution.

        """
        arn = self.record["mapRunArn"]
        sfn._map_runs[arn] = self.record
        sfn._add_event(self._execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": arn}})
        try:
            self._run(map_items.read(self._fields))
            result = self._result()
        except sfn._ExecutionError as error:
            stopped = self._execution["status"] != "RUNNING"
            self._end("ABORTED" if stopped else "FAILED")
            details = {} if stopped else {"mapRunFailedEventDetails": {"error": error.error, "cause": error.cause}}
            sfn._add_event(self._execution, "MapRunAborted" if stopped else "MapRunFailed", details)
            raise
        self._end("SUCCEEDED")
        sfn._add_event(self._execution, "MapRunSucceeded")
        return result

    def _end(self, status: str) -> None:
        with self._lock:
            self._over = True
            for child in self._running.values():
                with execution_limits.ending:
                    if child["status"] == "RUNNING":
                        child.update(status="ABORTED", stopDate=sfn.now_iso())
        self.record.update(status=status, stopDate=sfn.now_iso())

    def _run(self, items: list[Any]) -> None:
        self._batches = map_items.inputs(self._fields, items)
        counted = ["itemCounts"] if self._fields.state.get("ItemBatcher") else ["itemCounts", "executionCounts"]
        for counts in counted:
            self.record[counts].update(total=len(items), pending=len(items))
        while not (self._exhausted and not self._workers):
            self._grow()
            self._changed.wait(_LOOK)
            self._changed.clear()
            if self._execution["status"] != "RUNNING":
                raise sfn._ExecutionError("States.Runtime", "The execution has ended")
            if self._problem is not None:
                raise self._problem
            if self._is_exceeded(len(items)):
                self._end("RUNNING")  # nothing more starts; the results so far are written
                self._result()
                raise sfn._ExecutionError(
                    "States.ExceedToleratedFailureThreshold",
                    "The specified tolerated failure threshold was exceeded",
                )

    def _is_exceeded(self, total: int) -> bool:
        counts = self.record["itemCounts"]
        failed = counts["failed"] + counts["timedOut"]
        limits = [self._count] if self._count is not None else []
        limits += [self._percentage * total / 100] if self._percentage is not None else []
        return bool(failed > min(limits, default=0))

    def _most(self) -> int:
        return min(self.record["maxConcurrency"] or _THREADS, _THREADS)

    def _grow(self) -> None:
        """As many workers as may be; UpdateMapRun changes how many that is."""
        with self._lock:
            wanted = 0 if self._exhausted else self._most() - self._workers
            # Of a few items not all workers would find one.
            wanted = min(wanted, max(1, self.record["itemCounts"]["pending"]))
            for _ in range(wanted):
                self._workers += 1
                threading.Thread(target=contextvars.copy_context().run, args=(self._work,), daemon=True).start()

    def _work(self) -> None:
        try:
            while (found := self._next()) is not None:
                self._child(*found)
                if self._is_exceeded(self.record["itemCounts"]["total"]):
                    self._changed.set()
        except Exception as error:
            known = isinstance(error, sfn._ExecutionError)
            self._problem = error if known else sfn._ExecutionError("States.Runtime", str(error))
        finally:
            with self._lock:
                self._workers -= 1
            self._changed.set()

    def _next(self) -> tuple[int, dict[str, Any], Any, int] | None:
        """Number, record, input and items of the next child; None when the worker is to go."""
        with self._lock:
            if self._over or self._workers > self._most():
                return None
            found = next(self._batches, None)
            if found is None:
                self._exhausted = True
                return None
            child = self._new(found[0])
            self._running[child["executionArn"]] = child
            self._tell("running", found[1])
            number, self._started = self._started, self._started + 1
        return number, child, *found

    def _tell(self, key: str, items: int) -> None:
        """Count a child and its items as ``running``, or as what running became; under the lock."""
        before = "pending" if key == "running" else "running"
        for counts, amount in ((self.record["itemCounts"], items), (self.record["executionCounts"], 1)):
            counts[key] += amount
            if counts[before]:
                counts[before] -= amount
            counts["total"] = max(counts["total"], sum(counts[name] for name in ("running", *_OUTCOMES.values())))

    def _new(self, given: Any) -> dict[str, Any]:
        name, now, text = new_uuid(), sfn.now_iso(), json.dumps(given)
        kind, end = ("express", f":{new_uuid()}") if self._express else ("execution", "")
        arn = f"{self._where}:{kind}:{self._name}:{name}{end}"
        started = {"input": text, "roleArn": service_tasks.machine_role.get()}
        child: dict[str, Any] = {
            "executionArn": arn,
            "stateMachineArn": self.record["_stateMachineArn"],
            "name": name,
            "status": "RUNNING",
            "startDate": now,
            "stopDate": None,
            "input": text,
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "mapRunArn": self.record["mapRunArn"],
            "testCase": "",
            "mockAttempts": {},
            "sync": True,  # the base's word for: publish no status events
            **({"express": True} if self._express else {}),
            "events": [
                {"id": 1, "type": "ExecutionStarted", "timestamp": now, "executionStartedEventDetails": started}
            ],
        }
        sfn._executions[arn] = child
        return child

    def _child(self, number: int, child: dict[str, Any], given: Any, items: int) -> None:
        processor, output = self._processor, None
        try:
            with execution_limits.time_limit(child, "{}"):
                output = sfn._run_sub_machine(
                    processor["States"], processor["StartAt"], given, child, self._context(child, given)
                )
            ended = {"status": "SUCCEEDED", "output": json.dumps(output)}
            event, details = "ExecutionSucceeded", {"output": ended["output"]}
        except Exception as error:
            code, cause = getattr(error, "error", "States.Runtime"), getattr(error, "cause", str(error))
            ended = {"status": "FAILED", "error": code, "cause": cause}
            event, details = "ExecutionFailed", {"error": code, "cause": cause}
        with execution_limits.ending:
            if child["status"] == "RUNNING":
                child.update(ended, stopDate=sfn.now_iso())
                sfn._add_event(child, event, {f"{event[0].lower()}{event[1:]}EventDetails": details})
        with self._lock:
            self._running.pop(child["executionArn"], None)
            self._tell(_OUTCOMES[child["status"]], items)
            if child["status"] == "SUCCEEDED" and self._written is None:
                self._outputs[number] = output
        if self._written is not None and not self._over:
            self._written.add(child)
            self._count_written(items)
        if self._express:
            express.finish(child, sfn._state_machines.get(self._execution["stateMachineArn"]) or {})

    def _count_written(self, items: int) -> None:
        with self._lock:
            self.record["itemCounts"]["resultsWritten"] += items
            self.record["executionCounts"]["resultsWritten"] += 1

    def _context(self, child: dict[str, Any], given: Any) -> dict[str, Any]:
        """A child sees no variable of its parent."""
        return {
            "QueryLanguage": self._fields.context.get("QueryLanguage", "JSONPath"),
            "Execution": {
                "Id": child["executionArn"],
                "Input": given,
                "Name": child["name"],
                "RoleArn": service_tasks.machine_role.get(),
                "StartTime": child["startDate"],
            },
            "StateMachine": {"Id": child["stateMachineArn"], "Name": self._name},
            "variables": {},
        }

    def _result(self) -> Any:
        """What the state's output is made of: where the results are, or the outputs of what succeeded, in order."""
        if self._written is not None:
            arguments = self._fields.arguments("ResultWriter")
            bucket = arguments.get("Bucket", "")
            key = self._written.upload(bucket, arguments.get("Prefix", ""), self.record["mapRunArn"])
            return {"MapRunArn": self.record["mapRunArn"], "ResultWriterDetails": {"Bucket": bucket, "Key": key}}
        outputs = [self._outputs[number] for number in sorted(self._outputs)]
        if len(json.dumps(outputs)) > _LONGEST_RESULT:
            raise sfn._ExecutionError("States.DataLimitExceeded", "The result of the Map state is too large")
        return outputs


def _distributed(_original: Any) -> Any:
    def run_distributed_map(
        state_def: dict[str, Any], raw_input: Any, effective: Any, iterator: dict[str, Any], execution: Any, ctx: Any
    ) -> tuple[Any, Any]:
        machine = execution["stateMachineArn"]
        try:
            execution_role.require_allowed(
                service_tasks.machine_role.get(),
                service_tasks.PRINCIPAL,
                "states:StartExecution",
                machine,
                source_arn=machine,
            )
        except PermissionError as error:
            raise sfn._ExecutionError("States.Permissions", str(error)) from None
        fields = map_items.Fields(state_def, raw_input, effective, ctx)
        result = _MapRun(fields, iterator, execution).carry_out()
        if fields.is_jsonata:
            output = sfn._apply_jsonata_output(state_def, raw_input, ctx, result=result, default=result)
            sfn._apply_state_assign(state_def, raw_input, ctx, result=result)
        else:
            result = sfn._apply_result_selector(state_def, result)
            output = sfn._apply_output_path(state_def, sfn._apply_result_path(state_def, raw_input, result), ctx)
        return output, sfn._next_or_end(state_def)

    return run_distributed_map


def install() -> None:
    """Take the place of the base's."""
    parameters = "state_def, raw_input, effective, iterator, execution, ctx"
    replace(sfn, "_run_distributed_map", parameters, _distributed)
