# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What those see who watch a module that takes minutes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

__all__ = ["write_progress"]


def write_progress(path: str | None, line: str) -> None:
    """Add a line with the time to the file, if there is one."""
    if path:
        with Path(path).open("a", encoding="utf-8") as progress:
            progress.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}\n")
