# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier systems got wrong (docs/defects.md), where no other test shows that it cannot happen here."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonata import Jsonata

from tests.unit.asl.definitions import FILES, MACHINES, WOKEN, all_states, definition, tasks, texts
from tests.unit.templates import TEMPLATES, of_type, template

FUNCTIONS = sorted((FILES / "lambda").rglob("*.py"))
SHORT = {"list_policy_versions"}  # five at most, on one page
NAMES = re.compile(r"^(\w+Name|Name)$")


def resources(*types: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Properties of every resource of these types, in all templates, by their names."""
    for name in TEMPLATES:
        for logical, properties in of_type(parsed_template(name)["Resources"], *types):
            yield f"{name}.{logical}", properties


@cache
def parsed_template(name: str) -> dict[str, Any]:
    return template(name)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.defect("S1-1", "S1-2", "S1-27")
@pytest.mark.parametrize("machine", MACHINES)
def test_an_error_replaces_nothing_that_an_execution_knows(machine: str) -> None:
    """JSONPath's Catch overwrites the whole input; here an error is assigned to a variable of its own."""
    assert definition(machine)["QueryLanguage"] == "JSONata"
    for name, state in all_states(definition(machine)):
        assert not {"ResultPath", "InputPath", "OutputPath", "Parameters", "QueryLanguage"} & state.keys(), name
        for catcher in state.get("Catch", ()):
            assert "States.ALL" not in catcher["ErrorEquals"] or set(catcher.get("Assign", {"failure"})) == {"failure"}


@pytest.mark.defect("S1-6", "S1-7", "S1-8", "S1-26", "S1-27")
@pytest.mark.parametrize("machine", WOKEN)
def test_nothing_is_rolled_back(machine: str) -> None:
    """After an error come its record and its dead letter, and no call to AWS IoT."""
    states = dict(all_states(definition(machine)))
    name, path = "RecordError" if "RecordError" in states else "SendDeadLetter", []
    while name != "Failed":
        path.append(name)
        assert states[name]["Type"] in ("Task", "Choice"), name
        assert ":iot:" not in states[name].get("Resource", "")
        name = states[name].get("Next", states[name].get("Default"))
    assert path[-1] == "SendDeadLetter"


@pytest.mark.defect("S1-18")
def test_registration_activates_nothing() -> None:
    """The row is written first; what activates is convergence, which reads it."""
    updates = [
        task["Arguments"] for task in tasks("register-device").values() if "updateCertificate" in task["Resource"]
    ]
    assert updates
    assert {status for each in updates for status in re.findall("[A-Z]{4,}", each["NewStatus"])} == {
        "INACTIVE",
        "REVOKED",
    }


@pytest.mark.defect("S1-5", "S1-13")
def test_every_write_of_a_row_is_conditional() -> None:
    found = [
        (name, task["Arguments"])
        for machine in MACHINES
        for name, task in tasks(machine).items()
        if task["Resource"].endswith(("dynamodb:putItem", "dynamodb:updateItem"))
        and task["Arguments"]["TableName"] == "${InventoryTable}"
    ]
    assert found
    assert [name for name, arguments in found if "ConditionExpression" not in arguments] == []


@pytest.mark.defect("S1-14")
@pytest.mark.parametrize("machine", MACHINES)
def test_what_no_choice_foresees_is_no_success(machine: str) -> None:
    choices = [state for _name, state in all_states(definition(machine)) if state["Type"] == "Choice"]
    assert not {choice["Default"] for choice in choices} & {"Admitted", "Converged", "Stored"}


@pytest.mark.defect("S1-16")
def test_a_certificate_that_names_no_ca_is_described_all_the_same() -> None:
    expression = tasks("register-device")["DescribeCertificate"]["Assign"]["caCertificateId"]
    compiled = Jsonata.jsonata(expression.removeprefix("{%").removesuffix("%}").strip())
    described = {"CertificateDescription": {"CertificatePem": "x", "Status": "PENDING_ACTIVATION"}}
    compiled.assign("states", {"result": described})
    assert compiled.evaluate(None) == ""


@pytest.mark.defect("S1-20")
@pytest.mark.parametrize("machine", MACHINES)
def test_a_failed_execution_says_why_and_is_logged(machine: str) -> None:
    failed = [state for _name, state in all_states(definition(machine)) if state["Type"] == "Fail"]
    assert failed
    assert all(state["Error"] and state["Cause"] for state in failed)
    named = [p for _n, p in resources("AWS::StepFunctions::StateMachine") if p["StateMachineName"].endswith(machine)]
    assert [properties["LoggingConfiguration"]["Level"] for properties in named] == ["ERROR"]


@pytest.mark.defect("S1-11")
def test_every_name_begins_with_the_application() -> None:
    """So that two fleets fit into one region."""
    for where, properties in resources(
        "AWS::DynamoDB::Table",
        "AWS::DynamoDB::GlobalTable",
        "AWS::Events::EventBus",
        "AWS::IoT::Policy",
        "AWS::IoT::ThingType",
        "AWS::Lambda::Function",
        "AWS::Pipes::Pipe",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::StepFunctions::StateMachine",
    ):
        names = [json.dumps(value) for key, value in properties.items() if NAMES.match(key)]
        assert names, where
        assert "${Application}" in names[0], where


@pytest.mark.defect("S1-11")
def test_no_machine_names_a_policy_of_its_own() -> None:
    arguments = [task.get("Arguments") for machine in MACHINES for task in tasks(machine).values()]
    named = [text for each in arguments if isinstance(each, dict) for text in texts(each.get("PolicyName", ""))]
    assert all(text.startswith(("{%", "${")) for text in named if text)


@pytest.mark.defect("S1-12")
def test_only_certificates_that_wait_for_activation_start_a_registration() -> None:
    [rule] = [p for where, p in resources("AWS::IoT::TopicRule") if where.endswith(".RegisterDeviceRule")]
    payload = rule["TopicRulePayload"]
    assert payload["Sql"].endswith("WHERE certificateStatus = 'PENDING_ACTIVATION'")
    assert "dead-letters" in payload["ErrorAction"]["Sqs"]["QueueUrl"]


@pytest.mark.defect("S1-21", "D-6", "D-7")
def test_the_pipe_hands_on_rows_that_are_there_and_that_another_region_wrote() -> None:
    [pipe] = [properties for where, properties in resources("AWS::Pipes::Pipe") if where.startswith("replication.")]
    parameters = pipe["SourceParameters"]
    assert parameters["DynamoDBStreamParameters"]["StartingPosition"] == "TRIM_HORIZON"
    [rule] = parameters["FilterCriteria"]["Filters"]
    pattern = json.loads(rule["Pattern"])
    assert pattern["eventName"] == ["INSERT", "MODIFY"]
    assert pattern["dynamodb"]["NewImage"]["UpdatedRegion"]["S"] == [
        {"anything-but": ["${AWS::Region}"]},
        {"exists": False},
    ]
    mentions = [path for path in FILES.rglob("*") if path.is_file() and "aws:rep:" in path.read_text(errors="replace")]
    assert mentions == []


@pytest.mark.defect("S1-24")
def test_convergence_asks_no_region_for_a_certificate() -> None:
    """The PEM is in the row."""
    assert not [task for task in tasks("converge-device").values() if "describeCertificate" in task["Resource"]]
    assert "$states.input.pem" in json.dumps(tasks("converge-device")["RegisterCertificate"]["Arguments"])


@pytest.mark.defect("S1-33")
def test_each_region_leaves_the_domain_while_its_endpoint_does_not_answer() -> None:
    [(_where, record)] = resources("AWS::Route53::RecordSet")
    [(_where, check)] = resources("AWS::Route53::HealthCheck")
    assert record["HealthCheckId"] == {"Ref": "HealthCheck"}
    assert record["Region"] == record["SetIdentifier"] == {"Ref": "AWS::Region"}
    assert check["HealthCheckConfig"]["FullyQualifiedDomainName"] == {"Ref": "DeviceEndpoint"}


@pytest.mark.defect("S1-37")
def test_buckets_are_closed_and_no_role_may_do_everything_with_them() -> None:
    found = list(resources("AWS::S3::Bucket"))
    assert found
    for where, bucket in found:
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, where
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    for where, role in resources("AWS::IAM::Role"):
        assert "s3:*" not in json.dumps(role), where


@pytest.mark.defect("D-8", "D-9")
@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_error_of_one_invocation_is_seen_by_the_next(path: Path) -> None:
    """A warm function keeps its globals: none is assigned again, and none collects errors or results."""
    assert not [node for node in ast.walk(tree(path)) if isinstance(node, ast.Global)]
    collections = {
        target.id
        for node in tree(path).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Set)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    changed = {
        node.value.id
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in {"append", "extend", "add", "update", "insert"}
        and isinstance(node.value, ast.Name)
    }
    assert not collections & changed


@pytest.mark.defect("D-15")
def test_no_function_deletes_a_policy() -> None:
    called = {node.attr for path in FUNCTIONS for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    assert "delete_policy" not in called
    assert "delete_policy_version" in called, "the names of calls are found"


@pytest.mark.defect("D-17")
@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_listing_of_a_function_reads_all_pages(path: Path) -> None:
    direct = [
        node.func.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    assert not [name for name in direct if name == "scan" or (name.startswith("list_") and name not in SHORT)]


@pytest.mark.defect("D-18", "S2-12")
def test_functions_run_on_a_runtime_of_today() -> None:
    assert {properties["Runtime"] for _where, properties in resources("AWS::Lambda::Function")} == {"python3.13"}


@pytest.mark.defect("S3-14", "S4-1")
def test_no_policy_of_aws_iot_grants_everything() -> None:
    documents = [properties["PolicyDocument"] for _where, properties in resources("AWS::IoT::Policy")]
    statements = [each for document in documents for each in document["Statement"]]
    assert statements
    for name in ("Action", "Resource"):
        for each in statements:
            values = each[name] if isinstance(each[name], list) else [each[name]]
            assert not {"*", "iot:*"} & {value for value in values if isinstance(value, str)}, each


@pytest.mark.defect("S2-7")
def test_a_device_speaks_for_the_thing_of_its_certificate() -> None:
    policies = {where: properties["PolicyDocument"] for where, properties in resources("AWS::IoT::Policy")}
    assert set(policies) == {"onboarding.DevicePolicy", "load_test.LoadTestPolicy", "claims.ClaimPolicy"}
    assert "iot:ClientId" not in json.dumps(policies)
    for name in ("onboarding.DevicePolicy", "load_test.LoadTestPolicy"):
        [connecting] = [each for each in policies[name]["Statement"] if each["Action"] == "iot:Connect"]
        assert connecting["Resource"].endswith(":client/${!iot:Connection.Thing.ThingName}")
        assert connecting["Condition"] == {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}
    # Who has a claim speaks for no device: there it is a client id of its own, and only what asking takes.
    claim = {each["Action"]: each["Resource"] for each in policies["claims.ClaimPolicy"]["Statement"]}
    assert claim.pop("iot:Connect").endswith(":client/claim.*")
    reserved = ("/$aws/certificates/create", "/$aws/provisioning-templates/${Application}-claim/")
    for resource in itertools.chain(*claim.values()):
        text = resource if isinstance(resource, str) else resource["If"][1]
        assert any(each in text for each in reserved), text


@pytest.mark.defect("S3-20")
def test_a_device_of_a_load_test_publishes_its_own_and_hears_no_more_than_one_level() -> None:
    [(_where, properties)] = [each for each in resources("AWS::IoT::Policy") if each[0] == "load_test.LoadTestPolicy"]
    allowed: dict[str, list[str]] = {}
    for statement in properties["PolicyDocument"]["Statement"]:
        found = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        allowed[statement["Action"]] = [each.partition("${AWS::AccountId}:")[2] for each in found]
    me = "${!iot:Connection.Thing.ThingName}"
    told = ["topic/loadtest/*/command", "topic/loadtest/*/response"]  # by one device of the test to another one
    assert allowed["iot:Publish"] == ["topic/loadtest", f"topic/loadtest/{me}", *told]
    assert "topicfilter/loadtest/+" in allowed["iot:Subscribe"]
    assert not any("#" in each or "*" in each for each in allowed["iot:Subscribe"])
    assert allowed["iot:Receive"] == ["topic/loadtest/*"]


@pytest.mark.defect("S2-10")
def test_no_log_of_an_api_has_what_was_said() -> None:
    stages = [properties for _where, properties in resources("AWS::ApiGatewayV2::Stage")]
    assert stages
    for stage in stages:
        shown = set(re.findall(r"\$context\.([a-zA-Z.]+)", stage["AccessLogSettings"]["Format"]))
        assert shown <= {
            "requestId", "requestTime", "identity.sourceIp", "routeKey", "status", "responseLatency", "error.message",
            "integrationErrorMessage",
        }  # fmt: skip
        assert "DataTraceEnabled" not in json.dumps(stage)


@pytest.mark.defect("S2-13")
def test_no_stack_changes_what_the_account_logs() -> None:
    assert not list(resources("AWS::ApiGateway::Account"))
