# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that CloudFormation makes up differ from region to region.

The base derives them from the stack's name and the logical id alone, so that stacks of one name in two regions would
share whatever is global, such as IAM roles. On AWS each stack has random characters of its own.
"""

from __future__ import annotations

from typing import Any

from ministack.core.responses import get_region
from ministack.services.cloudformation import provisioners

from iotops.sandbox.patching import replace

__all__ = ["install"]


def _regional(original: Any) -> Any:
    def physical_name(
        stack_name: str, logical_id: str, *, lowercase: bool = False, max_len: int = 128, seeded: bool = True
    ) -> str:
        seed = provisioners._NAME_SEED.get() if seeded else ""
        token = provisioners._NAME_SEED.set(f"{get_region()}:{seed}")
        try:
            name: str = original(stack_name, logical_id, lowercase=lowercase, max_len=max_len)
        finally:
            provisioners._NAME_SEED.reset(token)
        return name

    return physical_name


def install() -> None:
    """Put the region into the seed of made-up names."""
    replace(provisioners, "_physical_name", "stack_name, logical_id, lowercase, max_len, seeded", _regional)
