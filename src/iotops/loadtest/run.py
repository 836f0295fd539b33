# SPDX-License-Identifier: GPL-3.0-or-later
"""A load test on this machine: a generator on each core, one start for all, one result."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result, merge

_SOON = 0.5  # seconds until the start, for all to hear of it
_LINE = 2**28
_PATIENCE = 30.0  # seconds that a generator has to end in, beside its drain

Tell = Callable[[dict[str, Any]], None]


class _Process:
    """A generator. ``result``: what it found out; None when it died before."""

    def __init__(self, process: asyncio.subprocess.Process, share: int) -> None:
        self._process, self.share = process, share
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.result: Result | None = None
        self.problem = ""

    def order(self, content: dict[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(json.dumps(content).encode() + b"\n")

    async def listen(self, tell: Tell) -> None:
        """Take its events until it ends."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it was asked for
        while line := await stdout.readline():
            event = json.loads(line)
            kind = event.pop("event")
            if kind == "result":
                self.result = Result.from_json(event)
            elif kind == "error":
                self.problem = event["message"]
            elif kind == "ready" and not self.ready.done():
                self.ready.set_result(None)
            tell({"event": kind, "share": self.share, **event})
        await self._process.wait()
        if not self.ready.done():
            self.ready.set_result(None)

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


async def run(
    plan: Plan, *, processes: int = 0, stop: asyncio.Event | None = None, tell: Tell = lambda _event: None
) -> Result:
    """Run a plan on this machine; ``processes``: one a core unless given. ``tell`` gets the generators' events.

    When ``stop`` is set, it ends early and well. A generator that died is named in the result's notes.

    Raises:
        LoadTestError: the plan cannot be run.

    """
    plan.require_sound()
    stop = stop or asyncio.Event()
    of = max(1, min(processes or os.cpu_count() or 1, plan.publishers))
    generators = [await _start(plan, share, of) for share in range(of)]
    try:
        listening = [asyncio.ensure_future(each.listen(tell)) for each in generators]
        await _until(asyncio.wait([each.ready for each in generators]), stop)
        start = {"start": time.time() + _SOON}
        for each in generators:
            each.order({"stop": True} if stop.is_set() else start)
        await _until(asyncio.wait(listening), stop)
        if stop.is_set():
            for each in generators:
                each.order({"stop": True})
            await asyncio.wait(listening, timeout=plan.drain + _PATIENCE)
    finally:
        for each in generators:
            each.kill()
    return _gathered(generators)


async def _start(plan: Plan, share: int, of: int) -> _Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "iotops.loadtest.generator",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE,
        start_new_session=True,  # ctrl-C is for us; they are told
    )  # fmt: skip
    started = _Process(process, share)
    started.order({"plan": plan.to_json(), "share": share, "of": of})
    return started


async def _until(work: Any, stop: asyncio.Event) -> None:
    tasks = {asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())}
    _done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


def _gathered(generators: list[_Process]) -> Result:
    problems = [each.problem for each in generators if each.problem]
    if problems:
        raise LoadTestError(problems[0])
    result = merge(each.result for each in generators if each.result is not None)
    for each in generators:
        if each.result is None:
            result.notes.append(
                f"generator {each.share} ended with {each.code} and without a result: it is not counted"
            )
            result.processes.append({"share": each.share, "ended": False})
    return result
