# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices' certificates and keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A device. ``certificate`` (PEM, issuers after it) and ``key`` (PEM, mode 0600) are files."""

    name: str
    certificate: Path
    key: Path = field(repr=False)
