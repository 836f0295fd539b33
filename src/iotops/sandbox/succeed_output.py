# SPDX-License-Identifier: GPL-3.0-or-later
"""A Succeed state says what the execution's output is, as on AWS; the base hands its input on.

Source: "Succeed workflow state" of the AWS Step Functions Developer Guide.
"""

from __future__ import annotations

from typing import Any

from ministack.services import stepfunctions as sfn

from iotops.sandbox.patching import replace

__all__ = ["install"]


def _output(original: Any) -> Any:
    def apply_output_path(state_def: dict[str, Any], data: Any, ctx: Any = None) -> Any:
        if state_def.get("Type") == "Succeed" and sfn._state_query_language(state_def, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state_def, data, ctx, default=data)
        return original(state_def, data, ctx)

    return apply_output_path


def install() -> None:
    """Evaluate Output of Succeed states."""
    replace(sfn, "_apply_output_path", "state_def, data, ctx", _output)
