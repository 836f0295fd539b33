# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of assumed roles survive a restart of the sandbox, as they would survive anything on AWS."""

from __future__ import annotations

import copy
from typing import Any

from ministack.services import sts

from iotops.sandbox.patching import replace


def _state(_original: Any) -> Any:
    def get_state() -> dict[str, Any]:
        return {"sessions": copy.deepcopy(sts._sessions)}

    return get_state


def _load(_original: Any) -> Any:
    def load_persisted_state(data: dict[str, Any]) -> None:
        sts._sessions.update(data.get("sessions", {}))

    return load_persisted_state


def install() -> None:
    """Save and load them."""
    replace(sts, "get_state", "", _state)
    replace(sts, "load_persisted_state", "data", _load)
