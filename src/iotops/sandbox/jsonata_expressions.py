# SPDX-License-Identifier: GPL-3.0-or-later
"""JSONata expressions that are parsed once.

The engine parses an expression whenever the base evaluates it, which takes several times as long as the evaluation. An
evaluation only reads the syntax tree, so executions share it; bindings and bounds belong to one evaluation.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from jsonata import Jsonata

from iotops.sandbox.patching import replace

__all__ = ["install"]

_EXPRESSIONS = 8192  # those of some tens of state machines
_PATIENCE = 10  # times the base's limit of one second: it is wall time, and a laptop's processor is shared


def _sharing(_original: Any) -> Any:
    @functools.lru_cache(_EXPRESSIONS)
    def parsed(expression: str, regex_engine: Any) -> Jsonata:
        return Jsonata(expression, regex_engine)

    def jsonata(
        expression: str,
        regex_engine: Any = Jsonata.__init__.__defaults__[0],  # the engine's own default
        timeout: int | None = None,
        stack: int | None = None,
    ) -> Jsonata:
        fresh = copy.copy(parsed(expression, regex_engine))
        fresh.environment = fresh.create_frame(Jsonata.static_frame)
        fresh.environment.set_runtime_bounds(timeout and _PATIENCE * timeout, stack)
        Jsonata.CURRENT.jsonata = fresh
        return fresh

    return staticmethod(jsonata)


def install() -> None:
    """Let evaluations share what was parsed."""
    replace(Jsonata, "jsonata", "expression, regex_engine, timeout, stack", _sharing)
