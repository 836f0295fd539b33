# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from botocore.parsers import create_parser
from botocore.session import get_session

from iotops.sandbox.calls import Call
from iotops.sandbox.error_bodies import error_answer, throttling

SERVICES = [
    "iot",
    "iot-data",
    "dynamodb",
    "sqs",
    "iam",
    "sts",
    "cloudformation",
    "s3",
    "route53",
    "ec2",
    "lambda",
    "logs",
]


def parsed(call, protocol=None):
    """What boto3 makes of the answer."""
    model = get_session().get_service_model(call.service)
    status, headers, body = error_answer(call, "SomeErrorException", 418, "the <message>")
    response = {"status_code": status, "headers": {n.decode(): v.decode() for n, v in headers}, "body": body}
    shape = model.operation_model(model.operation_names[0]).output_shape
    return create_parser(protocol or model.resolved_protocol).parse(response, shape)


@pytest.mark.parametrize("service", SERVICES)
def test_boto3_reads_code_message_and_status(service):
    answer = parsed(Call("eu-west-1", service, "X", ""))
    assert answer["Error"]["Code"] == "SomeErrorException"
    assert answer["Error"]["Message"] == "the <message>"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 418


def test_boto3_reads_an_error_in_cbor():
    answer = parsed(Call("eu-west-1", "cloudwatch", "X", "", cbor=True), "smithy-rpc-v2-cbor")
    assert (answer["Error"]["Code"], answer["Error"]["Message"]) == ("SomeErrorException", "the <message>")


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("dynamodb", ("ThrottlingException", 400)),
        ("iot", ("ThrottlingException", 429)),
        ("s3", ("SlowDown", 503)),
        ("lambda", ("TooManyRequestsException", 429)),
        ("iam", ("Throttling", 400)),
    ],
)
def test_every_service_has_its_own_throttling_error(service, expected):
    assert throttling(Call("eu-west-1", service, "X", "")) == expected
