# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles, tables, queues and machines for tests of what services do to each other."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any

from iotops.sandbox.client import Sandbox

REGION, OTHER = "eu-west-1", "us-west-2"
LOG_DELIVERY = {"logs:*Log*": "*", "logs:PutResourcePolicy": "*", "logs:DescribeResourcePolicies": "*"}


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def eventually(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer of ``check``; the last one when none came in time."""
    deadline = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def role(sandbox: Sandbox, service: str, allowed: dict[str, Any], condition: dict[str, Any] | None = None) -> str:
    """A role that ``service`` may assume and that may do ``allowed`` (action -> resource); its ARN."""
    iam, name = sandbox.client("iam", REGION), unique("role")
    trust: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if condition:
        trust["Condition"] = condition
    arn: str = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    if allowed:
        allow(sandbox, arn, allowed)
    return arn


def allow(sandbox: Sandbox, role_arn: str, allowed: dict[str, Any]) -> None:
    statements = [{"Effect": "Allow", "Action": action, "Resource": where} for action, where in allowed.items()]
    sandbox.client("iam", REGION).put_role_policy(
        RoleName=role_arn.rsplit("/", 1)[-1],
        PolicyName="test",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )


def table(sandbox: Sandbox, region: str = REGION) -> dict[str, Any]:
    """A table with a stream; its description."""
    name = unique("table")
    dynamodb = sandbox.client("dynamodb", region)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "Name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    described: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    return described


def put(sandbox: Sandbox, table_name: str, name: str, region: str = REGION, **attributes: str) -> None:
    item = {key: {"S": value} for key, value in {"Name": name, **attributes}.items()}
    sandbox.client("dynamodb", region).put_item(TableName=table_name, Item=item)


def get(sandbox: Sandbox, table_name: str, name: str, region: str = REGION) -> dict[str, str] | None:
    found = sandbox.client("dynamodb", region).get_item(TableName=table_name, Key={"Name": {"S": name}}).get("Item")
    return {key: next(iter(value.values())) for key, value in found.items()} if found else None


def queue(sandbox: Sandbox, region: str = REGION, sender: str | None = None) -> tuple[str, str]:
    """A queue, to which the service ``sender`` may send; its URL and ARN."""
    sqs = sandbox.client("sqs", region)
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    if sender:
        statement = {"Effect": "Allow", "Principal": {"Service": sender}, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def received(sandbox: Sandbox, url: str, count: int = 1, seconds: float = 10.0, region: str = REGION) -> list[Any]:
    """The bodies of the first ``count`` messages, as JSON where they are."""
    sqs, bodies = sandbox.client("sqs", region), []
    deadline = time.monotonic() + seconds
    while len(bodies) < count and time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(json.loads(message["Body"]))
        time.sleep(0.02)
    return bodies


def function(sandbox: Sandbox, code: str, role_arn: str, region: str = REGION, **more: Any) -> str:
    """A Lambda function of the module ``code``, whose ``handler`` it calls; its ARN."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", code)
    settings = {"Runtime": "python3.13", "Handler": "index.handler", "FunctionName": unique("function"), "Timeout": 20}
    arn: str = sandbox.client("lambda", region).create_function(
        Role=role_arn, Code={"ZipFile": archive.getvalue()}, **{**settings, **more}
    )["FunctionArn"]
    return arn


def machine(
    sandbox: Sandbox, states: dict[str, Any], role_arn: str, kind: str = "STANDARD", region: str = REGION, **more: Any
) -> str:
    """A state machine of JSONata states that starts with the first of them; its ARN."""
    definition = {"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **more.pop("top", {})}
    arn: str = sandbox.client("stepfunctions", region).create_state_machine(
        name=unique("machine"), definition=json.dumps(definition), roleArn=role_arn, type=kind, **more
    )["stateMachineArn"]
    return arn


def run(sandbox: Sandbox, machine_arn: str, given: Any = None, region: str = REGION) -> dict[str, Any]:
    """Start an execution of a STANDARD machine and wait for its end; its description."""
    states = sandbox.client("stepfunctions", region)
    arn = states.start_execution(stateMachineArn=machine_arn, input=json.dumps(given or {}))["executionArn"]
    return finished(sandbox, arn, region)


def finished(sandbox: Sandbox, execution_arn: str, region: str = REGION) -> dict[str, Any]:
    states = sandbox.client("stepfunctions", region)
    eventually(lambda: states.describe_execution(executionArn=execution_arn)["status"] != "RUNNING", 20)
    described: dict[str, Any] = states.describe_execution(executionArn=execution_arn)
    return described


def task(service_action: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One Task state that ends the machine."""
    resource = f"arn:aws:states:::{service_action}"
    return {"Task": {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **more}}


def output(execution: dict[str, Any]) -> Any:
    assert execution["status"] == "SUCCEEDED", execution
    return json.loads(execution["output"])
