# SPDX-License-Identifier: GPL-3.0-or-later
"""Orders inside a stack that AWS asks for and that no reference between the resources gives."""

from __future__ import annotations

import pytest

from tests.unit.iam.test_machine_roles import many, template


@pytest.mark.parametrize(
    ("stack", "later", "earlier"),
    [
        pytest.param("replication", "Pipe", "ConvergeDeviceRule", id="an event finds its rule"),
        pytest.param("onboarding", "DeviceType", "DevicePolicy", id="a detached policy has five minutes to go"),
        pytest.param("endpoint", "Record", "DomainConfiguration", id="the name leads to what serves it"),
    ],
)
def test_a_resource_is_made_after_and_deleted_before_another(stack: str, later: str, earlier: str) -> None:
    assert earlier in many(template(stack)["Resources"][later]["DependsOn"])
