# SPDX-License-Identifier: GPL-3.0-or-later
"""``endpoints.json``: where a sandbox answers; also kept while it is down, so that it comes up where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "endpoints.json"


def read(directory: Path) -> dict[str, Any] | None:
    """The file's content (shape: docs/architecture.md), or None when there is none."""
    try:
        content: dict[str, Any] = json.loads((directory / NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def write(directory: Path, content: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    temporary = directory / f"{NAME}.new"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(directory / NAME)
