# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection: bring one stack from whatever it is to what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation import stack as calls
from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.artifacts import (
    Artifact,
    Artifacts,
    empty_bucket,
)
from ansible_collections.iotops.fleet.plugins.module_utils._cloudformation.template import Template
from ansible_collections.iotops.fleet.plugins.module_utils._dynamodb.tables import describe_table
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    error_code,
    poll,
    tags_to_dict,
    tags_to_list,
)

__all__ = ["Request", "absent", "present"]

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
INLINE_TEMPLATE_BYTES = 51_200
ANSWERS_OF_AN_EARLIER_TRY = ("is in CREATE_IN_PROGRESS state", "is in UPDATE_IN_PROGRESS state")

Stack = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which stack, where, and how patiently. ``client(service)`` makes boto3 clients."""

    name: str
    region: str
    client: Callable[[str], Any]
    check_mode: bool
    wait_timeout: int
    empty_buckets: bool

    @cached_property
    def cloudformation(self) -> Any:
        """The client for stacks."""
        return self.client("cloudformation")

    def describe(self, name: str | None = None) -> Stack | None:
        """The stack, or None."""
        return calls.describe_stack(self.cloudformation, name or self.name)

    def settled(self, name: str | None = None) -> Stack | None:
        """The stack once AWS is not at work on it; in check mode as it is."""
        if self.check_mode:
            return self.describe(name)
        return poll(
            lambda: self.describe(name),
            lambda stack: not calls.in_progress(stack),
            timeout=self.wait_timeout,
            describe=lambda stack: f"stack {self.name} in {self.region}, {_status(stack)}",
        )

    def failure(self, stack: Stack | None, doing: str) -> FleetError:
        """The error of a stack that AWS gave up on."""
        status = _status(stack)
        reason = _reason(self, stack) if stack else "it vanished"
        return FleetError(
            f"Stack {self.name} in {self.region} could not be {doing} ({status}): {reason}{_remedy(reason)}",
            stack_status=status,
        )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What the stack should be."""

    template: Template
    parameters: Mapping[str, str]
    tags: Mapping[str, str] | None
    capabilities: Sequence[str]
    artifacts: Artifacts

    def arguments(self, request: Request) -> dict[str, Any]:
        """The arguments of CreateStack and UpdateStack; a large template is uploaded."""
        arguments: dict[str, Any] = {
            "StackName": request.name,
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(self.parameters.items())],
            "Capabilities": list(self.capabilities),
        }
        if self.tags is not None:
            arguments["Tags"] = tags_to_list(self.tags)
        content = self.template.text.encode()
        if len(content) <= INLINE_TEMPLATE_BYTES:
            return {**arguments, "TemplateBody": self.template.text}
        if not self.artifacts.bucket:
            raise FleetError(
                f"The template of stack {request.name} has {len(content)} bytes, and AWS takes {INLINE_TEMPLATE_BYTES} "
                "inline: set artifact_bucket"
            )
        storage = request.client("s3")
        artifact = Artifact.of(name=f"{request.name}.template", content=content)
        artifact.upload(storage, self.artifacts.bucket)
        return {**arguments, "TemplateURL": f"{storage.meta.endpoint_url}/{self.artifacts.bucket}/{artifact.key}"}


def present(
    request: Request,
    *,
    template: Template,
    parameters: Mapping[str, Any],
    artifacts: Artifacts,
    adopted_tables: Mapping[str, str],
    capabilities: Sequence[str],
    tags: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Make the stack what the arguments say; answers the module's result.

    Raises:
        FleetError: bad input, or AWS gave up.

    """
    stack = _usable(request)
    # Adoption is decided where the stack is created, and then kept.
    kept = _parameters(stack)
    adoption = {
        name: kept[name] if name in kept else describe_table(request.client("dynamodb"), table) is None
        for name, table in adopted_tables.items()
    }
    wanted = _Plan(
        template=template,
        parameters=template.resolve({**parameters, **artifacts.parameters(), **adoption}),
        tags=None if tags is None else {key: str(value) for key, value in tags.items()},
        capabilities=capabilities,
        artifacts=artifacts,
    )
    diff = _differences(request, stack, wanted)
    if not diff or request.check_mode:
        return _result(request, stack, diff=diff, parameters=wanted.parameters)
    if artifacts.items:
        artifacts.upload(request.client("s3"))
    after = _apply(request, stack, wanted)
    return _result(request, after, diff=[] if after is stack else diff)


def _usable(request: Request) -> Stack | None:
    """The stack when it can be updated, None when it has to be created; remains of a failed creation are deleted."""
    stack = request.settled()
    if stack is None:
        return None
    if stack["StackStatus"] == "UPDATE_ROLLBACK_FAILED":
        repair = f"aws cloudformation continue-update-rollback --stack-name {request.name} --region {request.region}"
        raise FleetError(
            f"Stack {request.name} in {request.region} is UPDATE_ROLLBACK_FAILED: {_reason(request, stack)}. "
            f"Remove the cause, then run: {repair}",
            stack_status=stack["StackStatus"],
        )
    if stack["StackStatus"] not in calls.REMAINS:
        return stack
    if not request.check_mode:
        _delete(request, stack)
    return None


def _apply(request: Request, stack: Stack | None, wanted: _Plan) -> Stack:
    """Create or update; answers the stack, the very one that was given when AWS sees no difference."""
    start, doing = (calls.update_stack, "updated") if stack else (calls.create_stack, "created")
    try:
        start(request.cloudformation, wanted.arguments(request))
    except AnsibleAWSError as error:
        if stack and calls.is_said(error, "No updates are to be performed"):
            return stack
        if not _is_under_way(error):
            what = f"Stack {request.name} in {request.region} could not be {doing}"
            raise FleetError(f"{what}: {error.exception}", error_code=error_code(error)) from error
    after = request.settled()
    if after is None or after["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise request.failure(after, doing)
    return after


def _is_under_way(error: AnsibleAWSError) -> bool:
    """A call that AWS performed although its answer was lost, and that was retried."""
    return error_code(error) == "AlreadyExistsException" or any(
        calls.is_said(error, words) for words in ANSWERS_OF_AN_EARLIER_TRY
    )


def _differences(request: Request, stack: Stack | None, wanted: _Plan) -> list[dict[str, Any]]:
    """What changes, in the form of Ansible's diff; empty when nothing does."""
    deployed = calls.deployed_template(request.cloudformation, request.name) if stack else ""
    found = []
    if not wanted.template.equals(deployed):
        before = deployed if isinstance(deployed, str) else json.dumps(deployed, indent=2)
        found.append(_diff(request, "template", before, wanted.template.text))
    if _parameters(stack) != wanted.parameters:
        found.append(_diff(request, "parameters", _parameters(stack), dict(wanted.parameters)))
    if wanted.tags is not None and _tags(stack) != wanted.tags:
        found.append(_diff(request, "tags", _tags(stack), dict(wanted.tags)))
    return found


def _diff(request: Request, what: str, before: Any, after: Any) -> dict[str, Any]:
    header = f"{request.name} in {request.region}, {what}"
    return {"before_header": header, "after_header": header, "before": before, "after": after}


def _parameters(stack: Stack | None) -> dict[str, str]:
    given = (stack or {}).get("Parameters", [])
    return {item["ParameterKey"]: item.get("ParameterValue", "") for item in given}


def _tags(stack: Stack | None) -> dict[str, str]:
    tags = tags_to_dict((stack or {}).get("Tags", []))
    return {key: value for key, value in tags.items() if not key.startswith("aws:")}


def _status(stack: Stack | None) -> str:
    return stack["StackStatus"] if stack else "ABSENT"


def _reason(request: Request, stack: Stack) -> str:
    failure = calls.first_failure(request.cloudformation, stack["StackId"])
    return failure or stack.get("StackStatusReason") or "AWS gives no reason"


def _result(
    request: Request, stack: Stack | None, *, diff: Sequence[Any], parameters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    outputs = (stack or {}).get("Outputs", [])
    return {
        "changed": bool(diff),
        "diff": diff,
        "stack_name": request.name,
        "stack_id": stack["StackId"] if stack else None,
        "stack_status": _status(stack),
        "outputs": {item["OutputKey"]: item["OutputValue"] for item in outputs},
        "parameters": dict(_parameters(stack) if parameters is None else parameters),
    }


def absent(request: Request) -> dict[str, Any]:
    """Delete the stack; answers the module's result.

    Raises:
        FleetError: AWS gave up, for example because a table may not go yet.

    """
    stack = request.settled()
    if stack is None:
        return _result(request, None, diff=[])
    if not request.check_mode:
        _delete(request, stack)
    diff = [_diff(request, "stack", f"{request.name}\n", "")]
    return _result(request, None, diff=diff)


def _delete(request: Request, stack: Stack) -> None:
    if request.empty_buckets:
        for bucket in calls.stack_buckets(request.cloudformation, stack["StackId"]):
            empty_bucket(request.client("s3"), bucket)
    calls.start_deletion(request.cloudformation, stack["StackId"])
    left = request.settled(stack["StackId"])
    if left is not None:
        raise request.failure(left, "deleted")


def _remedy(reason: str) -> str:
    if "source region for new replica" in reason or "last 24 hours" in reason:
        return ". AWS keeps a table for 24 hours after it seeded a replica: run again when they are over"
    return ""
