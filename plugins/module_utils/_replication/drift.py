# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Topic rules and policies that are not what their stack made them, by CloudFormation's own drift detection.

https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DetectStackResourceDrift.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

__all__ = ["Drift", "again", "drifted", "drifts"]

FAULTS = {"AWS::IoT::TopicRule": "topic_rule", "AWS::IoT::Policy": "policy_document"}
IN_SYNC = "IN_SYNC"


@dataclass(frozen=True)
class Drift:
    """A resource of a stack as it is to be, and how it differs.

    ``expected`` has CloudFormation's names, and is empty where the resource was deleted: then CloudFormation tells not.
    """

    stack_name: str
    logical_id: str
    kind: str
    name: str
    status: str  # IN_SYNC, MODIFIED or DELETED
    expected: dict[str, Any]
    properties: tuple[str, ...]  # that differ


def drifts(cloudformation: Any, stack_names: Iterable[str]) -> list[Drift]:
    """Of the topic rules and policies of these stacks; a stack that does not exist has none."""
    found = [
        _drift(cloudformation, stack_name, resource["LogicalResourceId"])
        for stack_name in stack_names
        for resource in _resources(cloudformation, stack_name) or []
        if resource["ResourceType"] in FAULTS
    ]
    return [drift for drift in found if drift.status != IN_SYNC]


def again(cloudformation: Any, drift: Drift) -> Drift:
    """The same resource as it is now."""
    return _drift(cloudformation, drift.stack_name, drift.logical_id)


def drifted(cloudformation: Any, stack_names: Iterable[str]) -> list[Fault]:
    """The same as faults of the region."""
    return [
        Fault(FAULTS[each.kind], "", "", f"{each.name}: {', '.join(each.properties) or each.status.lower()}")
        for each in drifts(cloudformation, stack_names)
    ]


def _drift(cloudformation: Any, stack_name: str, logical_id: str) -> Drift:
    found = _detect(cloudformation, stack_name, logical_id)
    return Drift(
        stack_name,
        logical_id,
        found["ResourceType"],
        found["PhysicalResourceId"],
        found["StackResourceDriftStatus"],
        json.loads(found.get("ExpectedProperties", "{}")),
        tuple(sorted(each["PropertyPath"] for each in found.get("PropertyDifferences", []))),
    )


@none_if_missing
@api_call("list the resources of a stack")
def _resources(cloudformation: Any, stack_name: str) -> list[dict[str, Any]] | None:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    try:
        return [resource for page in pages for resource in page["StackResourceSummaries"]]
    except cloudformation.exceptions.ClientError as error:
        if "does not exist" in str(error):  # a ValidationError, as many others are
            return None
        raise


@api_call("detect whether a resource of a stack has drifted")
def _detect(cloudformation: Any, stack_name: str, logical_id: str) -> dict[str, Any]:
    answer = cloudformation.detect_stack_resource_drift(StackName=stack_name, LogicalResourceId=logical_id)
    return dict(answer["StackResourceDrift"])
