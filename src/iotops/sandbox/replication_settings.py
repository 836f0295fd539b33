# SPDX-License-Identifier: GPL-3.0-or-later
"""How global tables replicate: read and change its settings over the admin API."""

from __future__ import annotations

from typing import Any

from iotops.sandbox.errors import SandboxError
from iotops.sandbox.replication import settings

_NUMBERS = ("delay", "jitter", "reorder", "source_table_lock_seconds")
_SETS = ("cut", "lanes")


def current() -> dict[str, Any]:
    """Seconds of ``delay`` and ``jitter``, probability of ``reorder``, regions ``cut`` off, ``lanes`` that are."""
    return {name: getattr(settings, name) for name in _NUMBERS} | {
        name: sorted(getattr(settings, name)) for name in _SETS
    }


def change(wanted: dict[str, Any]) -> dict[str, Any]:
    """Set what ``wanted`` names.

    Raises:
        SandboxError: an unknown setting, or a number below 0.

    """
    for name, value in wanted.items():
        if name in _SETS:
            setattr(settings, name, set(value))
        elif name not in _NUMBERS:
            raise SandboxError(f"replication: unknown setting {name!r}; known: {', '.join(_NUMBERS + _SETS)}")
        elif value < 0:
            raise SandboxError(f"replication: {name} {value} is below 0")
        else:
            setattr(settings, name, value)
    return current()
