# SPDX-License-Identifier: GPL-3.0-or-later
"""Our check as Ansible runs it: the module in a process for each region, all at once, with its arguments as JSON."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEMORY = re.compile(r"VmHWM:\s*(\d+) kB")


@dataclass(frozen=True)
class Checked:
    """Seconds from the start of Python until the last region was done, and what the module answered by region.

    ``processor``: seconds of all processes together. ``memory``: the most of one process, in MB.
    """

    seconds: float
    processor: float
    memory: float
    answers: dict[str, dict[str, Any]]


def check(gateway: str, regions: Iterable[str], **options: Any) -> Checked:
    """Check regions with fresh stores; ends the program when the module fails."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        started, used = time.perf_counter(), _processor()
        running = {region: _start(gateway, region, Path(directory), options) for region in regions}
        finished = {region: _finish(region, process) for region, process in running.items()}
        seconds, used = time.perf_counter() - started, _processor() - used
    memory = max(memory for _answer, memory in finished.values())
    return Checked(seconds, used, memory, {region: answer for region, (answer, _memory) in finished.items()})


def _processor() -> float:
    """Seconds of the processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _start(gateway: str, region: str, directory: Path, options: dict[str, Any]) -> subprocess.Popen[str]:
    arguments = {
        "region": region, "endpoint_url": gateway, "access_key": "test", "secret_key": "any-will-do",
        "store": f"{directory}/{region}.sqlite", **options,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.checking.ours", json.dumps(arguments)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/collections:{ROOT}"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def _finish(region: str, process: subprocess.Popen[str]) -> tuple[dict[str, Any], float]:
    output, _errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"the check of {region} failed: {output[-2000:]}")
    answer, memory = output.splitlines()[-2:]
    return json.loads(answer), float(memory)


def main() -> None:
    """Run the module with the arguments of the command line; print its answer, and the MB that it took at most."""
    from ansible.module_utils.testing import patch_module_args

    from ansible_collections.iotops.fleet.plugins.modules.fleet_replication_info import main as module

    try:
        with patch_module_args(json.loads(sys.argv[1])):
            module()
    finally:
        # Of this program alone: ru_maxrss begins with what the parent had when it started us.
        found = MEMORY.search(Path("/proc/self/status").read_text())
        print(int(found[1]) * 1024 / 1e6 if found else 0)


if __name__ == "__main__":
    main()
