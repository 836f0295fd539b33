# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: the calls that a stack needs, and what its states mean.

States: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code

__all__ = [
    "REMAINS",
    "create_stack",
    "deployed_template",
    "describe_stack",
    "first_failure",
    "in_progress",
    "is_said",
    "stack_buckets",
    "start_deletion",
    "update_stack",
]

# A stack that never ran: it can only be deleted. REVIEW_IN_PROGRESS is a change set that nobody executed.
REMAINS = frozenset({"CREATE_FAILED", "DELETE_FAILED", "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})


def in_progress(stack: Mapping[str, Any] | None) -> bool:
    """Whether AWS is at work on the stack."""
    status = stack["StackStatus"] if stack else ""
    return bool(status.endswith("_IN_PROGRESS")) and status not in REMAINS


def is_said(error: AnsibleAWSError, words: str) -> bool:
    """Whether AWS refused with these words: CloudFormation has one code, ValidationError, for nearly everything."""
    return error_code(error) == "ValidationError" and words in str(error.exception)


def describe_stack(client: Any, name: str) -> dict[str, Any] | None:
    """The stack, by name or ARN, or None when there is none."""
    try:
        stack = _describe(client, name)
    except AnsibleAWSError as error:
        if is_said(error, "does not exist"):
            return None
        raise
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


@api_call("describe the stack")
def _describe(client: Any, name: str) -> dict[str, Any]:
    stack: dict[str, Any] = client.describe_stacks(StackName=name)["Stacks"][0]
    return stack


@api_call("read the template of the stack")
def deployed_template(client: Any, name: str) -> str | Mapping[str, Any]:
    """The template as it was sent: text, or a dictionary when it is JSON."""
    body: str | Mapping[str, Any] = client.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    return body


@api_call("create the stack")
def create_stack(client: Any, arguments: Mapping[str, Any]) -> None:
    """Start a creation."""
    client.create_stack(**arguments)


@api_call("update the stack")
def update_stack(client: Any, arguments: Mapping[str, Any]) -> None:
    """Start an update."""
    client.update_stack(**arguments)


@api_call("delete the stack")
def start_deletion(client: Any, name: str) -> None:
    """Start a deletion."""
    client.delete_stack(StackName=name)


@api_call("list the buckets of the stack")
def stack_buckets(client: Any, name: str) -> list[str]:
    """Names of the buckets that the stack made and still has."""
    listing = client.get_paginator("list_stack_resources").paginate(StackName=name).build_full_result()
    return [
        item["PhysicalResourceId"]
        for item in listing["StackResourceSummaries"]
        if item["ResourceType"] == "AWS::S3::Bucket"
        and item["ResourceStatus"] != "DELETE_COMPLETE"
        and item.get("PhysicalResourceId")
    ]


@api_call("read the events of the stack")
def first_failure(client: Any, stack_id: str) -> str:
    """The first resource that failed in the last operation, with AWS's reason; empty when no event tells.

    Events come newest first; those that follow the first failure say only that the rest was cancelled.
    """
    found = ""
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        for event in page["StackEvents"]:
            if _starts_operation(event, stack_id):
                return found
            reason = event.get("ResourceStatusReason", "")
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                found = f"{event['LogicalResourceId']} ({event['ResourceType']}): {reason or event['ResourceStatus']}"
    return found


def _starts_operation(event: Mapping[str, Any], stack_id: str) -> bool:
    starts = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
    return event.get("PhysicalResourceId") == stack_id and event["ResourceStatus"] in starts
