# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack whose operation the sandbox's end interrupted is FAILED after the next start, and not IN_PROGRESS for ever.

The states are those from which AWS lets one go on: delete the stack, or continue the rollback.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

from typing import Any

from ministack.services import cloudformation

from iotops.sandbox.patching import replace

_AFTERWARDS = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}


def _load(original: Any) -> Any:
    def load_persisted_state(data: dict[str, Any]) -> None:
        original(data)
        for stack in cloudformation._stacks._data.values():
            if stack["StackStatus"] in _AFTERWARDS:
                stack["StackStatus"] = _AFTERWARDS[stack["StackStatus"]]
                stack["StackStatusReason"] = "The sandbox was stopped during the operation."

    return load_persisted_state


def install() -> None:
    """Look at the stacks when they are loaded."""
    replace(cloudformation, "load_persisted_state", "data", _load)
