# SPDX-License-Identifier: GPL-3.0-or-later
"""A load generator as a process of its own: it gets lines of JSON and answers each with one."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.loading import cost

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A running generator."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log
        self.pid = process.pid

    def ask(self, **question: Any) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            RuntimeError: it has ended or was ended.

        """
        assert self._process.stdin and self._process.stdout  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended: {self._log.read_text()[-2000:]}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def memory(self) -> float:
        """MB."""
        return cost.memory(cost.tree(self.pid))

    def processor(self) -> float:
        """Seconds."""
        return cost.processor(cost.tree(self.pid))


@contextmanager
def child(command: Sequence[str | Path], directory: Path, seconds: float) -> Iterator[Child]:
    """Start one; it is ended after so many seconds whatever it does."""
    log = directory / "generator.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield Child(process, log)
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


__all__ = ["ROOT", "Child", "child"]
