# SPDX-License-Identifier: GPL-3.0-or-later
"""Route 53 and Lambda."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.chain import function as chain_function
from tests.integration.sandbox.chain import role

REGION = "eu-west-2"
CODE = """
import os, sys

class Refused(Exception):
    pass

def handler(event, context):
    import wheel_for_another_machine
    if event.get("fail"):
        raise Refused("no")
    return {"environment": sorted(os.environ), "wheel": wheel_for_another_machine.__file__, "process": os.getpid()}
"""


@pytest.fixture(scope="module")
def function(sandbox):
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = sandbox.client("iam", "us-east-1").create_role(
        RoleName="function", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", CODE)
        package.writestr("wheel_for_another_machine.py", "")
        # What pip fetches for another processor: found first on the path, and impossible to load here.
        package.writestr("cryptography/__init__.py", "from . import _rust")
        package.writestr("cryptography/_rust.abi3.so", b"not for this machine")
        package.writestr("identity.py", "from cryptography import x509\ndef handler(e, c): return x509.__name__")
    for name in ("index", "identity"):
        sandbox.client("lambda", REGION).create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler=f"{name}.handler",
            Role=role,
            Code={"ZipFile": archive.getvalue()},
            Architectures=["arm64"],
        )

    def invoke(name, **event):
        answer = sandbox.client("lambda", REGION).invoke(FunctionName=name, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.load(answer["Payload"])

    return invoke


def test_an_exception_is_reported_by_its_class(function):
    error, payload = function("index", fail=True)
    assert (error, payload["errorType"], payload["errorMessage"]) == ("Unhandled", "Refused", "no")


def test_an_exception_ends_the_invocation_and_not_the_process(function):
    before = function("index")[1]["process"]
    function("index", fail=True)
    assert function("index")[1]["process"] == before


def test_a_function_does_not_inherit_the_environment_of_whoever_started_the_sandbox(function):
    _error, payload = function("index")
    assert not {"HOSTNAME", "PYTEST_CURRENT_TEST", "USER", "SHLVL"} & set(payload["environment"])


def test_a_function_calls_as_its_role_in_its_region(sandbox):
    """boto3 needs no word of the function's; the zip's own modules come first, and IAM is asked at every call."""
    code = """
import boto3, os

def handler(event, context):
    answers = {"region": os.environ["AWS_REGION"]}
    for name, call in (
        ("caller", lambda: boto3.client("sts").get_caller_identity()["Arn"]),
        ("allowed", lambda: boto3.client("iot").describe_thing(thingName="allowed")["thingName"]),
        ("denied", lambda: boto3.client("iot").describe_thing(thingName="denied")["thingName"]),
    ):
        try:
            answers[name] = call()
        except Exception as error:
            answers[name] = str(error)
    return answers
"""
    iot = sandbox.client("iot", REGION)
    for name in ("allowed", "denied"):
        iot.create_thing(thingName=name)
    arn = f"arn:aws:iot:{REGION}:{sandbox.account_id}:thing/allowed"
    role_arn = role(sandbox, "lambda.amazonaws.com", {"iot:DescribeThing": arn, "sts:GetCallerIdentity": "*"})
    made = chain_function(sandbox, code, role_arn, region=REGION)
    answers = json.load(sandbox.client("lambda", REGION).invoke(FunctionName=made)["Payload"])
    assert (answers["region"], answers["allowed"]) == (REGION, "allowed")
    assert f":assumed-role/{role_arn.rsplit('/', 1)[-1]}/{made.rsplit(':', 1)[-1]}" in answers["caller"]
    assert "not authorized to perform: iot:DescribeThing" in answers["denied"]


def test_what_a_function_logs_at_the_level_that_it_sets_is_in_its_log(sandbox):
    code = """
import logging

logging.getLogger().setLevel(logging.INFO)

def handler(event, context):
    logging.getLogger().info("informed")
    logging.getLogger().debug("too much")
"""
    made = chain_function(sandbox, code, role(sandbox, "lambda.amazonaws.com", {"logs:*": "*"}), region=REGION)
    sandbox.client("lambda", REGION).invoke(FunctionName=made)
    group = f"/aws/lambda/{made.rsplit(':', 1)[-1]}"
    events = sandbox.client("logs", REGION).filter_log_events(logGroupName=group)["events"]
    said = [event["message"].strip() for event in events]
    assert "[INFO] informed" in said
    assert not [line for line in said if "too much" in line]


def test_a_function_whose_role_lambda_may_not_assume_is_refused(sandbox):
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        chain_function(sandbox, "", role(sandbox, "states.amazonaws.com", {}), region=REGION)


def test_a_package_built_for_another_machine_falls_back_to_the_sandboxs_own(function):
    assert function("identity") == (None, "cryptography.x509")


def test_a_zone_without_dnssec_says_so_and_example_com_is_ours(sandbox):
    route53 = sandbox.client("route53", "us-east-1")
    zone = route53.get_hosted_zone(Id=sandbox.hosted_zone_id)["HostedZone"]
    assert zone["Name"] == "example.com."
    assert route53.get_dnssec(HostedZoneId=sandbox.hosted_zone_id)["Status"]["ServeSignature"] == "NOT_SIGNING"


def test_a_health_check_is_made_read_and_deleted(sandbox):
    route53 = sandbox.client("route53", "us-east-1")
    made = route53.create_health_check(
        CallerReference="one",
        HealthCheckConfig={"Type": "TCP", "Port": 8883, "FullyQualifiedDomainName": "x.example.com"},
    )["HealthCheck"]
    assert route53.get_health_check(HealthCheckId=made["Id"])["HealthCheck"]["HealthCheckConfig"]["Port"] == 8883
    route53.delete_health_check(HealthCheckId=made["Id"])


def test_a_health_check_tells_whether_a_region_is_cut_off(sandbox):
    route53 = sandbox.client("route53", "us-east-1")
    iot = sandbox.client("iot", REGION)
    endpoint = iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    config = {"Type": "TCP", "FullyQualifiedDomainName": endpoint, "Port": 8883, "RequestInterval": 30}
    check = route53.create_health_check(CallerReference="gap", HealthCheckConfig=config)["HealthCheck"]["Id"]

    def seen():
        found = route53.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]
        return {each["StatusReport"]["Status"].partition(":")[0] for each in found}

    def measured():
        metric = {
            "Namespace": "AWS/Route53", "MetricName": "HealthCheckStatus",
            "Dimensions": [{"Name": "HealthCheckId", "Value": check}],
        }  # fmt: skip
        query = {"Id": "c0", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Minimum"}}
        now = datetime.now(UTC)
        [result] = sandbox.client("cloudwatch", "us-east-1").get_metric_data(
            MetricDataQueries=[query], StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1)
        )["MetricDataResults"]
        return max(zip(result["Timestamps"], result["Values"], strict=True))[1]

    assert (seen(), measured()) == ({"Success"}, 1)
    sandbox.cut(REGION)
    try:
        assert (seen(), measured()) == ({"Failure"}, 0)
    finally:
        sandbox.restore(REGION)
    assert seen() == {"Success"}
    route53.delete_health_check(HealthCheckId=check)
    with pytest.raises(ClientError, match="NoSuchHealthCheck"):
        seen()
