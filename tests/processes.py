# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending a program as a loss of power would: with all that it has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and its descendants, and wait; Ansible gives each task a session of its own."""
    found = descendants(process.pid)
    for pid in (process.pid, *found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """What a process has started, and what that has started."""
    shown = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, shown.splitlines())}
    children = [child for child, parent in parents.items() if parent == pid]
    return children + [further for child in children for further in descendants(child)]
