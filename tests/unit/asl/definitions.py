# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machines as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[3] / "files"
MACHINES = tuple(sorted(path.name.removesuffix(".asl.yaml") for path in (FILES / "asl").glob("*.asl.yaml")))
# One whose caller waits for it, and is told what failed: it takes hours, and keeps no dead letters.
WAITED_FOR = "repair-devices"
WOKEN = tuple(machine for machine in MACHINES if machine != WAITED_FOR)

State = dict[str, Any]


def definition(machine: str) -> dict[str, Any]:
    """The definition of a machine, as it is before the template's substitutions."""
    loaded: dict[str, Any] = yaml.safe_load((FILES / f"asl/{machine}.asl.yaml").read_text())
    return loaded


def all_states(machine: dict[str, Any]) -> Iterator[tuple[str, State]]:
    """Every state, also those inside of Maps, with its name."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from all_states(state["ItemProcessor"])


def tasks(machine: str) -> dict[str, State]:
    """The Task states by name."""
    return {name: state for name, state in all_states(definition(machine)) if state["Type"] == "Task"}


def texts(value: Any) -> Iterator[str]:
    """Every string at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
