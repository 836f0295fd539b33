# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

pytest.importorskip("ministack", reason="the sandbox's base is not installed")

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import cloudformation

from iotops.sandbox import interrupted_stacks


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CREATE_IN_PROGRESS", "CREATE_FAILED"),
        ("UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"),
        ("DELETE_IN_PROGRESS", "DELETE_FAILED"),
        ("REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS"),
        ("UPDATE_COMPLETE", "UPDATE_COMPLETE"),
    ],
)
def test_no_operation_is_in_progress_after_a_start(monkeypatch, before, after):
    stacks = AccountRegionScopedDict()
    stacks.set_scoped("000000000000", "eu-west-1", "s", {"StackStatus": before})
    monkeypatch.setattr(cloudformation, "_stacks", stacks)
    interrupted_stacks._load(lambda _data: None)({})
    assert stacks.get_scoped("000000000000", "eu-west-1", "s")["StackStatus"] == after
