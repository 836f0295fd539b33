# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls are authorised on the resource and with the transport that AWS would see; made-up names are regional."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.mqtt import issue

REGION, OTHER = "eu-west-1", "us-west-2"


def role_client(sandbox: Sandbox, name: str, service: str, *statements: dict[str, Any]) -> Any:
    """A client of a new role that may do what the statements say."""
    iam = sandbox.client("iam", REGION)
    trust = {"Effect": "Allow", "Principal": {"AWS": sandbox.account_id}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    keys = sandbox.client("sts", REGION).assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    return sandbox.client(
        service,
        REGION,
        access_key=keys["AccessKeyId"],
        secret_key=keys["SecretAccessKey"],
        session_token=keys["SessionToken"],
    )


def test_attachments_are_authorised_on_the_certificate(sandbox: Sandbox) -> None:
    root = sandbox.client("iot", REGION)
    root.create_thing(thingName="iam-thing")
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    root.create_policy(policyName="iam-policy", policyDocument=json.dumps(allow))
    mine, other = (
        root.register_certificate_without_ca(certificatePem=issue(name).pem, status="ACTIVE")["certificateArn"]
        for name in ("mine", "other")
    )
    actions = ["iot:AttachThingPrincipal", "iot:AttachPolicy", "iot:DetachThingPrincipal", "iot:DetachPolicy"]
    limited = role_client(sandbox, "attacher", "iot", {"Action": actions, "Resource": mine})
    limited.attach_thing_principal(thingName="iam-thing", principal=mine)
    limited.attach_policy(policyName="iam-policy", target=mine)
    with pytest.raises(ClientError, match="AttachThingPrincipal"):
        limited.attach_thing_principal(thingName="iam-thing", principal=other)
    with pytest.raises(ClientError, match="AttachPolicy"):
        limited.attach_policy(policyName="iam-policy", target=other)
    limited.detach_policy(policyName="iam-policy", target=mine)
    limited.detach_thing_principal(thingName="iam-thing", principal=mine)


def test_targets_are_authorised_on_their_policy(sandbox: Sandbox) -> None:
    iot = sandbox.client("iot", REGION)
    policies = []
    for name in ("iam-shown", "iam-hidden"):
        document = json.dumps({"Version": "2012-10-17", "Statement": []})
        policies.append(iot.create_policy(policyName=name, policyDocument=document)["policyArn"])
    limited = role_client(sandbox, "lister", "iot", {"Action": "iot:ListTargetsForPolicy", "Resource": policies[0]})
    assert limited.list_targets_for_policy(policyName="iam-shown")["targets"] == []
    with pytest.raises(ClientError, match="ListTargetsForPolicy"):
        limited.list_targets_for_policy(policyName="iam-hidden")


def test_a_ca_and_a_domain_configuration_are_authorised_by_their_arns(sandbox: Sandbox) -> None:
    root = sandbox.client("iot", REGION)
    shown, hidden = (
        root.register_ca_certificate(
            caCertificate=issue(name, authority=True).pem, certificateMode="SNI_ONLY", setAsActive=False
        )
        for name in ("shown", "hidden")
    )
    arn = root.create_domain_configuration(domainConfigurationName="iam-shown")["domainConfigurationArn"]
    root.create_domain_configuration(domainConfigurationName="iam-shown-not")
    statement = {
        "Action": ["iot:DescribeCACertificate", "iot:DescribeDomainConfiguration"],
        "Resource": [shown["certificateArn"], arn.rpartition("/")[0] + "/*"],
    }
    limited = role_client(sandbox, "watcher", "iot", statement)
    found = limited.describe_ca_certificate(certificateId=shown["certificateId"])["certificateDescription"]
    assert (found["validity"]["notAfter"] - found["validity"]["notBefore"]).days == 30
    assert limited.describe_domain_configuration(domainConfigurationName="iam-shown")["domainConfigurationArn"] == arn
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.describe_ca_certificate(certificateId=hidden["certificateId"])
    with pytest.raises(ClientError, match="AccessDenied"):
        limited.describe_domain_configuration(domainConfigurationName="iam-shown-not")


def test_streams_are_authorised_by_their_arn(sandbox: Sandbox) -> None:
    dynamodb = sandbox.client("dynamodb", REGION)
    streams = []
    for name in ("iam-read", "iam-hidden"):
        table = dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "K", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "K", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        streams.append(table["TableDescription"]["LatestStreamArn"])
    statement = {"Action": "dynamodb:DescribeStream", "Resource": streams[0]}
    limited = role_client(sandbox, "reader", "dynamodbstreams", statement)
    assert limited.describe_stream(StreamArn=streams[0])["StreamDescription"]["StreamArn"] == streams[0]
    with pytest.raises(ClientError, match="DescribeStream"):
        limited.describe_stream(StreamArn=streams[1])


def test_the_execution_of_a_job_is_authorised_on_the_thing_and_on_the_job(sandbox: Sandbox) -> None:
    root = sandbox.client("iot", REGION)
    things = [root.create_thing(thingName=name)["thingArn"] for name in ("iam-worker", "iam-idler")]
    jobs = [root.create_job(jobId=name, targets=things, document="{}")["jobArn"] for name in ("iam-shown", "iam-other")]
    statement = {"Action": "iot:DescribeJobExecution", "Resource": [things[0], jobs[0]]}
    limited = role_client(sandbox, "foreman", "iot", statement)
    found = limited.describe_job_execution(jobId="iam-shown", thingName="iam-worker")
    assert found["execution"]["status"] == "QUEUED"
    for job, thing in (("iam-other", "iam-worker"), ("iam-shown", "iam-idler")):
        with pytest.raises(ClientError, match="DescribeJobExecution"):
            limited.describe_job_execution(jobId=job, thingName=thing)


def test_a_secret_is_authorised_by_its_arn_with_the_characters_that_aws_adds(sandbox: Sandbox) -> None:
    root = sandbox.client("secretsmanager", REGION)
    for name in ("iam-shown", "iam-shown-not"):
        root.create_secret(Name=name, SecretString=name)
    arn = f"arn:aws:secretsmanager:{REGION}:{sandbox.account_id}:secret:iam-shown-??????"
    limited = role_client(
        sandbox, "keeper", "secretsmanager", {"Action": "secretsmanager:GetSecretValue", "Resource": arn}
    )
    assert limited.get_secret_value(SecretId="iam-shown")["SecretString"] == "iam-shown"
    with pytest.raises(ClientError, match="GetSecretValue"):
        limited.get_secret_value(SecretId="iam-shown-not")


def test_the_status_of_a_health_check_is_authorised_on_the_check(sandbox: Sandbox) -> None:
    root = sandbox.client("route53", "us-east-1")
    config = {"Type": "TCP", "Port": 8883, "FullyQualifiedDomainName": "x.example.com"}
    shown, hidden = (
        root.create_health_check(CallerReference=name, HealthCheckConfig=config)["HealthCheck"]["Id"]
        for name in ("iam-shown", "iam-hidden")
    )
    statement = {"Action": "route53:GetHealthCheckStatus", "Resource": f"arn:aws:route53:::healthcheck/{shown}"}
    limited = role_client(sandbox, "physician", "route53", statement)
    assert "HealthCheckObservations" in limited.get_health_check_status(HealthCheckId=shown)
    with pytest.raises(ClientError, match="GetHealthCheckStatus"):
        limited.get_health_check_status(HealthCheckId=hidden)


def test_the_gateway_counts_as_tls(sandbox: Sandbox) -> None:
    sqs = sandbox.client("sqs", REGION)
    arn = f"arn:aws:sqs:{REGION}:{sandbox.account_id}:only-tls"
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn}
    deny["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    url = sqs.create_queue(QueueName="only-tls", Attributes={"Policy": policy})["QueueUrl"]
    assert sqs.send_message(QueueUrl=url, MessageBody="x")["MessageId"]


def test_stacks_of_one_name_in_two_regions_have_roles_of_their_own(sandbox: Sandbox) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}},
    }
    names = set()
    for region in (REGION, OTHER):
        cloudformation = sandbox.client("cloudformation", region)
        cloudformation.create_stack(
            StackName="same-name",
            TemplateBody=json.dumps({"Resources": {"Role": role}}),
            Capabilities=["CAPABILITY_IAM"],
        )
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="same-name", WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )
        [resource] = cloudformation.describe_stack_resources(StackName="same-name")["StackResources"]
        names.add(resource["PhysicalResourceId"])
    assert len(names) == 2


@pytest.mark.parametrize("operation", ["search_index", "get_statistics", "get_cardinality"])
def test_queries_are_authorised_on_their_index(sandbox: Sandbox, operation: str) -> None:
    arn = f"arn:aws:iot:{REGION}:{sandbox.account_id}:index"
    actions = ["iot:SearchIndex", "iot:GetStatistics", "iot:GetCardinality"]
    for index, error in (("AWS_Things", "ResourceNotFoundException"), ("AWS_ThingGroups", "Forbidden|AccessDenied")):
        client = role_client(
            sandbox, f"queries-{operation}-{index}", "iot", {"Action": actions, "Resource": f"{arn}/{index}"}
        )
        with pytest.raises(ClientError, match=error):
            getattr(client, operation)(queryString="*")


def test_calls_of_a_map_run_are_authorised_on_it(sandbox: Sandbox) -> None:
    arn = f"arn:aws:states:{REGION}:{sandbox.account_id}:mapRun:machine/Each"
    actions = ["states:DescribeMapRun", "states:ListExecutions"]
    client = role_client(sandbox, "map-runs", "stepfunctions", {"Action": actions, "Resource": f"{arn}:mine"})
    for call in (client.describe_map_run, client.list_executions):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            call(mapRunArn=f"{arn}:mine")
        with pytest.raises(ClientError, match="AccessDenied"):
            call(mapRunArn=f"{arn}:other")
