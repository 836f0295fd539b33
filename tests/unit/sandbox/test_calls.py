# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
from urllib.parse import unquote, urlsplit

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.session import get_session

from iotops.sandbox.calls import Call, call_of, needs_body, resources_of

CASES = [
    ("iot", "CreateThing", {"thingName": "a"}),
    ("iot", "ListThings", {}),
    ("iot", "DescribeCertificate", {"certificateId": "a" * 64}),
    ("iot", "ListThingPrincipalsV2", {"thingName": "a"}),
    ("iot", "AttachThingPrincipal", {"thingName": "a", "principal": "arn:x"}),
    ("iot", "UpdateEventConfigurations", {"eventConfigurations": {}}),
    ("iot-data", "Publish", {"topic": "a/b"}),
    ("dynamodb", "UpdateItem", {"TableName": "abc", "Key": {}}),
    ("sqs", "SendMessage", {"QueueUrl": "http://x/1", "MessageBody": "b"}),
    ("s3", "PutObject", {"Bucket": "abc", "Key": "d/e"}),
    ("s3", "CopyObject", {"Bucket": "abc", "Key": "d", "CopySource": "abc/e"}),
    ("s3", "GetObject", {"Bucket": "abc", "Key": "d/e"}),
    ("s3", "ListObjectsV2", {"Bucket": "abc"}),
    ("s3", "PutBucketPolicy", {"Bucket": "abc", "Policy": "{}"}),
    ("s3", "CreateBucket", {"Bucket": "abc"}),
    ("lambda", "Invoke", {"FunctionName": "f"}),
    ("lambda", "GetFunction", {"FunctionName": "f"}),
    ("route53", "ChangeResourceRecordSets", {"HostedZoneId": "Z1", "ChangeBatch": {"Changes": []}}),
    ("cloudformation", "CreateStack", {"StackName": "s"}),
    ("iam", "GetRole", {"RoleName": "r"}),
    ("stepfunctions", "StartExecution", {"stateMachineArn": "arn:x"}),
    ("cloudwatch", "PutMetricData", {"Namespace": "n", "MetricData": []}),
    ("acm", "ImportCertificate", {"Certificate": b"c", "PrivateKey": b"k"}),
    ("events", "PutEvents", {"Entries": []}),
    ("pipes", "CreatePipe", {"Name": "p", "Source": "s", "Target": "t", "RoleArn": "r"}),
    ("sts", "AssumeRole", {"RoleArn": "r", "RoleSessionName": "s"}),
]


SESSION = get_session()


def signed(service, operation, parameters):
    """The request boto3 would send, as ASGI scope, headers and body."""
    client = SESSION.create_client(
        service,
        "eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="x",
        endpoint_url="http://localhost",
        config=Config(parameter_validation=False, s3={"addressing_style": "path"}),
    )
    sent = []

    def capture(request, **_kwargs):
        sent.append(request)
        return AWSResponse(request.url, 200, {}, None)

    client.meta.events.register("before-send", capture)
    with contextlib.suppress(Exception):  # there is no answer to read
        client._make_api_call(operation, parameters)
    url, body = urlsplit(sent[0].url), sent[0].body
    scope = {"method": sent[0].method, "path": unquote(url.path), "raw_path": url.path.encode()}
    scope["query_string"] = url.query.encode()
    headers = {
        key.lower(): value.decode() if isinstance(value, bytes) else value for key, value in sent[0].headers.items()
    }
    return scope, headers, body.encode() if isinstance(body, str) else body


@pytest.mark.parametrize(("service", "operation", "parameters"), CASES)
def test_a_request_of_boto3_is_recognised(service, operation, parameters):
    scope, headers, body = signed(service, operation, parameters)
    call = call_of(scope, headers, body if needs_body(headers) else None)
    assert (call.service, call.operation, call.region, call.access_key) == (
        service,
        operation,
        "eu-west-1",
        "AKIDEXAMPLE",
    )


def test_an_unsigned_request_has_no_region_and_no_operation():
    assert call_of({"method": "GET", "path": "/x", "query_string": b""}, {}) == Call("", "", "", "")


def test_a_presigned_request_is_recognised():
    query = b"X-Amz-Credential=AKID%2F20260101%2Feu-west-1%2Fs3%2Faws4_request"
    call = call_of({"method": "GET", "path": "/bucket/key", "query_string": query}, {})
    assert (call.service, call.operation, call.region, call.access_key) == ("s3", "GetObject", "eu-west-1", "AKID")


@pytest.mark.parametrize(
    ("operation", "writes"),
    [
        ("ListThings", False),
        ("DescribeStacks", False),
        ("GetItem", False),
        ("CreateThing", True),
        ("ReceiveMessage", True),
    ],
)
def test_reading_calls_are_told_from_writing_ones(operation, writes):
    assert Call("", "", operation, "").writes is writes


QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/q"
MACHINE = "arn:aws:states:eu-west-1:1:stateMachine:m"
GET = {"TableName": "t", "Key": {"TableName": {"S": "x"}}}


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "named"),
    [
        ("dynamodb", "GetItem", GET, ["t"]),
        (
            "dynamodb",
            "TransactGetItems",
            {"TransactItems": [{"Get": GET}, {"Get": GET | {"TableName": "u"}}]},
            ["t", "u"],
        ),
        ("dynamodb", "BatchGetItem", {"RequestItems": {"t": {"Keys": [GET["Key"]] * 2}}}, ["t", "t"]),
        ("dynamodb", "BatchWriteItem", {"RequestItems": {"t": [{"DeleteRequest": {"Key": GET["Key"]}}]}}, ["t"]),
        ("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": '{"QueueUrl": "no"}'}, ["q"]),
        ("stepfunctions", "StartExecution", {"stateMachineArn": MACHINE, "input": "{}"}, ["m"]),
        ("events", "PutEvents", {"Entries": [{"EventBusName": "b", "Detail": "{}"}] * 2}, ["b", "b"]),
        ("lambda", "Invoke", {"FunctionName": "f", "Payload": b'{"TableName": "no"}'}, ["f"]),
        ("iot", "CreateThing", {"thingName": "a"}, []),
    ],
)
def test_a_request_says_what_it_is_about(service, operation, parameters, named):
    scope, headers, body = signed(service, operation, parameters)
    body = body if needs_body(headers) else None
    assert resources_of(call_of(scope, headers, body), scope["path"], body) == named
