# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from types import ModuleType

import pytest

from iotops.sandbox.patching import BaseChangedError, replace


@pytest.fixture
def module():
    made = ModuleType("made")
    made.double = lambda number, times=2: number * times
    return made


def test_a_name_is_replaced_by_what_is_made_of_the_original(module):
    replace(module, "double", "number, times", lambda original: lambda number: original(number) + 1)
    assert module.double(3) == 7


@pytest.mark.parametrize(("name", "parameters"), [("triple", "number"), ("double", "number"), ("double", "times, x")])
def test_a_base_that_is_not_the_known_one_is_noticed(module, name, parameters):
    with pytest.raises(BaseChangedError, match=rf"made\.{name}.*pinned in pyproject"):
        replace(module, name, parameters, lambda original: original)
    assert module.double(1) == 2
