# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines about how far a run has come."""

from __future__ import annotations

import time

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress

# Seconds between two lines.
_EVERY = 10


class Progress:
    """Of `total` certificates, into the file `path` if there is one."""

    def __init__(self, total: int, path: str | None) -> None:
        self._total, self._done, self._path = total, 0, path
        self._started = self._written = time.monotonic()

    def add(self, count: int) -> None:
        """Count certificates that were issued."""
        self._done += count
        now = time.monotonic()
        if self._done < self._total and now - self._written < _EVERY:
            return
        self._written = now
        rate = self._done / max(now - self._started, 1e-3)
        left = (self._total - self._done) / rate
        write_progress(
            self._path, f"{self._done} of {self._total} certificates issued, {rate:.0f} a second, {left:.0f} s left"
        )


__all__ = ["Progress"]
