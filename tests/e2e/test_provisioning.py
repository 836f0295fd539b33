# SPDX-License-Identifier: GPL-3.0-or-later
"""The provisioning API as an operator deploys it, and the first device that comes in by it."""

from __future__ import annotations

import pytest

from tests.e2e.fleet import Overheard

FIRST = ("playbooks/provisioning_api.yml", "-e", "fleet_provisioning_first_device=dev-first")


@pytest.mark.long  # in short: the molecule scenario and the integration tests
def test_a_device_comes_in_by_the_api_and_a_second_run_changes_nothing(overheard: Overheard) -> None:
    """That nothing of it is left is in test_teardown, which takes this fleet down."""
    fleet = overheard.fleet
    fleet.sandbox.viewers({"127.0.0.1": "8.8.8.8"})
    first = fleet.run(*FIRST).ok()
    assert "dev-first belongs to us-west-2" in first.output
    again = fleet.run(*FIRST).ok()
    assert set(again.changed.values()) == {0}, again.changes
