# SPDX-License-Identifier: GPL-3.0-or-later
"""A listing that shows all that is ours and nothing of anybody else."""

from __future__ import annotations

import json

import pytest

from tests.certificates import new_key
from tests.integration.modules import Region
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue
from tests.provisioning import csr

REGION = "ap-northeast-1"
APPLICATION = "listing"
DOMAIN = "listing.example.com"


@pytest.fixture(scope="module")
def region(sandbox):
    return Region({"region": REGION, "endpoint_url": sandbox.gateway, "access_key": "test", "secret_key": "test"})


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    """Some of each family of services, in pairs: one of ours, and one of a fleet whose name only resembles it."""
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("listing"), (REGION,))
    (fleet.directory / "ca.pem").write_text(fleet.ca.pem)
    iot = sandbox.client("iot", REGION)
    for name in (f"{APPLICATION}-device", f"{APPLICATION}2-device"):
        iot.create_thing_type(thingTypeName=name)
        iot.create_policy(policyName=name, policyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
        sandbox.client("sqs", REGION).create_queue(QueueName=name)
        sandbox.client("secretsmanager", REGION).create_secret(Name=name, SecretString="any")
        sandbox.client("events", REGION).create_event_bus(Name=name)
        sandbox.client("logs", REGION).create_log_group(logGroupName=f"/aws/lambda/{name}")
        sandbox.client("s3", REGION).create_bucket(
            Bucket=f"{name}-{REGION}-artifacts", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    iot.create_thing(thingName="listed-1", thingTypeName=f"{APPLICATION}-device")
    iot.register_certificate(
        certificatePem=issue("listed-1", fleet.ca).pem, caCertificatePem=fleet.ca.pem, status="INACTIVE"
    )
    for name in (f"{APPLICATION}-claim", f"{APPLICATION}2-claim"):
        iot.create_policy(policyName=name, policyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
        request = csr(new_key(), name)
        claim = iot.create_certificate_from_csr(certificateSigningRequest=request)["certificateArn"]
        iot.attach_policy(policyName=name, target=claim)
    return fleet


def listing(region, fleet, **changes):
    parameters = {
        "application": APPLICATION,
        "domain": DOMAIN,
        "hosted_zone_id": fleet.sandbox.hosted_zone_id,
        "ca_certificate_paths": [str(fleet.directory / "ca.pem")],
        **changes,
    }
    return region.run("fleet_resources_info", **parameters)["resources"]


def test_all_that_is_ours_is_listed_and_nothing_else(region, fleet):
    found = {kind: entries for kind, entries in listing(region, fleet).items() if entries}
    ours = [{"name": f"{APPLICATION}-device"}]
    assert found.pop("ca_certificates")[0]["id"] == fleet.ca_ids[REGION]
    [claim] = found.pop("claim_certificates")
    targets = region.client("iot").list_targets_for_policy(policyName=f"{APPLICATION}-claim")["targets"]
    assert ([claim["arn"]], claim["status"]) == (targets, "INACTIVE")
    assert found.pop("iot_policies") == [{"name": f"{APPLICATION}-{name}"} for name in ("claim", "device")]
    assert found == {
        "buckets": [{"name": f"{APPLICATION}-device-{REGION}-artifacts"}],
        "devices": [{"things": 1, "certificates": 1}],
        "event_buses": [{"name": f"{APPLICATION}-device", "rules": []}],
        "log_groups": [{"name": f"/aws/lambda/{APPLICATION}-device"}],
        "queues": ours,
        "secrets": ours,
        "thing_types": ours,
    }


def test_only_the_chosen_kinds_are_read(region, fleet, sandbox):
    before = sandbox.now()
    assert listing(region, fleet, gather_subset=["queues"]) == {"queues": [{"name": f"{APPLICATION}-device"}]}
    assert {call["service"] for call in sandbox.journal(before, region=REGION)} == {"sqs"}


def test_the_certificates_and_records_of_the_domain_are_listed(region, fleet, sandbox):
    served = fleet.serve(REGION, DOMAIN)
    sandbox.client("route53", REGION).change_resource_record_sets(
        HostedZoneId=sandbox.hosted_zone_id,
        ChangeBatch={"Changes": [record(REGION, "here"), record("eu-west-1", "there")]},
    )
    found = listing(region, fleet, gather_subset=["server_certificates", "dns_records"])
    imported = [each for each in found["server_certificates"] if each["type"] == "IMPORTED"]
    assert [each["arn"] for each in imported] == [served]
    assert imported[0]["not_after"]
    named = [each for each in found["dns_records"] if each["name"] == DOMAIN]
    assert [(each["set_identifier"], each["values"]) for each in named] == [(REGION, ["here.example.com"])]


def record(region, target):
    return {
        "Action": "UPSERT",
        "ResourceRecordSet": {
            "Name": DOMAIN,
            "Type": "CNAME",
            "SetIdentifier": region,
            "Region": region,
            "TTL": 60,
            "ResourceRecords": [{"Value": f"{target}.example.com"}],
        },
    }


def test_an_empty_region_has_nothing_and_is_not_changed(sandbox):
    empty = Region(
        {"region": "ap-south-1", "endpoint_url": sandbox.gateway, "access_key": "test", "secret_key": "test"}
    )
    before = sandbox.now()
    answer = empty.run(
        "fleet_resources_info",
        check=True,
        application="nobody",
        domain=DOMAIN,
        hosted_zone_id=sandbox.hosted_zone_id,
        ca_certificate_paths=["/nowhere/ca.pem"],
    )
    assert not answer["changed"]
    assert [kind for kind, entries in answer["resources"].items() if entries and kind != "dns_records"] == []
    reads = ("List", "Describe", "Get")
    written = [call for call in sandbox.journal(before, region="ap-south-1") if not call["operation"].startswith(reads)]
    assert written == []
