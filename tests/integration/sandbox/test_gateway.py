# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal and the fault rules, through the protocols of the services."""

from __future__ import annotations

import json
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from iotops.sandbox.errors import SandboxError

REGION, FAR = "eu-west-1", "us-west-2"
CALLS = [
    ("iot", "list_things", {}, "ThrottlingException"),
    ("iot-data", "get_thing_shadow", {"thingName": "x"}, "ThrottlingException"),
    ("dynamodb", "list_tables", {}, "ThrottlingException"),
    ("sqs", "list_queues", {}, "ThrottlingException"),
    ("sns", "list_topics", {}, "Throttling"),
    ("iam", "list_roles", {}, "Throttling"),
    ("cloudformation", "list_stacks", {}, "Throttling"),
    ("s3", "list_buckets", {}, "SlowDown"),
    ("route53", "list_hosted_zones", {}, "Throttling"),
    ("lambda", "list_functions", {}, "TooManyRequestsException"),
    ("stepfunctions", "list_state_machines", {}, "ThrottlingException"),
    ("cloudwatch", "list_metrics", {}, "Throttling"),
    ("acm", "list_certificates", {}, "ThrottlingException"),
    ("events", "list_rules", {}, "ThrottlingException"),
    ("pipes", "list_pipes", {}, "ThrottlingException"),
    ("logs", "describe_log_groups", {}, "ThrottlingException"),
]


@pytest.fixture(autouse=True)
def no_faults_left(sandbox):
    yield
    sandbox.clear_faults()


@pytest.fixture
def since(sandbox):
    time.sleep(0.002)  # the journal counts in milliseconds
    return sandbox.now()


@pytest.mark.parametrize(("service", "method", "arguments", "code"), CALLS)
def test_a_throttled_call_fails_in_the_services_own_protocol_and_is_journaled(
    sandbox, since, service, method, arguments, code
):
    client = sandbox.client(service, REGION)
    operation = client.meta.method_to_api_mapping[method]
    sandbox.fault(service=service, operation=operation, effect="throttle")
    with pytest.raises(ClientError) as caught:
        getattr(client, method)(**arguments)
    assert caught.value.response["Error"]["Code"] in (code, "ThrottlingException")
    entry = sandbox.journal(since, service=service)[-1]
    assert (entry["operation"], entry["region"], entry["caller"]) == (operation, REGION, "test")
    assert entry["error"] == caught.value.response["Error"]["Code"]
    assert entry["status"] == caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_rule_strikes_only_what_it_selects_and_as_often_as_it_says(sandbox):
    sandbox.fault(
        region=FAR, service="iot", operation="*Thing*", effect="error", error="InternalFailureException", times=1
    )
    sandbox.client("iot", REGION).list_things()
    sandbox.client("iot", FAR).list_policies()
    far = sandbox.client("iot", FAR)
    before = len(sandbox.journal(service="iot", region=FAR, operation="ListThings"))
    assert far.list_things()["things"] == []  # boto3's own second attempt
    assert len(sandbox.journal(service="iot", region=FAR, operation="ListThings")) - before == 2


def test_fail_after_does_the_call_and_reports_failure(sandbox):
    iot = sandbox.client("iot", REGION)
    sandbox.fault(
        service="iot", operation="CreateThing", effect="fail-after", status=400, error="InvalidRequestException"
    )
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.create_thing(thingName="done-anyway")
    assert iot.describe_thing(thingName="done-anyway")["thingName"] == "done-anyway"


def test_refused_and_timed_out_calls_reset_the_connection(sandbox, since):
    sqs = sandbox.client("sqs", REGION)
    rule = sandbox.fault(service="sqs", effect="refuse")
    with pytest.raises((ConnectionClosedError, EndpointConnectionError)):
        sqs.list_queues()
    sandbox.clear_faults(rule)
    sandbox.fault(service="sqs", effect="timeout", delay=0.3)
    started = time.monotonic()
    with pytest.raises((ConnectionClosedError, EndpointConnectionError, ReadTimeoutError)):
        sqs.list_queues()
    assert time.monotonic() - started >= 0.3
    assert {entry["status"] for entry in sandbox.journal(since, service="sqs")} == {0}


def test_latency_is_added_per_region(sandbox):
    sandbox.fault(region=FAR, effect="delay", delay=0.2)
    sandbox.client("iot", FAR).list_things()
    sandbox.client("iot", REGION).list_things()
    near, far = (sandbox.journal(service="iot", region=region) for region in (REGION, FAR))
    assert far[-1]["ms"] >= 200 > near[-1]["ms"]


def test_a_rule_may_name_its_caller(sandbox):
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
    )
    iam = sandbox.client("iam", REGION)
    role = iam.create_role(RoleName="faulty", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}]}
    iam.put_role_policy(RoleName="faulty", PolicyName="p", PolicyDocument=json.dumps(allow))
    keys = sandbox.client("sts", REGION).assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    as_role = {
        "access_key": keys["AccessKeyId"],
        "secret_key": keys["SecretAccessKey"],
        "session_token": keys["SessionToken"],
    }
    mine = sandbox.client("sqs", REGION, **as_role)
    mine.list_queues()
    assert sandbox.journal(service="sqs")[-1]["caller"].endswith(":assumed-role/faulty/me")
    with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
        sandbox.client("dynamodb", REGION, **as_role).list_tables()
    sandbox.fault(caller="*assumed-role/faulty/*", effect="throttle")
    with pytest.raises(ClientError, match="Throttling"):
        mine.list_queues()
    sandbox.client("sqs", REGION).list_queues()


def test_the_journal_never_shows_a_body(sandbox, since):
    sandbox.client("iot", REGION).create_thing(thingName="body", attributePayload={"attributes": {"a": "in-the-body"}})
    text = (sandbox.directory / "journal.jsonl").read_text()
    assert "in-the-body" not in text
    assert [entry["operation"] for entry in sandbox.journal(since, service="iot")] == ["CreateThing"]


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"effect": "explode"}, "effect 'explode' is not one of throttle, error"),
        ({"effect": "delay"}, "needs delay, in seconds"),
        ({"effect": "error", "operaton": "X"}, "unknown operaton"),
        ({"effect": "error", "probability": 2}, "not between 0 and 1"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_line(sandbox, rule, line):
    with pytest.raises(SandboxError, match=line):
        sandbox.fault(**rule)
    with pytest.raises(SandboxError, match="no region 'eu-nowhere-1'"):
        sandbox.cut("eu-nowhere-1")
