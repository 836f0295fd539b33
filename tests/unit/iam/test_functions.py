# SPDX-License-Identifier: GPL-3.0-or-later
"""What each Lambda function calls, read from its source, compared with what its role grants, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.asl.definitions import FILES
from tests.unit.iam.functions import FUNCTIONS, Function, Source, UnreadableError, actions, own_log, wildcards

ROOT = FILES.parent
SHARED = FILES / "lambda/shared"
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsiot.html and its neighbours
WITHOUT_RESOURCE = {
    *("iot:ListThings", "iot:ListCertificates", "iot:ListPolicies", "iot:ListPrincipalThings"),
    *("iot:ListAttachedPolicies", "iot:ListThingGroups", "iot:ListThingTypes", "pipes:ListPipes"),
    *("iot:ListCACertificates", "acm:ListCertificates", "iot:DescribeEndpoint", "cloudwatch:GetMetricData"),
}


def test_every_folder_is_a_function_of_some_template() -> None:
    folders = {path.name for path in (FILES / "lambda").iterdir() if path.is_dir() and path != SHARED}
    assert {function.source.folder.name for function in FUNCTIONS} == folders


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_function_is_granted_what_it_calls_and_calls_what_it_is_granted(function: Function) -> None:
    assert function.granted() == function.needed()


@pytest.mark.defect("D-18", "S2-13")
@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_grant_names_its_resource_where_there_is_one(function: Function) -> None:
    assert wildcards(function) <= WITHOUT_RESOURCE


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_function_writes_its_own_log_only(function: Function) -> None:
    assert own_log(function)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_the_role_that_deploys_a_function_packs_what_it_imports(function: Function) -> None:
    [deploying] = [
        role
        for role in (ROOT / "roles").iterdir()
        if f"cloudformation/{function.template}.yaml" in (role / "tasks/main.yml").read_text()
    ]
    text = "".join(path.read_text() for path in deploying.glob("[tv]a*s/main.yml"))  # tasks and vars
    shared = {path.name for path in function.source.modules if path.parent != function.source.folder}
    assert {name for name in shared if name not in text} == set()


# --- that the above can fail


def made_up(folder: Path, **modules: str) -> Source:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    return Source(folder)


def test_calls_are_found_where_the_handler_gets_and_only_there(tmp_path: Path) -> None:
    source = made_up(
        tmp_path,
        handler="""
import other
from aws import aws, pages
from other import listed
from unrelated import unused

def handler(event, context):
    for page in listed():
        Worker().work(page)
    other.stop(lambda: aws("stepfunctions").start_execution(input="{}"))

def nobody():
    aws("iot").delete_thing(thingName="x")

class Worker:
    def work(self, page):
        aws("sqs").send_message_batch(QueueUrl="x", Entries=[])
""",
        other="""
from aws import aws, pages

def listed():
    yield from pages("iot", "list_things")

def stop(then):
    aws("iot-data").delete_connection(clientId="x")

def untouched():
    aws("dynamodb").scan(TableName="x")
""",
        unrelated="""
from aws import aws

def unused():
    aws("dynamodb").delete_table(TableName="x")
""",
    )
    assert actions(source) == {
        "iot:ListThings",
        "iot:DeleteConnection",
        "sqs:SendMessage",
        "states:StartExecution",
    }


@pytest.mark.parametrize(
    "text",
    [
        'def handler(event, context):\n    client = aws("iot")\n    client.delete_thing(thingName="x")',
        "def handler(event, context):\n    aws(event['service']).delete_thing(thingName='x')",
        "def handler(event, context):\n    list(pages('iot', event['operation']))",
        "import boto3\n\ndef handler(event, context):\n    boto3.client('iot').delete_thing(thingName='x')",
        'import aws\n\ndef handler(event, context):\n    aws.aws("iot").delete_thing(thingName="x")',
        'from aws import aws as a\n\ndef handler(event, context):\n    a("iot").delete_thing(thingName="x")',
        'def handler(event, context):\n    getattr(aws("iot"), event["operation"])()',
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnreadableError):
        actions(made_up(tmp_path, handler=f"from aws import aws, pages\n{text}\n"))


def test_an_operation_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    text = 'from aws import aws\ndef handler(event, context):\n    aws("iot").delete_things()\n'
    with pytest.raises(UnreadableError, match="delete_things"):
        actions(made_up(tmp_path, handler=text))


TEMPLATE = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyName: calls
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: [logs:CreateLogStream, logs:PutLogEvents], Resource: !GetAtt Logs.Arn}
              - {Effect: Allow, Action: [ACTIONS], Resource: "*"}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/aws/lambda/${Application}-made-up"}
  MadeUp:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: !Sub "${Application}-made-up"
      Handler: handler.handler
      Role: !GetAtt Role.Arn
      LoggingConfig: {LogGroup: !Ref Logs}
"""
SOURCE = """
from aws import aws
def handler(event, context):
    aws("iot").describe_thing(thingName="x")
"""


@pytest.mark.parametrize(
    ("granted", "more", "equal"),
    [
        ("iot:DescribeThing", "", True),
        ("iot:DescribeThing, iot:DeleteThing", "", False),
        ("iot:DeleteThing", "", False),
        ("'iot:*'", "", False),
        ("iot:DescribeThing", "SOURCE", False),
        ("iot:DescribeThing, sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes", "SOURCE", True),
        ("iot:DescribeThing", "LETTERS", False),
        ("iot:DescribeThing, sqs:SendMessage", "LETTERS", True),
    ],
)
def test_a_call_not_granted_and_a_grant_not_called_are_found(
    tmp_path: Path, granted: str, more: str, equal: bool
) -> None:
    text = TEMPLATE.replace("ACTIONS", granted)
    if more == "SOURCE":
        text += (
            "  Source:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties: "
            "{FunctionName: !Ref MadeUp, EventSourceArn: !GetAtt Queue.Arn}\n"
        )
    elif more == "LETTERS":
        text += (
            "      DeadLetterConfig: {TargetArn: !Sub 'arn:${AWS::Partition}:sqs:x:y:${Application}-dead-letters'}\n"
        )
    made_up(tmp_path, handler=SOURCE)
    function = Function.read("made-up", text, "MadeUp", tmp_path)
    assert (function.granted() == function.needed()) is equal
    assert wildcards(function) == function.granted() - {"logs:CreateLogStream", "logs:PutLogEvents"}
