# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Topic rules and policies of a region made what they are to be again.

What a stack made, CloudFormation knows and does not write again while the template stays; what is in ``definitions`` is
written when it changes. Limits of versions: https://docs.aws.amazon.com/iot/latest/apireference/API_CreatePolicyVersion.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.policy_documents import Document
from ansible_collections.iotops.fleet.plugins.module_utils._replication.drift import Drift
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

__all__ = ["Change", "changes"]

VERSIONS = 5  # that AWS keeps of a policy
RULE, POLICY = "AWS::IoT::TopicRule", "AWS::IoT::Policy"
# What stands for a resource until it is known how it has to be.
NOTHING = {"sql": "SELECT * FROM 'nothing'", "actions": [], "ruleDisabled": True}
DENIAL = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]}


@dataclass(frozen=True)
class Change:
    """What ``make`` does to a topic rule or a policy, which is ``before`` (empty: there is none) and ``after``."""

    kind: str
    name: str
    before: dict[str, Any]
    after: dict[str, Any]
    make: Callable[[], None]


def changes(
    iot: Any, drifts: Iterable[Drift], own: str, documents: Mapping[str, Document], again: Callable[[Drift], Drift]
) -> list[Change]:
    """What is to be done about drifts, about the policies of ``definitions``, and about the fleet's ``own`` policy.

    ``documents``: what the policies of ``definitions`` have to say in this region, by name. ``again`` detects a drift
    again.
    """
    drifts = list(drifts)
    gone = [_deleted(iot, drift, again) for drift in drifts if drift.status == "DELETED"]
    there = [drift for drift in drifts if drift.status != "DELETED"]
    rules = [_rule(iot, drift) for drift in there if drift.kind == RULE]
    wanted: dict[str, Document | None] = {own: None, **documents}
    wanted |= {drift.name: _document(drift.expected["PolicyDocument"]) for drift in there if drift.kind == POLICY}
    policies = [_policy(iot, name, document) for name, document in sorted(wanted.items())]
    return [change for change in (*gone, *rules, *policies) if change]


def _deleted(iot: Any, drift: Drift, again: Callable[[Drift], Drift]) -> Change:
    """CloudFormation tells how a resource is to be only when there is one, so one that does nothing comes first."""

    def make() -> None:
        if drift.kind == RULE:
            _create_rule(iot, drift.name, NOTHING)
            _rule(iot, again(drift)).make()
        else:
            _create_policy(iot, drift.name, DENIAL)
            if change := _policy(iot, drift.name, _document(again(drift).expected["PolicyDocument"])):
                change.make()

    return Change("topic_rule" if drift.kind == RULE else "policy", drift.name, {}, {"as": drift.stack_name}, make)


def _rule(iot: Any, drift: Drift) -> Change:
    shape = iot.meta.service_model.operation_model("ReplaceTopicRule").input_shape.members["topicRulePayload"]
    payload = _spelt(drift.expected["TopicRulePayload"], shape)
    found = _topic_rule(iot, drift.name)
    before = {name: found[name] for name in payload if name in found}
    return Change("topic_rule", drift.name, before, payload, lambda: _replace_rule(iot, drift.name, payload))


def _policy(iot: Any, name: str, document: Document | None) -> Change | None:
    """``document`` None: what the default version says is right."""
    found = _get_policy(iot, name)
    if found is None:
        if document is None:
            return None
        return Change("policy", name, {}, document, lambda: _create_policy(iot, name, document))
    here, default = json.loads(found["policyDocument"]), str(found["defaultVersionId"])
    versions = sorted((each["versionId"] for each in _policy_versions(iot, name)), key=int)
    wanted = here if document is None else document
    if here == wanted and default == versions[-1]:
        return None

    def make() -> None:
        if len(versions) >= VERSIONS:
            _delete_version(iot, name, next(each for each in versions if each != default))
        _create_version(iot, name, wanted)

    before = {"version": default, "document": here}
    return Change("policy", name, before, {"version": str(int(versions[-1]) + 1), "document": wanted}, make)


def _document(value: Any) -> Document:
    return json.loads(value) if isinstance(value, str) else value


def _spelt(value: Any, shape: Any) -> Any:
    """CloudFormation's value of a property in the spelling and the types of the API."""
    if shape.type_name == "structure":
        names = {name.lower(): name for name in shape.members}
        return {
            names[name.lower()]: _spelt(each, shape.members[names[name.lower()]])
            for name, each in value.items()
            if name.lower() in names
        }
    if shape.type_name == "list":
        return [_spelt(each, shape.member) for each in value]
    if shape.type_name == "boolean":
        return str(value).lower() == "true"
    if shape.type_name == "integer":
        return int(value)
    return value


@api_call("get a topic rule")
def _topic_rule(iot: Any, name: str) -> dict[str, Any]:
    return dict(iot.get_topic_rule(ruleName=name)["rule"])


@api_call("replace a topic rule")
def _replace_rule(iot: Any, name: str, payload: dict[str, Any]) -> None:
    iot.replace_topic_rule(ruleName=name, topicRulePayload=payload)


@api_call("create a topic rule", repeatable=False)
def _create_rule(iot: Any, name: str, payload: dict[str, Any]) -> None:
    iot.create_topic_rule(ruleName=name, topicRulePayload=payload)


@none_if_missing
@api_call("get a policy of AWS IoT")
def _get_policy(iot: Any, name: str) -> dict[str, Any]:
    return dict(iot.get_policy(policyName=name))


@api_call("list the versions of a policy")
def _policy_versions(iot: Any, name: str) -> list[dict[str, Any]]:
    return list(iot.list_policy_versions(policyName=name)["policyVersions"])


@api_call("create a policy of AWS IoT", repeatable=False)
def _create_policy(iot: Any, name: str, document: Document) -> None:
    iot.create_policy(policyName=name, policyDocument=json.dumps(document))


@api_call("write a policy of AWS IoT", repeatable=False)
def _create_version(iot: Any, name: str, document: Document) -> None:
    iot.create_policy_version(policyName=name, policyDocument=json.dumps(document), setAsDefault=True)


@api_call("delete an old version of a policy")
def _delete_version(iot: Any, name: str, version: str) -> None:
    iot.delete_policy_version(policyName=name, policyVersionId=version)
