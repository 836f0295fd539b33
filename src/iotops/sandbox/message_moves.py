# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that go from a dead letter queue back to where they came from, or to another queue.

A message that was moved is a new one: with another id, sent now, never received. Standard queues only.
Source: StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask of the Amazon SQS API Reference, and
"Configuring a dead-letter queue redrive" of its Developer Guide.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

from ministack.core.responses import new_uuid
from ministack.services import sqs as base

__all__ = ["install"]

_TICK = 0.05  # seconds between two portions
_PORTION = 100  # messages, where the caller names no rate
_FASTEST = 500  # messages a second
_KEPT = 10  # tasks of a queue that are remembered


@dataclass
class _Task:
    source: str
    destination: str | None
    rate: int | None  # messages a second
    to_move: int
    status: str = "RUNNING"
    moved: int = 0
    reason: str = ""
    started: float = field(default_factory=time.time)
    id: str = field(default_factory=new_uuid)

    @property
    def handle(self) -> str:
        return base64.b64encode(json.dumps({"taskId": self.id, "sourceArn": self.source}).encode()).decode()

    def described(self) -> dict[str, Any]:
        """As ListMessageMoveTasks tells it; what is over has no handle."""
        known = {
            "TaskHandle": self.handle if self.status in ("RUNNING", "CANCELLING") else None,
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "FailureReason": self.reason or None,
        }
        return {
            **{name: value for name, value in known.items() if value is not None},
            "Status": self.status,
            "SourceArn": self.source,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "StartedTimestamp": int(self.started * 1000),
        }


_tasks: dict[str, list[_Task]] = {}  # ARN of the dead letter queue -> its tasks, the newest first
_running: set[asyncio.Task[None]] = set()


def _start(data: dict[str, Any], _url: str) -> dict[str, Any]:
    source, destination = data.get("SourceArn", ""), data.get("DestinationArn")
    queue = _queue(source)
    if not _is_dead_letter_queue(source):
        raise base._Err("UnsupportedOperation", "Source queue must be configured as a Dead Letter Queue.")
    if destination:
        _queue(destination)
    rate = data.get("MaxNumberOfMessagesPerSecond")
    if rate is not None and not 1 <= int(rate) <= _FASTEST:
        raise base._Err("InvalidParameterValue", f"MaxNumberOfMessagesPerSecond must be between 1 and {_FASTEST}.")
    known = _tasks.setdefault(source, [])
    if any(task.status == "RUNNING" for task in known):
        raise base._Err(
            "UnsupportedOperation",
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )
    task = _Task(source, destination, int(rate) if rate is not None else None, len(queue["messages"]))
    known.insert(0, task)
    del known[_KEPT:]
    running = asyncio.get_running_loop().create_task(_move(task))
    _running.add(running)
    running.add_done_callback(_running.discard)
    return {"TaskHandle": task.handle}


def _list(data: dict[str, Any], _url: str) -> dict[str, Any]:
    source = data.get("SourceArn", "")
    _queue(source)
    return {"Results": [task.described() for task in _tasks.get(source, [])[: int(data.get("MaxResults") or 1)]]}


def _cancel(data: dict[str, Any], _url: str) -> dict[str, Any]:
    for task in (task for tasks in _tasks.values() for task in tasks):
        if task.handle == data.get("TaskHandle") and task.status == "RUNNING":
            task.status = "CANCELLED"
            return {"ApproximateNumberOfMessagesMoved": task.moved}
    raise base._Err("ResourceNotFoundException", "Task does not exist.", 404)


def _queue(arn: str) -> dict[str, Any]:
    found: dict[str, Any] | None = base._queue_by_arn(arn)
    if found is None:
        raise base._Err(
            "ResourceNotFoundException", "The resource that you specified for SourceArn doesn't exist.", 404
        )
    if found.get("is_fifo"):
        raise base._Err("UnsupportedOperation", "the sandbox moves messages of standard queues only")
    return found


def _is_dead_letter_queue(arn: str) -> bool:
    policies = (queue["attributes"].get("RedrivePolicy") for queue in base._queues.values())
    return any(json.loads(policy).get("deadLetterTargetArn") == arn for policy in policies if policy)


async def _move(task: _Task) -> None:
    allowed = 0.0  # messages, by the rate
    while task.status == "RUNNING" and task.moved < task.to_move:
        allowed = _PORTION if task.rate is None else min(allowed + task.rate * _TICK, _PORTION)
        queue = base._queue_by_arn(task.source)
        visible = [each for each in (queue or {"messages": []})["messages"] if each.get("visible_at", 0) <= time.time()]
        if not visible:
            break
        for message in visible[: min(int(allowed), task.to_move - task.moved)]:
            target = base._queue_by_arn(task.destination or message["sys"].get("DeadLetterQueueSourceArn", ""))
            if target is None:
                task.status, task.reason = "FAILED", "CouldNotDetermineMessageSource"
                return
            queue["messages"].remove(message)
            target["messages"].append(_anew(message, target))
            task.moved, allowed = task.moved + 1, allowed - 1
        base.esm_wake.set()
        await asyncio.sleep(_TICK)
    if task.status == "RUNNING":
        task.status = "COMPLETED"


def _anew(message: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    now = time.time()
    return {
        **message,
        "id": new_uuid(),
        "receipt_handle": None,
        "sent_at": now,
        "visible_at": now + base.queue_delay(target),
        "receive_count": 0,
        "first_receive_at": None,
        "sys": base._build_send_sys_attrs(now, {}),
    }


def install() -> None:
    """Add the three operations, which the base does not have.

    Raises:
        KeyError: the base has one of them.

    """
    for name, does in (("Start", _start), ("List", _list), ("Cancel", _cancel)):
        operation = f"{name}MessageMoveTask" + ("s" if name == "List" else "")
        if operation in base._HANDLERS:
            raise KeyError(f"the base has {operation}: take message_moves out")
        base._HANDLERS[operation] = does
