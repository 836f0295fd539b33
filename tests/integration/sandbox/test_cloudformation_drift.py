# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift of topic rules and IoT policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, queue, role, unique
from tests.integration.sandbox.test_iam_requests import role_client

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": {"Fn::Sub": "${Prefix}/*"}}],
}


class Drifting:
    """A stack of a rule, a policy and a thing type."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.name, self.rule, self.policy = unique("drift"), unique("rule").replace("-", "_"), unique("policy")
        self.client, self.iot = (sandbox.client(service, REGION) for service in ("cloudformation", "iot"))
        self.url, arn = queue(sandbox)
        self.role = role(sandbox, "iot.amazonaws.com", {"sqs:SendMessage": arn})
        payload = {
            "Sql": "SELECT * FROM 'a/b'",
            "AwsIotSqlVersion": "2016-03-23",
            "RuleDisabled": False,
            "Actions": [{"Sqs": {"QueueUrl": self.url, "RoleArn": self.role, "UseBase64": False}}],
        }
        resources = {
            "Rule": {
                "Type": "AWS::IoT::TopicRule",
                "Properties": {"RuleName": self.rule, "TopicRulePayload": payload},
            },
            "Policy": {
                "Type": "AWS::IoT::Policy",
                "Properties": {"PolicyName": self.policy, "PolicyDocument": DOCUMENT},
            },
            "Type": {"Type": "AWS::IoT::ThingType", "Properties": {"ThingTypeName": unique("type")}},
        }
        template = {
            "Parameters": {"Prefix": {"Type": "String", "Default": "arn:aws:iot:client"}},
            "Resources": resources,
        }
        self.client.create_stack(
            StackName=self.name, TemplateBody=json.dumps(template), Tags=[{"Key": "fleet", "Value": "test"}]
        )
        assert eventually(lambda: self._status() == "CREATE_COMPLETE")

    def _status(self) -> str:
        return str(self.client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

    def drift(self, resource: str, client: Any = None) -> dict[str, Any]:
        answer = (client or self.client).detect_stack_resource_drift(StackName=self.name, LogicalResourceId=resource)
        found: dict[str, Any] = answer["StackResourceDrift"]
        return found

    def differences(self, resource: str) -> list[tuple[str, str]]:
        found = self.drift(resource)
        assert found["StackResourceDriftStatus"] == "MODIFIED"
        return [(each["PropertyPath"], each["DifferenceType"]) for each in found["PropertyDifferences"]]


@pytest.fixture
def stack(sandbox: Sandbox) -> Drifting:
    return Drifting(sandbox)


@pytest.mark.parametrize("resource", ["Rule", "Policy"])
def test_what_nobody_touched_is_in_sync(stack: Drifting, resource: str) -> None:
    found = stack.drift(resource)
    assert found["StackResourceDriftStatus"] == "IN_SYNC"
    assert not found.get("PropertyDifferences")
    assert json.loads(found["ExpectedProperties"]) == json.loads(found["ActualProperties"])
    listed = stack.client.describe_stack_resources(StackName=stack.name)["StackResources"]
    one = next(each for each in listed if each["LogicalResourceId"] == resource)
    assert one["DriftInformation"]["StackResourceDriftStatus"] == "IN_SYNC"
    assert one["PhysicalResourceId"] == found["PhysicalResourceId"]


def test_a_rule_that_somebody_changed(stack: Drifting) -> None:
    stack.iot.disable_topic_rule(ruleName=stack.rule)
    assert stack.differences("Rule") == [("/TopicRulePayload/RuleDisabled", "NOT_EQUAL")]
    action = {"queueUrl": stack.url, "roleArn": stack.role, "useBase64": True}
    stack.iot.replace_topic_rule(
        ruleName=stack.rule,
        topicRulePayload={"sql": "SELECT a FROM 'a/b'", "ruleDisabled": False, "actions": [{"sqs": action}]},
    )
    found = stack.drift("Rule")
    changed = {
        each["PropertyPath"]: (each["ExpectedValue"], each["ActualValue"]) for each in found["PropertyDifferences"]
    }
    assert changed == {
        "/TopicRulePayload/Sql": ("SELECT * FROM 'a/b'", "SELECT a FROM 'a/b'"),
        "/TopicRulePayload/Actions/0/Sqs/UseBase64": ("false", "true"),
    }
    actual = json.loads(found["ActualProperties"])
    assert actual["TopicRulePayload"]["Actions"][0]["Sqs"]["QueueUrl"] == stack.url


def test_a_policy_that_somebody_changed(stack: Drifting) -> None:
    expected = json.loads(stack.drift("Policy")["ExpectedProperties"])["PolicyDocument"]
    assert expected["Statement"][0]["Resource"] == "arn:aws:iot:client/*", "with its parameters resolved"
    wider = {**expected, "Statement": [{**expected["Statement"][0], "Resource": "*"}]}
    stack.iot.create_policy_version(policyName=stack.policy, policyDocument=json.dumps(wider), setAsDefault=False)
    assert stack.drift("Policy")["StackResourceDriftStatus"] == "IN_SYNC", "another version is in force"
    stack.iot.set_default_policy_version(policyName=stack.policy, policyVersionId="2")
    assert stack.differences("Policy") == [("/PolicyDocument/Statement/0/Resource", "NOT_EQUAL")]


def test_what_somebody_deleted(stack: Drifting) -> None:
    stack.iot.delete_topic_rule(ruleName=stack.rule)
    stack.iot.delete_policy(policyName=stack.policy)
    assert {stack.drift(each)["StackResourceDriftStatus"] for each in ("Rule", "Policy")} == {"DELETED"}


def test_what_cannot_be_checked_is_refused(stack: Drifting) -> None:
    for resource in ("Type", "Nobody"):
        with pytest.raises(ClientError, match="ValidationError"):
            stack.drift(resource)


def test_the_caller_has_to_be_allowed_to_detect_and_to_read(sandbox: Sandbox, stack: Drifting) -> None:
    read = {"Action": ["iot:GetTopicRule", "iot:ListTagsForResource"], "Resource": "*"}
    detect = {"Action": "cloudformation:DetectStackResourceDrift", "Resource": "*"}
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.drift("Rule", role_client(sandbox, unique("reads"), "cloudformation", read))
    blind = stack.drift("Rule", role_client(sandbox, unique("detects"), "cloudformation", detect))
    assert blind["StackResourceDriftStatus"] == "UNKNOWN"
    assert "not authorized to perform: iot:GetTopicRule" in blind["DriftStatusReason"]
    both = role_client(sandbox, unique("both"), "cloudformation", detect, read)
    assert stack.drift("Rule", both)["StackResourceDriftStatus"] == "IN_SYNC"
