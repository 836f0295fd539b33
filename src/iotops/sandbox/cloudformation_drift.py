# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift of AWS::IoT::TopicRule and AWS::IoT::Policy, which the base's drift detection does not read.

Only what a template sets is compared. CloudFormation reads with the caller's permissions: without them the status is
UNKNOWN, and the reason says what is missing.
Sources: DetectStackResourceDrift of the AWS CloudFormation API reference, "Detect unmanaged configuration changes to
stacks and resources with drift detection" of the User Guide, and the read handlers of the two resource types.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_region
from ministack.services import iot
from ministack.services.cloudformation import drift

from iotops.sandbox.patching import BaseChangedError

__all__ = ["install"]

Properties = dict[str, Any]


def _require_allowed(action: str, arn: str) -> None:
    caller = iam_evaluator._verified_key.get()  # empty: the root user
    for each in (action, "iot:ListTagsForResource") if caller else ():
        if iam_evaluator.enforce(caller, each, "iot", get_region(), resource_arn=arn):
            raise PermissionError(f"The caller is not authorized to perform: {each} on resource: {arn}")


def _rule(name: str, wanted: Properties) -> Properties | None:
    arn = iot._topic_rule_arn(name)
    _require_allowed("iot:GetTopicRule", arn)
    rule = iot._topic_rules.get(name)
    if rule is None:
        return None
    set_by_template = wanted.get("TopicRulePayload") or {}
    payload = {key: value for key, value in _as_in_template(rule).items() if key in set_by_template}
    return {"RuleName": name, "TopicRulePayload": payload, "Tags": iot._tags.get(arn) or {}}


def _as_in_template(value: Any) -> Any:
    """Keys with capitals, as CloudFormation has them."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: _as_in_template(item) for key, item in value.items() if item is not None}
    return [_as_in_template(item) for item in value] if isinstance(value, list) else value


def _policy(name: str, wanted: Properties) -> Properties | None:
    arn = iot._policy_arn(name)
    _require_allowed("iot:GetPolicy", arn)
    policy = iot._policies.get(name)
    if policy is None:
        return None
    version = policy["versions"][policy["defaultVersionId"]]
    document, given = json.loads(version["document"]), wanted.get("PolicyDocument")
    if isinstance(given, str):  # which is compared by what it says
        document = given if json.loads(given) == document else version["document"]
    return {"PolicyName": name, "PolicyDocument": document, "Tags": iot._tags.get(arn) or {}}


_READERS: dict[str, tuple[Callable[[str, Properties], Properties | None], frozenset[str]]] = {
    "AWS::IoT::TopicRule": (_rule, frozenset({"RuleName", "TopicRulePayload", "Tags"})),
    "AWS::IoT::Policy": (_policy, frozenset({"PolicyName", "PolicyDocument", "Tags"})),
}


def install() -> None:
    """Add the readers.

    Raises:
        BaseChangedError: the base reads one of the types by now.

    """
    for kind, reader in _READERS.items():
        if kind in drift._DRIFT_READERS:
            raise BaseChangedError(f"the base detects drift of {kind} itself: remove this extension")
        drift._DRIFT_READERS[kind] = reader
