# SPDX-License-Identifier: GPL-3.0-or-later
"""Topic rules and policies that somebody changed are what they are to be again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.deployment import Deployment
from tests.integration.operators import HOME, at, four_times
from tests.integration.sandbox.fleet import ALLOW

RULE, POLICY, OTHER = "test_fleet_register_device", "test-fleet-device", "drift-other"
SQL = "SELECT * FROM 'nothing'"


@pytest.fixture
def iot(deployment: Deployment) -> Iterator[Any]:
    """AWS IoT of the region, in which nothing has drifted before and after."""
    assert not run(deployment)["changed"]
    yield deployment.sandbox.client("iot", HOME)
    run(deployment)


def run(deployment: Deployment, *, check: bool = False) -> dict[str, Any]:
    stacks = [f"{deployment.application}-{name}" for name in ("onboarding", "messages", "not-deployed")]
    common = {"application": deployment.application, "state": "absent", "stacks": stacks}
    return at(deployment).run("fleet_drift", check=check, **common)


def rule_of(iot: Any) -> dict[str, Any]:
    """The rule, without when it was made; {} when there is none."""
    if RULE not in [each["ruleName"] for each in iot.list_topic_rules()["rules"]]:
        return {}
    return {key: value for key, value in iot.get_topic_rule(ruleName=RULE)["rule"].items() if key != "createdAt"}


def policy_of(iot: Any, name: str = POLICY) -> dict[str, Any]:
    """Default version, document, and all versions."""
    found = iot.get_policy(policyName=name)
    versions = sorted(int(each["versionId"]) for each in iot.list_policy_versions(policyName=name)["policyVersions"])
    default, document = int(found["defaultVersionId"]), json.loads(found["policyDocument"])
    return {"default": default, "document": document, "versions": versions}


def _another_sql(iot: Any) -> None:
    rule = rule_of(iot)
    kept = {key: rule[key] for key in ("actions", "errorAction", "ruleDisabled", "awsIotSqlVersion", "description")}
    iot.replace_topic_rule(ruleName=RULE, topicRulePayload={**kept, "sql": SQL})


@pytest.mark.parametrize(
    "change",
    [_another_sql, lambda iot: iot.disable_topic_rule(ruleName=RULE), lambda iot: iot.delete_topic_rule(ruleName=RULE)],
    ids=["changed", "disabled", "deleted"],
)
def test_a_topic_rule_is_what_its_stack_made_it(
    deployment: Deployment, iot: Any, change: Callable[[Any], None]
) -> None:
    before = rule_of(iot)
    change(iot)
    assert rule_of(iot) != before
    existed = bool(rule_of(iot))
    answer = four_times(lambda check: run(deployment, check=check), lambda: rule_of(iot))
    assert rule_of(iot) == before
    assert answer["drift"] == [{"kind": "topic_rule", "name": RULE, "existed": existed}]


def test_a_device_is_registered_by_a_rule_that_was_put_back(deployment: Deployment, iot: Any) -> None:
    iot.delete_topic_rule(ruleName=RULE)
    run(deployment)
    deployment.admit(deployment.issue("after-drift"), HOME)


def test_the_fleets_policy_says_what_its_stack_says(deployment: Deployment, iot: Any) -> None:
    before = policy_of(iot)
    iot.create_policy_version(policyName=POLICY, policyDocument=ALLOW, setAsDefault=True)
    answer = four_times(lambda check: run(deployment, check=check), lambda: policy_of(iot))
    after = policy_of(iot)
    assert after["document"] == before["document"]
    assert after["default"] == max(after["versions"])
    assert answer["drift"] == [{"kind": "policy", "name": POLICY, "existed": True}]


def test_of_five_versions_the_oldest_goes(deployment: Deployment, iot: Any) -> None:
    document = policy_of(iot)["document"]
    while len(policy_of(iot)["versions"]) < 5:
        iot.create_policy_version(policyName=POLICY, policyDocument=ALLOW, setAsDefault=True)
    before = policy_of(iot)["versions"]
    run(deployment)
    after = policy_of(iot)
    assert after["document"] == document
    assert after["versions"] == [*before[1:], after["default"]]


def test_a_default_version_that_is_not_the_latest_is_written_again(deployment: Deployment, iot: Any) -> None:
    run(deployment)
    before = policy_of(iot)
    for version in before["versions"]:
        if version != before["default"]:
            iot.delete_policy_version(policyName=POLICY, policyVersionId=str(version))
    iot.create_policy_version(policyName=POLICY, policyDocument=ALLOW, setAsDefault=False)
    four_times(lambda check: run(deployment, check=check), lambda: policy_of(iot))
    after = policy_of(iot)
    assert after["document"] == before["document"]
    assert after["default"] == max(after["versions"])


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "deleted"])
def test_a_policy_of_the_definitions_says_what_they_say(deployment: Deployment, iot: Any, gone: bool) -> None:
    wanted = json.loads(ALLOW) | {"Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    item = {"Name": f"policy#{OTHER}", "Document": json.dumps(wanted), "Region": HOME, "State": "ACTIVE"}
    table = {"TableName": f"{deployment.application}-definitions"}
    dynamodb = deployment.sandbox.client("dynamodb", HOME)
    dynamodb.put_item(**table, Item=deployment.image(item))
    if not gone:
        iot.create_policy(policyName=OTHER, policyDocument=ALLOW)
    try:
        answer = run(deployment)
        assert answer["drift"] == [{"kind": "policy", "name": OTHER, "existed": not gone}]
        assert policy_of(iot, OTHER)["document"] == wanted
        assert not run(deployment)["changed"]
    finally:
        dynamodb.delete_item(**table, Key={"Name": {"S": item["Name"]}})
        for version in policy_of(iot, OTHER)["versions"][:-1]:
            iot.delete_policy_version(policyName=OTHER, policyVersionId=str(version))
        iot.delete_policy(policyName=OTHER)


def test_the_fleets_policy_is_made_again_when_somebody_deleted_it(deployment: Deployment, iot: Any) -> None:
    document = policy_of(iot)["document"]
    pages = iot.get_paginator("list_targets_for_policy").paginate(policyName=POLICY)
    targets = [target for page in pages for target in page["targets"]]
    for target in targets:
        iot.detach_policy(policyName=POLICY, target=target)
    for version in policy_of(iot)["versions"]:
        if version != policy_of(iot)["default"]:
            iot.delete_policy_version(policyName=POLICY, policyVersionId=str(version))
    iot.delete_policy(policyName=POLICY)
    answer = run(deployment)
    assert answer["drift"] == [{"kind": "policy", "name": POLICY, "existed": False}]
    assert policy_of(iot)["document"] == document
    for target in targets:
        iot.attach_policy(policyName=POLICY, target=target)
