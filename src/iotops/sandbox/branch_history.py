# SPDX-License-Identifier: GPL-3.0-or-later
"""States inside of a Map or Parallel state are in the history, as on AWS: each of them is a transition, and charged."""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions as sfn

from iotops.sandbox.patching import replace

__all__ = ["install"]


class _Recorded(dict[str, Any]):
    """The states of a branch, each of which is looked up once when it is entered."""

    def __init__(self, states: dict[str, Any], execution: dict[str, Any]) -> None:
        super().__init__(states)
        self._execution = execution

    def get(self, name: str, default: Any = None) -> Any:
        """The state; leaves its event in the history."""
        state = super().get(name, default)
        if state:
            sfn._add_event(
                self._execution, f"{state['Type']}StateEntered", {"stateEnteredEventDetails": {"name": name}}
            )
        return state


def _recording(original: Any) -> Any:
    def run_sub_machine(states: dict[str, Any], start_at: str, input_data: Any, execution: Any, ctx: Any) -> Any:
        return original(_Recorded(states, execution), start_at, input_data, execution, ctx)

    return run_sub_machine


def install() -> None:
    """Record the states of branches."""
    replace(sfn, "_run_sub_machine", "states, start_at, input_data, execution, ctx", _recording)
