# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: one JSON line per API call, never a body.

A line is ``{"time": RFC 3339 UTC, "region", "service", "operation", "resources": names of the tables, queues, state
machines, buses or functions it is about, "caller": ARN or access key id, "status": HTTP status (0 = connection reset),
"error": AWS error code or null, "ms": duration}``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

NAME = "journal.jsonl"
PREVIOUS = "journal.1.jsonl"
LIMIT = 64 * 1024 * 1024  # bytes of one file; the one before it is kept


class Journal:
    """Appends to ``<dir>/journal.jsonl``; a full file becomes ``journal.1.jsonl``."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self._path, self._limit = directory / NAME, limit
        self._previous = directory / PREVIOUS
        self._file: TextIO = self._open()

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line; it is in the file when this returns."""
        self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._file.flush()
        if self._file.tell() > self._limit:
            self._file.close()
            self._path.replace(self._previous)
            self._file = self._open()

    def _open(self) -> TextIO:
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a")


def moment(text: str) -> datetime:
    """``since`` as people write it: epoch seconds, or ISO 8601 (UTC when it names no zone).

    Raises:
        ValueError: it is neither.

    """
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except ValueError:
        parsed = datetime.fromisoformat(text)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def read(directory: Path, since: datetime | None = None, **wanted: str | None) -> Iterator[dict[str, Any]]:
    """The lines since then whose fields equal ``wanted`` (None: any), oldest first."""
    for name in (PREVIOUS, NAME):
        path = directory / name
        if not path.exists():
            continue
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break  # being written
                entry = json.loads(line)
                if since and datetime.fromisoformat(entry["time"]) < since:
                    continue
                if all(entry[field] == value for field, value in wanted.items() if value is not None):
                    yield entry
