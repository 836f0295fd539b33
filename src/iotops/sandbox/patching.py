# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace names of the pinned base at run time, and refuse to start when the base is not the one we know."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


class BaseChangedError(RuntimeError):
    """The installed base lacks a name that the sandbox extends, or its parameters differ."""


def replace(module: ModuleType | type, name: str, parameters: str, make: Callable[[Any], Any]) -> None:
    """Set ``module.name`` to ``make(original)``.

    ``parameters`` is the expected parameter list of the original as one string, for example ``"data, region"``
    (names only), so that a new release of the base is noticed at start and not in the middle of a run.

    Raises:
        BaseChangedError: the name is missing or its parameters differ.

    """
    original = getattr(module, name, None)
    if original is None:
        raise BaseChangedError(f"{module.__name__}.{name} is gone: install the base version pinned in pyproject.toml")
    found = ", ".join(inspect.signature(original).parameters)
    if found != parameters:
        raise BaseChangedError(
            f"{module.__name__}.{name}({found}) was ({parameters}): install the base version pinned in pyproject.toml"
        )
    setattr(module, name, make(original))
