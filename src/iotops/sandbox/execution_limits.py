# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an execution may take: its definition's TimeoutSeconds, and five minutes of an EXPRESS one."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import threading
from collections.abc import Iterator
from typing import Any

from ministack.services import stepfunctions as sfn

from iotops.sandbox import express

__all__ = ["ending", "time_limit"]

ending = threading.Lock()  # of an execution: whoever holds it may give it its last status


@functools.lru_cache(256)
def _own_limit(definition: str) -> list[float]:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return [float(json.loads(definition)["TimeoutSeconds"])]
    return []


@contextlib.contextmanager
def time_limit(execution: dict[str, Any], definition: str) -> Iterator[None]:
    """End the execution as TIMED_OUT when its time is over."""
    limits = [express.LONGEST_EXECUTION] if execution.get("express") else []
    limits += _own_limit(definition)
    if not limits:
        yield
        return
    timer = threading.Timer(min(limits), contextvars.copy_context().run, (_time_out, execution))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _time_out(execution: dict[str, Any]) -> None:
    with ending:
        if execution.get("status") != "RUNNING":
            return
        execution.update(status="TIMED_OUT", stopDate=sfn.now_iso(), error="States.Timeout", cause="")
    sfn._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    sfn._emit_execution_status_event(execution)
