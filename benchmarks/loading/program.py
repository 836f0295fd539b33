# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of `iotops loadtest`, asked as that asks it: with all that it counts and measures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.loading.child import ROOT
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result


@dataclass
class Program:
    """One that is connected and was told to start. ``start_seconds``: from its start to the last connection."""

    process: subprocess.Popen[str]
    start_seconds: float

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def result(self) -> Result:
        """What it found, when it has ended."""
        return Result.from_json(_next(self.process, "result"))


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
        _tell(process, {"plan": plan.to_json(), "share": 0, "of": 1})
        _next(process, "ready")
        took = time.perf_counter() - started
        _tell(process, {"start": time.time() + 0.1})
        yield Program(process, took)
    finally:
        process.kill()
        process.communicate()


def _tell(process: subprocess.Popen[str], line: dict[str, Any]) -> None:
    assert process.stdin  # noqa: S101
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()


def _next(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stdout  # noqa: S101
    for line in process.stdout:
        found: dict[str, Any] = json.loads(line)
        kind = found.pop("event")
        if kind == event:
            return found
        if kind == "error":
            raise RuntimeError(found["message"])
    raise RuntimeError(f"the generator has ended without {event}")


__all__ = ["Program", "running"]
