# SPDX-License-Identifier: GPL-3.0-or-later
"""What each state machine and function calls, compared with what its role grants, both ways."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.asl.definitions import FILES, all_states, definition, tasks, texts
from tests.unit.templates import TEMPLATES, many, of_type, template

# machine: (template, role)
MACHINES = {
    "register-device": ("onboarding", "RegisterDeviceRole"),
    "converge-device": ("replication", "ConvergeDeviceRole"),
    "store-message": ("messages", "StoreMessageRole"),
    "repair-devices": ("repair", "RepairDevicesRole"),
}
SERVICES = {"sfn": "states", "iotdataplane": "iot"}
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
LOG_DELIVERY = {
    *(f"logs:{verb}LogDelivery" for verb in ("Create", "Get", "Update", "Delete")),
    *("logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
}
# https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
OF_MAPS = {
    "s3:getObject": {"s3:GetObject"},
    "s3:putObject": {"s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"},
}
OF_CHILDREN = {"states:StartExecution": "", "states:DescribeExecution": "*", "states:StopExecution": "*"}
Grant = tuple[str, str]  # action, what it is allowed on


def name_of(resource: Any) -> str:
    """The last part of an ARN: a table, a queue, ``cert/*``; the logical id for a reference, "*" for anything."""
    if isinstance(resource, dict):
        if "Join" in resource:
            separator, parts = resource["Join"]
            return name_of(separator.join(parts))
        return str(next(iter(resource.values()))).split(".")[0]
    found = re.sub(r"^arn:[^:]*(\$\{[^}]+\})?[^:]*:.*:", "", resource.replace("AWS::", "")).replace(
        "${Application}-", ""
    )
    return found.removeprefix("table/")


def granted(machine: str) -> set[Grant]:
    name, role = MACHINES[machine]
    policies = template(name)["Resources"][role]["Properties"]["Policies"]
    statements = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    return {
        (action, name_of(resource))
        for statement in statements
        for action in many(as_express(statement["Action"]))
        for resource in many(statement["Resource"])
        if action not in LOG_DELIVERY
    }


def as_express(value: Any) -> Any:
    """What a value is where the machines are EXPRESS."""
    return value["If"][2] if isinstance(value, dict) and value.get("If", [""])[0] == "IsStandard" else value


def substitutions(machine: str) -> dict[str, Any]:
    resources = template(MACHINES[machine][0])["Resources"].values()
    [found] = [
        resource["Properties"]["DefinitionSubstitutions"]
        for resource in resources
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    return dict(found)


def called(machine: str) -> set[Grant]:
    values = {f"${{{key}}}": as_express(value) for key, value in substitutions(machine).items()}
    grants = {grant for task in tasks(machine).values() for grant in _calls(task, values)}
    return grants | {grant for _, state in all_states(definition(machine)) for grant in _of_map(machine, state, values)}


def _of_map(machine: str, state: dict[str, Any], values: dict[str, Any]) -> set[Grant]:
    """What a Map calls whose items are executions of their own."""
    if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") != "DISTRIBUTED":
        return set()
    bucket = f"{values['${Bucket}']}/repairs/*"
    files = [state[key]["Resource"].partition(":::")[2] for key in ("ItemReader", "ResultWriter")]
    return {(action, name_of(bucket)) for file in files for action in OF_MAPS[file]} | {
        (action, f"{machine}{more}") for action, more in OF_CHILDREN.items()
    }


def _calls(task: dict[str, Any], values: dict[str, Any]) -> set[Grant]:
    resource = task["Resource"]
    for key, value in values.items():
        resource = resource.replace(key, value) if isinstance(value, str) else resource
    *_, service, action = resource.split(":")
    if task["Resource"].endswith(":lambda:invoke"):
        return {("lambda:InvokeFunction", name_of(values[task["Arguments"]["FunctionName"]]))}
    permission = action[:1].upper() + action[1:]
    if service == "dynamodb":
        index = task["Arguments"].get("IndexName")
        tables = {key for text in texts(task["Arguments"]) for key in re.findall(r"\$\{\w+Table\}", text)}
        assert tables, task
        return {
            (f"dynamodb:{permission}", name_of(values[table]) + (f"/index/{index}" if index else ""))
            for table in tables
        }
    targets = _targets(service, permission, task["Arguments"], values)
    return {(f"{SERVICES.get(service, service)}:{permission}", target) for target in targets}


def _targets(service: str, permission: str, arguments: Any, values: dict[str, Any]) -> set[str]:
    if service in ("iot", "iotdataplane"):
        if permission.startswith("RegisterCertificate") or permission == "ListAttachedPolicies":
            return {"*"}
        if permission.endswith("ThingGroup"):
            return {"thing/*", "thinggroup/*"}
        if permission == "DeleteConnection":
            return {"client/*"}
        return {"thing/*" if permission.endswith(("Thing", "ThingPrincipals")) else "cert/*"}
    named = [
        values[f"${{{name}}}"]
        for key in ("QueueUrl", "StateMachineArn")
        for name in re.findall(r"\$\{(\w+)\}", arguments.get(key, ""))
    ]
    return {name_of(each.replace("https://sqs.", "arn:").rsplit("/", 1)[-1]) for each in named}


@pytest.mark.defect("S1-19", "D-18")
@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_granted_what_it_calls_and_calls_what_it_is_granted(machine: str) -> None:
    assert granted(machine) == called(machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_definition_is_given_the_substitutions_it_uses_and_no_other(machine: str) -> None:
    text = (FILES / f"asl/{machine}.asl.yaml").read_text()
    assert set(substitutions(machine)) == set(re.findall(r"\$\{(\w+)\}", text))


@pytest.mark.defect("S1-19")
def test_certificate_identity_calls_no_service_and_is_granted_its_log_only() -> None:
    tree = ast.parse((FILES / "lambda/certificate_identity/handler.py").read_text())
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names} | {
        node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert not {name.split(".")[0] for name in imports} & {"boto3", "botocore", "socket", "urllib", "http", "os"}
    role = template("onboarding")["Resources"]["CertificateIdentityRole"]["Properties"]
    [statement] = role["Policies"][0]["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"GetAtt": "CertificateIdentityLogs.Arn"}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in TEMPLATES
        if name not in ("endpoint", "foundation", "global", "load_test", "provisioning_table", "test_devices")
    ],
)
def test_a_role_is_assumed_only_on_behalf_of_this_account(name: str) -> None:
    roles = list(of_type(template(name)["Resources"], "AWS::IAM::Role"))
    assert roles
    for _, role in roles:
        [statement] = role["AssumeRolePolicyDocument"]["Statement"]
        if statement["Principal"]["Service"] not in (
            "ec2.amazonaws.com",
            "lambda.amazonaws.com",
        ):  # they name no source
            assert statement["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}
            assert "aws:SourceArn" in {key for each in statement["Condition"].values() for key in each}


@pytest.mark.defect("S1-38")
@pytest.mark.parametrize("path", sorted((FILES / "cloudformation").glob("*.yaml")), ids=lambda path: path.stem)
def test_no_template_names_a_partition(path: Path) -> None:
    assert "arn:aws:" not in path.read_text()
