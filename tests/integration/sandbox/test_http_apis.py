# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP APIs of API Gateway: whose request it is, what is refused, and what is logged."""

from __future__ import annotations

import http.client
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from iotops.sandbox.client import Sandbox
from iotops.sandbox.errors import SandboxError
from tests.integration.sandbox.chain import eventually, unique

REGION = "eu-west-1"
LOG_FORMAT = json.dumps(
    {
        "id": "$context.requestId",
        "ip": "$context.identity.sourceIp",
        "route": "$context.routeKey",
        "status": "$context.status",
        "x": "$context.nothing",
    }
)
TEMPLATE = """
Parameters:
  Rate: {Type: Number, Default: 1000}
  Source: {Type: String, Default: "*"}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
  Echo:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: !Ref AWS::StackName
      Runtime: python3.13
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Code:
        ZipFile: |
          import json
          def handler(event, context):
              if event.get("body") == "fail":
                  raise ValueError("a secret")
              return {"statusCode": 201, "body": json.dumps({**event, "body": None})}
  Permission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref Echo
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub "arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/${Source}"
  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: echo, ProtocolType: HTTP}}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      {ApiId: !Ref Api, IntegrationType: AWS_PROXY, IntegrationUri: !GetAtt Echo.Arn, PayloadFormatVersion: "2.0"}
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: POST /v1/echo, Target: !Sub "integrations/${Integration}"}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "${AWS::StackName}-access"}}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties:
      ApiId: !Ref Api
      StageName: $default
      AutoDeploy: true
      DefaultRouteSettings: {ThrottlingBurstLimit: !Ref Rate, ThrottlingRateLimit: !Ref Rate}
      AccessLogSettings:
        DestinationArn: !Sub "arn:aws:logs:${AWS::Region}:${AWS::AccountId}:log-group:${Logs}"
        Format: '%s'
Outputs:
  ApiId: {Value: !Ref Api}
"""


class Api:
    """An API that answers with the event that its function got."""

    def __init__(self, sandbox: Sandbox, **parameters: str) -> None:
        self.sandbox, self.name = sandbox, unique("echo")
        cloudformation = sandbox.client("cloudformation", REGION)
        cloudformation.create_stack(
            StackName=self.name,
            TemplateBody=TEMPLATE % LOG_FORMAT,
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(StackName=self.name, WaiterConfig={"Delay": 1})
        [stack] = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        self.id = stack["Outputs"][0]["OutputValue"]

    def post(
        self, body: str | bytes = "{}", path: str = "/v1/echo", source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of an answer, asked from the loopback address ``source``."""
        netloc = urlsplit(self.sandbox.gateway).netloc
        connection = http.client.HTTPConnection(netloc, timeout=60, source_address=(source, 0))
        try:
            connection.request(
                "POST",
                f"/_aws/execute-api/{self.id}{path}",
                body,
                {
                    "content-type": "application/json",
                    **{name.replace("_", "-"): each for name, each in headers.items()},
                },
            )
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read())
        finally:
            connection.close()

    def log(self) -> list[dict[str, str]]:
        """The access log."""
        found = self.sandbox.client("logs", REGION).filter_log_events(logGroupName=f"{self.name}-access")
        return [json.loads(event["message"]) for event in found["events"]]


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> Api:
    return Api(sandbox)


def test_the_function_is_told_the_callers_address_which_no_header_changes(api: Api) -> None:
    status, headers, event = api.post(source="127.77.0.5", X_Forwarded_For="8.8.8.8")
    assert status == 201
    assert event["requestContext"]["http"]["sourceIp"] == "127.77.0.5"
    assert event["headers"]["x-forwarded-for"] == "8.8.8.8, 127.77.0.5"
    assert event["requestContext"]["requestId"] == headers["apigw-requestid"]
    assert api.post()[2]["headers"]["x-forwarded-for"] == "127.0.0.1"


def test_a_loopback_address_stands_for_a_public_one(api: Api) -> None:
    assert api.sandbox.viewers({"127.77.0.5": "18.204.0.1"}) == {"127.77.0.5": "18.204.0.1"}
    try:
        _status, _headers, event = api.post(source="127.77.0.5")
        assert event["requestContext"]["http"]["sourceIp"] == event["headers"]["x-forwarded-for"] == "18.204.0.1"
        assert api.post(source="127.77.0.6")[2]["requestContext"]["http"]["sourceIp"] == "127.77.0.6"
    finally:
        api.sandbox.viewers({})
    assert api.post(source="127.77.0.5")[2]["requestContext"]["http"]["sourceIp"] == "127.77.0.5"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"10.0.0.1": "18.204.0.1"}, "10.0.0.1 is no loopback address"),
        ({"127.0.0.9": "Virginia"}, "'Virginia' does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_what_stands_for_no_address_is_refused(sandbox: Sandbox, wanted: dict[str, str], message: str) -> None:
    with pytest.raises(SandboxError, match=message):
        sandbox.viewers(wanted)


def test_each_request_is_a_line_of_the_access_log_in_the_stages_format(api: Api) -> None:
    _status, headers, _event = api.post(source="127.77.0.8")
    _status, lost, _body = api.post(source="127.77.0.8", path="/elsewhere")
    mine = [line for line in api.log() if line["ip"] == "127.77.0.8"]
    assert mine == [
        {
            "id": headers["apigw-requestid"],
            "ip": "127.77.0.8",
            "route": "POST /v1/echo",
            "status": "201",
            "x": "-",
        },
        {"id": lost["apigw-requestid"], "ip": "127.77.0.8", "route": "-", "status": "404", "x": "-"},
    ]


def test_more_than_ten_megabytes_never_reach_the_function(api: Api) -> None:
    assert api.post(b"x" * (10 * 1024 * 1024 + 1))[::2] == (413, {"message": "Request Entity Too Large"})
    assert api.log()[-1]["route"] == "-"


def test_a_function_that_fails_tells_the_caller_nothing(api: Api) -> None:
    assert api.post("fail")[::2] == (500, {"message": "Internal Server Error"})


def test_a_region_that_is_cut_off_answers_nobody(api: Api) -> None:
    api.sandbox.cut(REGION)
    try:
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            api.post()
    finally:
        api.sandbox.restore(REGION)
    assert api.post()[0] == 201


def test_a_fault_rule_strikes_an_api(api: Api) -> None:
    rule = api.sandbox.fault(service="execute-api", region=REGION, effect="error", status=503, times=1)
    assert [api.post()[0], api.post()[0]] == [503, 201]
    api.sandbox.clear_faults(rule)


def test_the_alarm_on_server_errors_has_its_metric(api: Api) -> None:
    before = server_errors(api)
    api.post("fail")
    assert eventually(lambda: server_errors(api) == before + 1)


def server_errors(api: Api) -> float:
    now = api.sandbox.now()
    points = api.sandbox.client("cloudwatch", REGION).get_metric_statistics(
        Namespace="AWS/ApiGateway",
        MetricName="5xx",
        Dimensions=[{"Name": "ApiId", "Value": api.id}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(float(point["Sum"]) for point in points)


def test_the_stage_throttles_what_comes_at_once(sandbox: Sandbox) -> None:
    api = Api(sandbox, Rate="2")
    answers = [api.post()[::2] for _ in range(6)]
    statuses = [status for status, _body in answers]
    assert statuses[:2] == [201, 201]
    assert (429, {"message": "Too Many Requests"}) in answers
    assert eventually(lambda: api.post()[0] == 201, seconds=5)
    stage = sandbox.client("apigatewayv2", REGION).get_stage(ApiId=api.id, StageName="$default")
    assert stage["DefaultRouteSettings"] == {"ThrottlingBurstLimit": 2, "ThrottlingRateLimit": 2.0}


def test_an_api_that_the_function_does_not_permit_cannot_invoke_it(sandbox: Sandbox) -> None:
    api = Api(sandbox, Source="$default/GET/v1/echo")
    assert api.post()[::2] == (500, {"message": "Internal Server Error"})
