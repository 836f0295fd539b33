# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS refuses of a state machine's definition and the base does not.

Source: "Amazon States Language" and ValidateStateMachineDefinition of the AWS Step Functions documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners

from iotops.sandbox import execution_role, service_tasks
from iotops.sandbox.patching import replace

__all__ = ["install", "is_distributed", "problem", "problem_of_express"]

_TYPES = frozenset({"Choice", "Fail", "Map", "Parallel", "Pass", "Succeed", "Task", "Wait"})
_ENDS = frozenset({"Choice", "Fail", "Succeed"})
_CHILDREN = frozenset({"STANDARD", "EXPRESS"})
_LONGEST_LABEL = 40
_SDK_RESOURCE = re.compile(r"arn:aws:states:::aws-sdk:(\w+):(\w+?)(?:\.waitForTaskToken)?$")


def problem(text: Any) -> str | None:
    """Why AWS would not take the definition; None when it would, as far as is known here."""
    try:
        definition = json.loads(text)
    except (TypeError, ValueError) as error:
        return f"Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: {error}'"
    found = next(_problems(definition, ""), None)
    return f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: {found}'" if found else None


def problem_of_express(text: Any) -> str | None:
    """What of the definition only a STANDARD machine may do; None when there is nothing such."""
    try:
        found = next(_standard_only(json.loads(text), ""), None)
    except (TypeError, ValueError, AttributeError):
        return None  # which ``problem`` tells
    return f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: {found}'" if found else None


def _standard_only(machine: dict[str, Any], where: str) -> Iterator[str]:
    for name, state in (machine.get("States") or {}).items():
        path = f"{where}/States/{name}"
        waits = re.search(r"\.(sync(:2)?|waitForTaskToken)$", str(state.get("Resource", "")))
        if waits:
            yield f"Express state machine does not support '{waits.group(0)}' service integration at {path}/Resource"
        if is_distributed(state):
            yield f"Express state machine does not support Map state in distributed mode at {path}"
        for branch in [*(state.get("Branches") or []), state.get("ItemProcessor") or {}]:
            yield from _standard_only(branch, path)


def _problems(machine: Any, where: str) -> Iterator[str]:
    states = machine.get("States") if isinstance(machine, dict) else None
    if not isinstance(states, dict) or not states:
        yield f"The field 'States' is required at {where or '/'}"
        return
    if machine.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: {machine.get('StartAt')} at {where}/StartAt"
    for name, state in states.items():
        path = f"{where}/States/{name}"
        yield from _problems_of_state(state, states, path)
        for index, branch in enumerate(state.get("Branches") or []):
            yield from _problems(branch, f"{path}/Branches[{index}]")
        for key in ("ItemProcessor", "Iterator"):
            if key in state:
                yield from _problems(state[key], f"{path}/{key}")


def _problems_of_state(state: dict[str, Any], states: dict[str, Any], path: str) -> Iterator[str]:
    kind = state.get("Type")
    if kind not in _TYPES:
        yield f"Unknown state type {kind} at {path}/Type"
    elif kind not in _ENDS and ("Next" in state) == bool(state.get("End")):
        yield f"Exactly one of 'Next' and 'End' is required at {path}"
    for target in _targets(state):
        if target not in states:
            yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {path}"
    if kind == "Task":
        yield from _problems_of_task(state, path)
    if is_distributed(state) and state["ItemProcessor"]["ProcessorConfig"].get("ExecutionType") not in _CHILDREN:
        yield f"The field 'ExecutionType' is required, STANDARD or EXPRESS, at {path}/ItemProcessor/ProcessorConfig"
    if len(state.get("Label", "")) > _LONGEST_LABEL:
        yield f"The Label of a Map state has at most {_LONGEST_LABEL} characters at {path}"


def is_distributed(state: dict[str, Any]) -> bool:
    """Whether it is a Map state in distributed mode."""
    return ((state.get("ItemProcessor") or {}).get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED"


def _targets(state: dict[str, Any]) -> Iterator[Any]:
    for key in ("Next", "Default"):
        if key in state:
            yield state[key]
    for entry in [*(state.get("Catch") or []), *(state.get("Choices") or [])]:
        yield entry.get("Next")


def _problems_of_task(state: dict[str, Any], path: str) -> Iterator[str]:
    resource = state.get("Resource", "")
    found = _SDK_RESOURCE.match(resource)
    if not found:
        if not resource.startswith("arn:"):
            yield f"Value is not a valid resource ARN at {path}/Resource"
        return
    service, action = found.groups()
    try:
        model = execution_role.session.get_service_model(service_tasks.botocore_name(service))
        shape = model.operation_model(action[:1].upper() + action[1:]).input_shape
    except Exception:
        yield f"The resource provided {resource} is not recognized. The value is not a valid resource ARN at {path}"
        return
    arguments = state.get("Arguments", state.get("Parameters"))
    known = service_tasks.members(shape) if shape else {}
    for name in arguments if isinstance(arguments, dict) else ():
        if name.removesuffix(".$") not in known:
            yield f'The field "{name}" is not supported by Step Functions at {path}'


def _validate(original: Any) -> Any:
    def validate_definition_jsonata(definition_str: Any) -> str | None:
        return problem(definition_str) or original(definition_str)

    return validate_definition_jsonata


def _from_template(original: Any) -> Any:
    def sfn_definition(props: dict[str, Any]) -> str:
        """The definition of a template, which may be YAML, as JSON."""
        text = original(props)
        if not text.lstrip().startswith("{"):
            text = json.dumps(yaml.safe_load(text))
        found = sfn._validate_definition_jsonata(text)
        if found:
            raise ValueError(f"{found} (Service: Sfn, Status Code: 400)")
        return str(text)

    return sfn_definition


def install() -> None:
    """Refuse such definitions when a machine is made or changed, also by CloudFormation."""
    replace(sfn, "_validate_definition_jsonata", "definition_str", _validate)
    replace(provisioners, "_sfn_definition", "props", _from_template)
