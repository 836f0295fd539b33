# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmark of load generators measures with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.loading import cost
from benchmarks.loading.child import child

BUSY = "import time\nblock = bytearray(64 << 20)\nprint(flush=True)\nwhile True: pass"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])"


@pytest.fixture
def parent() -> Iterator[int]:
    """A process that waits for another, which has 64 MiB and is busy."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    os.killpg(process.pid, 9)
    process.communicate()


def test_what_a_process_has_started_counts(parent: int) -> None:
    pids = cost.tree(parent)
    assert len(pids) == 2
    assert 64 < cost.memory(pids) < 128
    assert cost.memory(pids[:1]) < 64
    before, started = cost.processor(pids), time.perf_counter()
    time.sleep(0.5)
    used = cost.processor(pids) - before
    assert 0.05 < used <= time.perf_counter() - started + 0.05


def test_pages_that_processes_share_are_counted_once(parent: int) -> None:
    """The sum is below that of RSS, which counts the shared pages of Python in each."""
    pids = cost.tree(parent)
    resident = sum(
        int(line.split()[1]) * 1024 / cost.MB
        for pid in pids
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert cost.memory(pids) < resident


def test_a_generator_is_asked_and_one_that_ends_says_why(tmp_path: Path) -> None:
    echo = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"
    with child([sys.executable, "-c", echo], tmp_path, 10) as running:
        assert running.ask(what="publish", count=3) == {"what": "publish", "count": 3}
    with (
        child([sys.executable, "-c", "raise SystemExit('no broker')"], tmp_path, 10) as running,
        pytest.raises(RuntimeError, match="no broker"),
    ):
        running.ask(what="publish")


def test_a_generator_that_hangs_is_ended(tmp_path: Path) -> None:
    started = time.perf_counter()
    with (
        child([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, 0.3) as running,
        pytest.raises(RuntimeError, match="ended"),
    ):
        running.ask(what="publish")
    assert time.perf_counter() - started < 10
