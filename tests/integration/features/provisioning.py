# SPDX-License-Identifier: GPL-3.0-or-later
"""The provisioning API: its table in the home region, the API and its key in each, and the regions' records in DNS."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509

from iotops.sandbox.client import Sandbox
from tests.integration.features.rotation import keep_key
from tests.integration.sandbox.mqtt import Issued
from tests.provisioning import SHARED_KEY, public_pem

if TYPE_CHECKING:
    from tests.integration.deployment import Deployment

TABLE, DOMAIN = "iot-global-provisioning", "iot.example.com"
FUNCTION = "provision-device"
SHARED = (
    *(f"files/lambda/shared/{name}.py" for name in ("aws", "rows_table", "csr", "signing")),
    *(f"plugins/module_utils/_registry/{name}.py" for name in ("rows", "rotation")),
    *(f"plugins/module_utils/_geography/{name}.py" for name in ("choosing", "countries", "regions")),
)


def deploy(deployment: Deployment, region: str, rules: dict[str, Any] | None = None, **parameters: str) -> None:
    """Upload the function, keep the CA's key, publish the region and make the stacks; ``rules`` beside the regions."""
    from tests.integration.deployment import FILES

    home = deployment.regions[0]
    if region == home:
        deployment.stack(home, "provisioning-table", template("provisioning_table"), Table=TABLE)
    keep_key(deployment, region)
    publish(deployment, region)
    paths = [FILES.parent / name for name in SHARED]
    choice = {"regions": list(deployment.regions), "default_region": home, **(rules or {})}
    package = deployment.upload(
        region,
        FUNCTION,
        "provision_device",
        {
            **{path.name: path.read_text() for path in paths},
            "choice.json": json.dumps(choice),
            "compatible.pub.pem": public_pem(SHARED_KEY),
        },
    )
    wanted = {
        "DomainName": DOMAIN,
        "HostedZoneId": deployment.sandbox.hosted_zone_id,
        "HomeRegion": home,
        "Table": TABLE,
        "Compatible": "true",
        "ProvisionDevicePackage": package,
        "BurstLimit": "5000",
        "RateLimit": "5000",
    }
    deployment.stack(region, "provisioning", **{**wanted, **parameters})


def template(name: str) -> str:
    """The text of a template."""
    from tests.integration.deployment import FILES

    return (FILES / f"cloudformation/{name}.yaml").read_text()


def publish(deployment: Deployment, region: str) -> None:
    """The region's record, as the stack ``endpoint`` makes it, without a health check."""
    endpoint = deployment.sandbox.client("iot", region).describe_endpoint(endpointType="iot:Data-ATS")
    record = {
        "Name": DOMAIN,
        "Type": "CNAME",
        "SetIdentifier": region,
        "Region": region,
        "TTL": 60,
        "ResourceRecords": [{"Value": endpoint["endpointAddress"]}],
    }
    _change(deployment, "UPSERT", record)


def hide(deployment: Deployment, region: str) -> None:
    """Take the region out of DNS, as evacuating it does."""
    route53 = deployment.sandbox.client("route53", "us-east-1")
    found = route53.list_resource_record_sets(HostedZoneId=deployment.sandbox.hosted_zone_id)["ResourceRecordSets"]
    [record] = [each for each in found if each.get("SetIdentifier") == region]
    _change(deployment, "DELETE", record)


def _change(deployment: Deployment, action: str, record: dict[str, Any]) -> None:
    deployment.sandbox.client("route53", "us-east-1").change_resource_record_sets(
        HostedZoneId=deployment.sandbox.hosted_zone_id,
        ChangeBatch={"Changes": [{"Action": action, "ResourceRecordSet": record}]},
    )


def url(deployment: Deployment, region: str) -> str:
    """Where the region's API answers."""
    [stack] = deployment.sandbox.client("cloudformation", region).describe_stacks(
        StackName=f"{deployment.application}-provisioning"
    )["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    return f"{deployment.sandbox.gateway}/_aws/execute-api/{outputs['ApiId']}"


def issued(thing: str, certificate: x509.Certificate, key: Any) -> Issued:
    """What a device presents that was given the certificate for its key."""
    assert certificate.subject.rfc4514_string() == f"CN={thing}"
    return Issued(certificate, key)


def kill_function(sandbox: Sandbox) -> int:
    """SIGKILL the processes of all regions' functions; how many there were."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            name = f"AWS_LAMBDA_FUNCTION_NAME=test-fleet-{FUNCTION}".encode()
            if parent == sandbox.pid and name in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
    return killed


def logs(deployment: Deployment, region: str) -> str:
    """All that the function and the API logged."""
    client = deployment.sandbox.client("logs", region)
    groups = (
        f"/aws/lambda/{deployment.application}-{FUNCTION}",
        f"/aws/vendedlogs/apigateway/{deployment.application}-provisioning",
    )
    pages = [client.get_paginator("filter_log_events").paginate(logGroupName=group) for group in groups]
    return "\n".join(event["message"] for each in pages for page in each for event in page["events"])
