# SPDX-License-Identifier: GPL-3.0-or-later
"""A load test of S3's architecture: a node process for each device (s3.mjs)."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loading import cost
from benchmarks.loading.child import ROOT
from iotops.loadtest.target import Target

SCRIPT = ROOT / "benchmarks/loading/s3.mjs"


@dataclass(frozen=True)
class Running:
    """All its processes, and how long it took until the last one was connected."""

    pids: list[int]
    start_seconds: float

    def memory(self) -> float:
        """MB."""
        return cost.memory(self.pids)

    def processor(self) -> float:
        """Seconds."""
        return cost.processor(self.pids)


@contextmanager
def running(
    modules: Path, target: Target, devices: Path, publishers: Sequence[str], subscribers: Sequence[str], patience: float
) -> Iterator[Running]:
    """Start all of them at once, as S3 does, and end them.

    Raises:
        RuntimeError: not all were connected in time.

    """
    node = shutil.which("node")
    if not node:
        raise RuntimeError("node is absent")
    reading, writing = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    started = time.perf_counter()
    try:
        for role, names in (("subscriber", subscribers), ("publisher", publishers)):
            for name in names:
                words = [node, SCRIPT, modules, role, target.host, str(target.port), target.root, devices / name]
                processes.append(subprocess.Popen(words, stdout=writing, stderr=subprocess.DEVNULL))
        _wait(reading, len(processes), started + patience)
        yield Running([process.pid for process in processes], time.perf_counter() - started)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        os.close(reading)
        os.close(writing)


def _wait(pipe: int, count: int, end: float) -> None:
    connected = 0
    while connected < count:
        if not select.select([pipe], [], [], max(0, end - time.perf_counter()))[0]:
            raise RuntimeError(f"only {connected} of {count} processes of S3's are connected")
        connected += len(os.read(pipe, 4096))


__all__ = ["Running", "running"]
