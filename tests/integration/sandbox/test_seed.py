# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest

from iotops.sandbox.errors import SandboxError
from tests.integration.sandbox.fleet import ALLOW, Fleet

REGIONS = ["sa-east-1", "ca-central-1"]


@pytest.fixture(scope="module")
def tables(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("fleet"), tuple(REGIONS))
    for region in REGIONS:
        sandbox.client("iot", region).create_policy(policyName="seeded-device", policyDocument=ALLOW)
        for name in ("seeded-device-inventory", "seeded-device-status"):
            index = {
                "IndexName": "CertificateId",
                "KeySchema": [{"AttributeName": "CertificateId", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            sandbox.client("dynamodb", region).create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "ThingName", "KeyType": "HASH"}],
                AttributeDefinitions=[
                    {"AttributeName": "ThingName", "AttributeType": "S"},
                    {"AttributeName": "CertificateId", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
                GlobalSecondaryIndexes=[index],
            )
    return fleet


def test_a_seeded_device_looks_onboarded_in_every_region(sandbox, tables):
    started = time.monotonic()
    sandbox.seed(devices=500, regions=REGIONS, application="seeded")
    assert time.monotonic() - started < 10
    write_ids = set()
    for region in REGIONS:
        iot, dynamodb = sandbox.client("iot", region), sandbox.client("dynamodb", region)
        things = list(iot.get_paginator("list_things").paginate(PaginationConfig={"PageSize": 250}))
        assert sum(len(page["things"]) for page in things) == 500
        principal = iot.list_thing_principals(thingName="seed-7")["principals"][0]
        certificate = iot.describe_certificate(certificateId=principal.rsplit("/")[-1])["certificateDescription"]
        assert (certificate["status"], certificate["caCertificateId"]) == ("ACTIVE", tables.ca_ids[region])
        assert [p["policyName"] for p in iot.list_attached_policies(target=principal)["policies"]] == ["seeded-device"]
        found = dynamodb.query(
            TableName="seeded-device-inventory",
            IndexName="CertificateId",
            KeyConditionExpression="CertificateId = :c",
            ExpressionAttributeValues={":c": {"S": certificate["certificateId"]}},
        )["Items"]
        assert found[0]["ThingName"] == {"S": "seed-7"}
        key = {"ThingName": {"S": "seed-7"}}
        row = dynamodb.get_item(TableName="seeded-device-inventory", Key=key)["Item"]
        status = dynamodb.get_item(TableName="seeded-device-status", Key=key)["Item"]
        assert row["Certificates"]["M"][certificate["certificateId"]]["M"]["Pem"]["S"] == certificate["certificatePem"]
        assert status["AppliedWriteId"] == row["WriteId"]
        write_ids.add(row["WriteId"]["S"])
    assert len(write_ids) == 1


def test_seed_says_what_is_missing(sandbox):
    with pytest.raises(SandboxError, match="no table nothing-device-inventory in sa-east-1"):
        sandbox.seed(devices=1, regions=REGIONS, application="nothing")
    with pytest.raises(SandboxError, match="no region 'mars'"):
        sandbox.seed(devices=1, regions=["mars"])
