# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, machine, output, role, run, task, unique

STATES = "states.amazonaws.com"


@pytest.mark.parametrize(("key", "assumable"), [("aws:SourceAccount", True), ("aws:PrincipalOrgID", False)])
def test_conditions_of_the_trust_policy_count(sandbox: Sandbox, key: str, assumable: bool) -> None:
    condition = {"StringEquals": {key: sandbox.account_id}}
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"}, condition)
    execution = run(sandbox, machine(sandbox, task("aws-sdk:iot:createThing", {"ThingName": unique("thing")}), arn))
    assert (execution["status"] == "SUCCEEDED") is assumable


def test_role_that_is_gone_cannot_be_used(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"})
    states = machine(sandbox, task("aws-sdk:iot:createThing", {"ThingName": unique("thing")}), arn)
    output(run(sandbox, states))
    iam, name = sandbox.client("iam", REGION), arn.rsplit("/", 1)[-1]
    iam.delete_role_policy(RoleName=name, PolicyName="test")
    iam.delete_role(RoleName=name)
    assert run(sandbox, states)["error"] == "States.Permissions"


def test_many_tasks_call_at_once(sandbox: Sandbox) -> None:
    arn = role(sandbox, STATES, {"iot:CreateThing": "*"})
    states = machine(
        sandbox, task("aws-sdk:iot:createThing", {"ThingName": "{% 'many-' & $states.context.Execution.Name %}"}), arn
    )
    with ThreadPoolExecutor(8) as pool:
        executions = list(pool.map(lambda _: run(sandbox, states), range(24)))
    assert {execution["status"] for execution in executions} == {"SUCCEEDED"}
