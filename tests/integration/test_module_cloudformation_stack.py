# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ansible_collections.iotops.fleet.plugins.filter.replica_steps import replica_steps
from iotops.sandbox.client import Sandbox
from tests.integration.modules import Region

MODULE = "cloudformation_stack"
QUEUE = """
Parameters:
  Name: {Type: String}
  Delay: {Type: Number, Default: 0}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Ref Name, DelaySeconds: !Ref Delay}
Outputs:
  QueueArn: {Value: !GetAtt Queue.Arn}
"""
BUCKET = """
Parameters:
  Name: {Type: String}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Ref Name, VersioningConfiguration: {Status: Enabled}}
"""


class Stack:
    """One stack under test."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.name = f"test-{uuid.uuid4().hex[:12]}"

    def given(self, **params: Any) -> dict[str, Any]:
        """The module's parameters: a queue named like the stack, unless ``params`` say otherwise."""
        body = {"template_body": QUEUE, "template_parameters": {"Name": self.name}, "wait_timeout": 300}
        return {"stack_name": self.name, **body, **params}

    def run(self, *, check: bool = False, **params: Any) -> dict[str, Any]:
        return self.region.run(MODULE, check=check, **self.given(**params))

    def refusal(self, **params: Any) -> str:
        return self.region.refusal(MODULE, **self.given(**params))

    def remove(self, **params: Any) -> dict[str, Any]:
        return self.region.run(MODULE, stack_name=self.name, state="absent", **params)

    def described(self) -> dict[str, Any] | None:
        try:
            return dict(self.region.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0])
        except ClientError:
            return None


@pytest.fixture
def stack(region: Region) -> Iterator[Stack]:
    made = Stack(region)
    yield made
    made.remove(empty_buckets=True)


@pytest.fixture
def bucket(region: Region) -> Iterator[str]:
    """A bucket for artifacts, made by a stack of its own."""
    made = Stack(region)
    made.run(template_body=BUCKET)
    yield made.name
    made.remove(empty_buckets=True)


def test_creation_is_predicted_done_and_then_unchanged(stack: Stack):
    predicted = stack.run(check=True, tags={"Application": "demo"})
    assert predicted["changed"]
    assert predicted["stack_status"] == "ABSENT"
    assert predicted["parameters"] == {"Name": stack.name, "Delay": "0"}
    assert [part["after_header"].split(", ")[1] for part in predicted["diff"]] == ["template", "parameters", "tags"]
    assert stack.described() is None

    done = stack.run(tags={"Application": "demo"})
    assert done["changed"]
    assert done["stack_status"] == "CREATE_COMPLETE"
    assert done["outputs"]["QueueArn"].endswith(stack.name)
    assert done["parameters"] == predicted["parameters"]
    assert done["diff"] == predicted["diff"]

    again = stack.run(tags={"Application": "demo"})
    assert not again["changed"]
    assert again["outputs"] == done["outputs"]
    assert not stack.run(check=True, tags={"Application": "demo"})["changed"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"template_parameters": {"Name": "", "Delay": 5}}, "parameters"),
        ({"template_body": QUEUE + "  Again: {Value: !GetAtt Queue.Arn}\n"}, "template"),
        ({"tags": {"Application": "other"}}, "tags"),
    ],
)
def test_a_modification_is_predicted_done_and_then_unchanged(stack: Stack, change: dict[str, Any], what: str):
    stack.run(tags={"Application": "demo"})
    if "template_parameters" in change:
        change = {"template_parameters": {**change["template_parameters"], "Name": stack.name}}
    wanted = {"tags": {"Application": "demo"}, **change}

    predicted = stack.run(check=True, **wanted)
    assert predicted["changed"]
    assert [part["after_header"].split(", ")[1] for part in predicted["diff"]] == [what]
    assert not stack.run(tags={"Application": "demo"})["changed"]

    done = stack.run(**wanted)
    assert done["changed"]
    assert done["stack_status"] == "UPDATE_COMPLETE"
    assert done["diff"] == predicted["diff"]
    assert not stack.run(**wanted)["changed"]


def test_a_parameter_that_is_no_longer_given_returns_to_its_default(stack: Stack):
    stack.run(template_parameters={"Name": stack.name, "Delay": 5})
    assert stack.run()["parameters"]["Delay"] == "0"


def test_tags_that_are_not_given_are_left_alone(stack: Stack):
    stack.run(tags={"Application": "demo"})
    assert not stack.run()["changed"]
    stack.run(template_parameters={"Name": stack.name, "Delay": 5})
    assert (stack.described() or {})["Tags"] == [{"Key": "Application", "Value": "demo"}]


def test_deletion_is_predicted_done_and_then_unchanged(stack: Stack):
    stack.run()
    assert stack.region.run(MODULE, check=True, stack_name=stack.name, state="absent")["changed"]
    assert stack.described()

    assert stack.remove()["changed"]
    assert stack.described() is None
    assert not stack.remove()["changed"]


def test_an_unchanged_stack_costs_two_reads(stack: Stack, sandbox: Sandbox):
    stack.run()
    before = sandbox.now()
    stack.run()
    calls = [call["operation"] for call in sandbox.journal(before, region=stack.region.name)]
    assert calls == ["DescribeStacks", "GetTemplate"]


def test_check_mode_writes_nothing(stack: Stack, bucket: str, sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "code.zip").write_bytes(b"code")
    before = sandbox.now()
    artifacts = [{"parameter": "Name", "path": str(tmp_path / "code.zip")}]
    stack.run(check=True, artifact_bucket=bucket, artifacts=artifacts, template_parameters={})
    calls = {call["operation"] for call in sandbox.journal(before, region=stack.region.name)}
    assert calls == {"DescribeStacks"}


def test_artifacts_are_stored_once_and_change_the_stack_with_their_content(stack: Stack, bucket: str, tmp_path: Path):
    template = QUEUE.replace("Parameters:", "Parameters:\n  Key: {Type: String}")
    code = tmp_path / "code.zip"
    code.write_bytes(b"one")
    given: dict[str, Any] = {
        "template_body": template,
        "artifact_bucket": bucket,
        "artifacts": [{"parameter": "Key", "path": str(code)}],
    }

    first = stack.run(**given)["parameters"]["Key"]
    assert first.endswith("/code.zip")
    assert not stack.run(**given)["changed"]
    code.write_bytes(b"two")
    second = stack.run(**given)["parameters"]["Key"]
    code.write_bytes(b"one")
    assert stack.run(**given)["parameters"]["Key"] == first

    versions = stack.region.client("s3").list_object_versions(Bucket=bucket)["Versions"]
    assert sorted(version["Key"] for version in versions) == sorted([first, second])


def test_a_large_template_goes_through_the_bucket(stack: Stack, bucket: str):
    large = QUEUE + "".join(f"  O{number}: {{Value: '{'x' * 1000}'}}\n" for number in range(60))
    assert "set artifact_bucket" in stack.refusal(template_body=large)
    assert stack.run(template_body=large, artifact_bucket=bucket)["changed"]
    assert not stack.run(template_body=large, artifact_bucket=bucket)["changed"]


def test_a_failed_creation_says_why_and_is_repaired_by_the_next_run(stack: Stack):
    message = stack.refusal(template_parameters={"Name": stack.name, "Delay": 99999})
    assert message.startswith(
        f"Stack {stack.name} in {stack.region.name} could not be created (ROLLBACK_COMPLETE): Queue"
    )
    assert (stack.described() or {})["StackStatus"] == "ROLLBACK_COMPLETE"

    assert stack.run(check=True)["changed"]
    assert stack.run()["stack_status"] == "CREATE_COMPLETE"


def test_a_failed_update_says_why_and_is_repaired_by_the_next_run(stack: Stack):
    stack.run()
    assert "could not be updated (UPDATE_ROLLBACK_COMPLETE): Queue" in stack.refusal(
        template_parameters={"Name": stack.name, "Delay": 99999}
    )
    assert stack.run(template_parameters={"Name": stack.name, "Delay": 5})["changed"]


def test_what_another_run_has_started_is_waited_for(stack: Stack):
    stack.region.client("cloudformation").create_stack(
        StackName=stack.name,
        TemplateBody=QUEUE,
        Parameters=[{"ParameterKey": "Name", "ParameterValue": stack.name}],
    )
    answer = stack.run()
    assert not answer["changed"]
    assert answer["stack_status"] == "CREATE_COMPLETE"


@pytest.mark.parametrize("operation", ["CreateStack", "UpdateStack"])
def test_a_lost_answer_does_no_harm(stack: Stack, sandbox: Sandbox, operation: str):
    if operation == "UpdateStack":
        stack.run()
    sandbox.fault(service="cloudformation", operation=operation, effect="fail-after", times=1)
    try:
        stack.run(template_parameters={"Name": stack.name, "Delay": 5})
    finally:
        sandbox.clear_faults()
    assert not stack.run(template_parameters={"Name": stack.name, "Delay": 5})["changed"]


def test_throttling_is_ridden_out(stack: Stack, sandbox: Sandbox):
    sandbox.fault(service="cloudformation", effect="throttle", times=3)
    try:
        assert stack.run()["changed"]
    finally:
        sandbox.clear_faults()


def test_all_versions_in_the_buckets_go_before_the_stack_when_told(stack: Stack, sandbox: Sandbox):
    stack.run(template_body=BUCKET)
    storage = stack.region.client("s3")
    for content in (b"one", b"two"):
        storage.put_object(Bucket=stack.name, Key="key", Body=content)
    storage.delete_object(Bucket=stack.name, Key="key")

    before = sandbox.now()
    assert stack.remove(empty_buckets=True)["changed"]
    operations = [call["operation"] for call in sandbox.journal(before, region=stack.region.name)]
    assert operations.index("DeleteObjects") < operations.index("DeleteStack")
    assert stack.described() is None


def test_a_table_that_may_not_go_yet_is_reported_and_goes_later(stack: Stack, other_region: Region, sandbox: Sandbox):
    template = Path("files/cloudformation/global.yaml").read_text(encoding="utf-8")
    regions = [stack.region.name, other_region.name]
    [body] = replica_steps(template, [], regions, stack.region.name)
    stack.run(template_body=body, template_parameters={"Application": stack.name})
    sandbox.replication(source_table_lock_seconds=3600)
    try:
        message = stack.region.refusal(MODULE, stack_name=stack.name, state="absent")
    finally:
        sandbox.replication(source_table_lock_seconds=0)
    assert f"Stack {stack.name} in {stack.region.name} could not be deleted (DELETE_FAILED): " in message
    assert message.endswith("AWS keeps a table for 24 hours after it seeded a replica: run again when they are over")
    assert stack.remove()["changed"]


def test_a_table_that_is_there_is_adopted_and_stays_so(stack: Stack):
    template = """
Parameters:
  Create: {Type: String}
  Delay: {Type: String, Default: "1"}
Conditions:
  Create: !Equals [!Ref Create, "true"]
Resources:
  Marker: {Type: AWS::CloudFormation::WaitConditionHandle}
  Table:
    Type: AWS::DynamoDB::Table
    Condition: Create
    Properties:
      TableName: TABLE
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: k, AttributeType: S}]
      KeySchema: [{AttributeName: k, KeyType: HASH}]
""".replace("TABLE", stack.name)
    dynamodb = stack.region.client("dynamodb")
    dynamodb.create_table(
        TableName=stack.name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
    )
    given: dict[str, Any] = {"template_body": template, "adopted_tables": {"Create": stack.name}}

    assert stack.run(**given, template_parameters={})["parameters"]["Create"] == "false"
    dynamodb.delete_table(TableName=stack.name)
    again = stack.run(**given, template_parameters={"Delay": "2"})
    assert again["parameters"] == {"Create": "false", "Delay": "2"}

    stack.remove()
    assert stack.run(**given, template_parameters={})["parameters"]["Create"] == "true"


def test_bad_input_is_refused_before_any_call(stack: Stack, sandbox: Sandbox, tmp_path: Path):
    before = sandbox.now()
    artifact = [{"parameter": "Name", "path": str(tmp_path / "missing.zip")}]
    assert "has no Resources" in stack.refusal(template_body="{}")
    assert "artifacts need artifact_bucket" in stack.refusal(artifacts=artifact)
    assert "missing.zip does not exist" in stack.refusal(artifacts=artifact, artifact_bucket="b")
    assert sandbox.journal(before, service="cloudformation", operation="CreateStack") == []
