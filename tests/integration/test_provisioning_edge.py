# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution in front of the provisioning API, which can have a web ACL."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from iotops.sandbox.client import Sandbox

REGION, APPLICATION = "eu-west-1", "edged"
STACK, NAME = f"{APPLICATION}-provisioning", "provisioning.iot.example.com"
ACL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/one/1"
TEMPLATE = Path(__file__).parents[2] / "files/cloudformation/provisioning.yaml"


def parameters(sandbox: Sandbox, **more: str) -> list[dict[str, str]]:
    values = {
        "Application": APPLICATION,
        "DomainName": "iot.example.com",
        "HostedZoneId": sandbox.hosted_zone_id,
        "HomeRegion": REGION,
        "Table": "any",
        "ProvisionDevicePackage": "package",
        **more,
    }
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()]


@pytest.fixture(scope="module")
def resources(sandbox: Sandbox) -> dict[str, str]:
    """The stack's resources: physical ids by logical ids."""
    s3, bucket = sandbox.client("s3", REGION), f"{APPLICATION}-{sandbox.account_id}-{REGION}-artifacts"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context): pass")
    s3.put_object(Bucket=bucket, Key="package", Body=package.getvalue())
    cloudformation = sandbox.client("cloudformation", REGION)
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=parameters(
            sandbox,
            EdgeDomainName=NAME,
            EdgeCertificateArn="arn:aws:acm:us-east-1:123456789012:certificate/one",
            EdgeWebAclArn=ACL,
            LocationSources="edge,database",
        ),
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    found = cloudformation.list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}


def outputs(sandbox: Sandbox) -> dict[str, str]:
    [stack] = sandbox.client("cloudformation", REGION).describe_stacks(StackName=STACK)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


def distribution(sandbox: Sandbox, resources: dict[str, str]) -> Any:
    cloudfront = sandbox.client("cloudfront", "us-east-1")
    return cloudfront.get_distribution_config(Id=resources["Edge"])["DistributionConfig"]


def test_it_proves_itself_to_the_api_by_a_secret_that_nobody_chose(sandbox: Sandbox, resources: dict[str, str]) -> None:
    secrets = sandbox.client("secretsmanager", REGION)
    secret = secrets.get_secret_value(SecretId=f"{APPLICATION}-provisioning-edge")["SecretString"]
    [origin] = distribution(sandbox, resources)["Origins"]["Items"]
    assert len(secret) == 48
    assert origin["CustomHeaders"]["Items"] == [{"HeaderName": "x-origin-verify", "HeaderValue": secret}]
    assert origin["DomainName"].startswith(f"{resources['Api']}.execute-api.{REGION}.")
    assert origin["CustomOriginConfig"]["OriginProtocolPolicy"] == "https-only"


def test_it_serves_nothing_below_tls_1_2_and_has_the_web_acl(sandbox: Sandbox, resources: dict[str, str]) -> None:
    config = distribution(sandbox, resources)
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    assert (config["WebACLId"], config["Aliases"]["Items"]) == (ACL, [NAME])
    assert outputs(sandbox)["Url"] == f"https://{NAME}"


def test_it_keeps_no_answer_and_says_where_its_viewer_is(sandbox: Sandbox, resources: dict[str, str]) -> None:
    cloudfront = sandbox.client("cloudfront", "us-east-1")
    behavior = distribution(sandbox, resources)["DefaultCacheBehavior"]
    assert behavior["CachePolicyId"] == "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
    policy = cloudfront.get_origin_request_policy(Id=behavior["OriginRequestPolicyId"])["OriginRequestPolicy"]
    headers = policy["OriginRequestPolicyConfig"]["HeadersConfig"]
    assert headers["HeaderBehavior"] == "whitelist"
    assert sorted(headers["Headers"]["Items"]) == [
        "CloudFront-Viewer-Country", "CloudFront-Viewer-Latitude", "CloudFront-Viewer-Longitude",
    ]  # fmt: skip


def test_without_a_certificate_there_is_no_distribution_and_nothing_is_left_of_it(
    sandbox: Sandbox, resources: dict[str, str]
) -> None:
    cloudformation = sandbox.client("cloudformation", REGION)
    cloudformation.update_stack(
        StackName=STACK, UsePreviousTemplate=True, Parameters=parameters(sandbox), Capabilities=["CAPABILITY_IAM"]
    )
    cloudformation.get_waiter("stack_update_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    assert outputs(sandbox)["Url"].startswith("http")
    assert NAME not in outputs(sandbox)["Url"]
    cloudfront = sandbox.client("cloudfront", "us-east-1")
    with pytest.raises(cloudfront.exceptions.NoSuchDistribution):
        cloudfront.get_distribution(Id=resources["Edge"])
    listed = sandbox.client("secretsmanager", REGION).list_secrets(IncludePlannedDeletion=True)["SecretList"]
    assert f"{APPLICATION}-provisioning-edge" not in [secret["Name"] for secret in listed]
    records = sandbox.client("route53", "us-east-1").list_resource_record_sets(HostedZoneId=sandbox.hosted_zone_id)
    assert NAME not in str(records["ResourceRecordSets"])
