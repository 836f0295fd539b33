# SPDX-License-Identifier: GPL-3.0-or-later
"""What an execution answers is what its last state says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, finished, machine, role


@pytest.mark.parametrize(
    ("last", "output"),
    [
        ({"Type": "Succeed", "Output": {"Outcome": "{% $states.input.color %}"}}, {"Outcome": "red"}),
        ({"Type": "Succeed"}, {"color": "red"}),
    ],
)
def test_a_succeed_state_decides_about_the_output(sandbox: Sandbox, last: dict[str, Any], output: Any) -> None:
    arn = machine(sandbox, {"Last": last}, role(sandbox, "states.amazonaws.com", {"iot:DescribeThing": "*"}))
    execution = sandbox.client("stepfunctions", REGION).start_execution(
        stateMachineArn=arn, input=json.dumps({"color": "red"})
    )
    assert json.loads(finished(sandbox, execution["executionArn"])["output"]) == output
