# SPDX-License-Identifier: GPL-3.0-or-later
"""A generator may open as many connections as it has devices, or says that it may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import resource
from iotops.loadtest import sockets
from iotops.loadtest.errors import LoadTestError
try:
    sockets.allow(500)
except LoadTestError as error:
    print(error)
else:
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("-Sn 100", "564"),
        ("-Sn 600", "600"),
        ("-n 200", "500 devices in one process, which may open 200 files: raise that to 564 (ulimit -Hn), or use more"),
    ],
)
def test_as_many_files_as_devices_want_are_allowed_or_the_line_says_what_to_do(limits: str, said: str) -> None:
    command = ["bash", "-c", f'ulimit {limits}; exec "$0" -c "$1"', sys.executable, PROGRAM]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.startswith(said)
