# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.stack import (
    describe_stack,
    first_failure,
    in_progress,
    stack_buckets,
)

STACK_ID = "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/1"


@pytest.fixture
def client() -> Any:
    return boto3.client("cloudformation", "eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")


def event(logical: str, status: str, reason: str = "", physical: str = "x") -> dict[str, Any]:
    return {
        "StackId": STACK_ID,
        "EventId": "e",
        "StackName": "s",
        "Timestamp": 0,
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def test_the_first_failure_of_the_last_operation_is_found(client: Any) -> None:
    newest_first = [
        event("s", "UPDATE_ROLLBACK_COMPLETE", physical=STACK_ID),
        event("Late", "UPDATE_FAILED", "it failed later"),
        event("Other", "UPDATE_FAILED", "Resource update cancelled"),
        event("Early", "UPDATE_FAILED", "it failed first"),
        event("s", "UPDATE_IN_PROGRESS", "User Initiated", physical=STACK_ID),
        event("Old", "CREATE_FAILED", "of an earlier operation"),
    ]
    with Stubber(client) as stub:
        stub.add_response("describe_stack_events", {"StackEvents": newest_first[:3], "NextToken": "more"})
        stub.add_response("describe_stack_events", {"StackEvents": newest_first[3:]})
        assert first_failure(client, STACK_ID) == "Early (AWS::SQS::Queue): it failed first"


def test_no_failure_is_no_text(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_response("describe_stack_events", {"StackEvents": []})
        assert first_failure(client, STACK_ID) == ""


def test_a_stack_that_does_not_exist_is_none(client: Any) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("describe_stacks", "ValidationError", "Stack with id s does not exist")
        assert describe_stack(client, "s") is None


def test_a_deleted_stack_is_none(client: Any) -> None:
    stack = {"StackName": "s", "StackStatus": "DELETE_COMPLETE", "CreationTime": 0}
    with Stubber(client) as stub:
        stub.add_response("describe_stacks", {"Stacks": [stack]})
        assert describe_stack(client, STACK_ID) is None


def test_a_throttled_description_is_tried_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    stack = {"StackName": "s", "StackStatus": "CREATE_COMPLETE", "CreationTime": 0}
    with Stubber(client) as stub:
        stub.add_client_error("describe_stacks", "Throttling", "Rate exceeded")
        stub.add_response("describe_stacks", {"Stacks": [stack]})
        assert describe_stack(client, "s") is not None
        stub.assert_no_pending_responses()


def test_only_buckets_that_are_still_there_are_listed(client: Any) -> None:
    def resource(kind: str, status: str, physical: str) -> dict[str, Any]:
        return {
            "LogicalResourceId": "L",
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "ResourceStatus": status,
            "LastUpdatedTimestamp": 0,
        }

    listing = [
        resource("AWS::S3::Bucket", "CREATE_COMPLETE", "there"),
        resource("AWS::S3::Bucket", "DELETE_COMPLETE", "gone"),
        resource("AWS::SQS::Queue", "CREATE_COMPLETE", "queue"),
    ]
    with Stubber(client) as stub:
        stub.add_response("list_stack_resources", {"StackResourceSummaries": listing})
        assert stack_buckets(client, "s") == ["there"]


@pytest.mark.parametrize(
    ("status", "busy"),
    [("UPDATE_ROLLBACK_IN_PROGRESS", True), ("REVIEW_IN_PROGRESS", False), ("CREATE_COMPLETE", False)],
)
def test_a_change_set_that_nobody_executed_is_no_work_in_progress(status: str, busy: bool) -> None:
    assert in_progress({"StackStatus": status}) is busy
