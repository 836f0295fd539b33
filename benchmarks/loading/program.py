# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of `iotops loadtest`, asked as that asks it: with all that it counts and measures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any

from benchmarks.loading.child import ROOT
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result


class Program:
    """One that is connected and was told to start. ``start_seconds``: from its start to the last connection."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._events = process, Queue[dict[str, Any]]()
        self.start_seconds = 0.0
        Thread(target=self._listen, daemon=True).start()  # at once: a process whose pipe is full stands still

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout  # noqa: S101
        for line in self._process.stdout:
            self._events.put(json.loads(line))
        self._events.put({"event": "end"})

    def tell(self, line: dict[str, Any]) -> None:
        """Say that to it."""
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def next(self, event: str) -> dict[str, Any]:
        """Wait for that event.

        Raises:
            RuntimeError: it has ended without.

        """
        while True:
            found = self._events.get()
            kind = found.pop("event")
            if kind == event:
                return found
            if kind in ("error", "end"):
                raise RuntimeError(found.get("message", f"the generator has ended without {event}"))

    def result(self) -> Result:
        """What it found, when it has ended."""
        return Result.from_json(self.next("result"))


@contextmanager
def running(plan: Plan) -> Iterator[Program]:
    """Start one that carries all of a plan, and end it.

    Raises:
        RuntimeError: it has ended by itself.

    """
    words = [sys.executable, "-m", "iotops.loadtest.generator"]
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        program = Program(process)
        program.tell({"plan": plan.to_json(), "share": 0, "of": 1})
        program.next("ready")
        program.start_seconds = time.perf_counter() - started
        program.tell({"start": time.time() + 0.1})
        yield program
    finally:
        process.kill()
        process.wait()


__all__ = ["Program", "running"]
