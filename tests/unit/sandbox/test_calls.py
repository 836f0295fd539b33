# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import get_session

from iotops.sandbox.calls import Call, call_of, needs_body

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


def signed(service, operation, parameters):
    """The request boto3 would send, as ASGI scope, headers and body."""
    client = get_session().create_client(
        service,
        "eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="x",
        endpoint_url="http://localhost",
    )
    model = client.meta.service_model.operation_model(operation)
    request = client._serializer.serialize_to_request(parameters, model)
    url = "http://localhost" + request["url_path"]
    sent = AWSRequest(request["method"], url, request["headers"], request["body"], request["query_string"])
    name = client.meta.service_model.signing_name
    SigV4Auth(Credentials("AKIDEXAMPLE", "x"), name, "eu-west-1").add_auth(sent)
    path, _, query = request["url_path"].partition("?")
    more = "&".join(f"{key}={value}" for key, value in request["query_string"].items())
    scope = {"method": request["method"], "path": path, "query_string": "&".join(filter(None, (query, more))).encode()}
    headers = {key.lower(): value for key, value in sent.headers.items()}
    body = request["body"]
    if isinstance(body, dict):
        body = "&".join(f"{key}={value}" for key, value in body.items())
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
