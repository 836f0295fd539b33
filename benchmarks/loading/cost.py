# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes cost: memory as the share of it that is theirs (PSS), and processor time, both from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
MB = 1e6


def memory(pids: Iterable[int]) -> float:
    """PSS of processes in MB: pages that several share are counted once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total / MB


def processor(pids: Iterable[int]) -> float:
    """Seconds of processor that living processes have used, in all their threads."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            children += map(int, (task / "children").read_text().split())
    return [pid, *(further for child in children for further in tree(child))]


__all__ = ["MB", "memory", "processor", "tree"]
