# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, machine, output, role, run, task, unique

STATES = "states.amazonaws.com"


def test_conditions_of_the_trust_policy_count(sandbox: Sandbox) -> None:
    states = task("aws-sdk:iot:createThing", {"ThingName": unique("thing")})
    known = {"StringEquals": {"aws:SourceAccount": sandbox.account_id}}
    output(run(sandbox, machine(sandbox, states, role(sandbox, STATES, {"iot:CreateThing": "*"}, known))))
    foreign = {"StringEquals": {"aws:SourceAccount": "111122223333"}}
    with pytest.raises(ClientError, match="not authorized to assume role"):
        machine(sandbox, states, role(sandbox, STATES, {"iot:CreateThing": "*"}, foreign))


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
