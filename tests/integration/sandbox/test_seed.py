# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import time
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from iotops.sandbox.errors import SandboxError
from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import Device, issue

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
        sandbox.client("dynamodb", region).create_table(
            TableName="seeded-revocations",
            KeySchema=[{"AttributeName": "Key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "Key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    return fleet


def read(sandbox: Any, region: str, table: str, thing: str) -> dict[str, Any]:
    found = sandbox.client("dynamodb", region).get_item(TableName=f"seeded-{table}", Key={"ThingName": {"S": thing}})
    return plain_item(found["Item"])


def revocation_keys(sandbox: Any, region: str) -> set[str]:
    found = sandbox.client("dynamodb", region).scan(TableName="seeded-revocations")["Items"]
    return {item["Key"]["S"] for item in found}


def certificate_status(sandbox: Any, region: str, certificate_id: str) -> str:
    described = sandbox.client("iot", region).describe_certificate(certificateId=certificate_id)
    return str(described["certificateDescription"]["status"])


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


def test_registry_and_status_are_what_convergence_would_have_written(sandbox, tables):
    sandbox.seed(devices=3, regions=REGIONS, application="seeded", prefix="settled-")
    now = datetime.datetime.now(datetime.UTC)
    for region in REGIONS:
        row, status = (read(sandbox, region, table, "settled-2") for table in ("device-inventory", "device-status"))
        thing = sandbox.client("iot", region).describe_thing(thingName="settled-2")
        wanted = {"certificateId": row["CertificateId"]}
        digest = rows.digest(wanted, "seeded-device")
        assert thing["attributes"] == {**wanted, "fleetDigest": digest, "fleetNumber": str(int(digest[:7], 16))}
        carried = ("State", "ThingTypeName", "Attributes", "ThingGroups", "PolicyNames")
        assert status["Applied"] == {
            **{name: row[name] for name in carried},
            "Statuses": {row["CertificateId"]: "ACTIVE"},
        }
        assert (status["AppliedWriteId"], status["AppliedVersion"]) == (row["WriteId"], row["Version"])
        assert status["ThingId"] == thing["thingId"]
        assert row["Ancestors"] == []
        assert len(rows.revocation_keys(row)) == 3, "the entry has a serial number"
        assert rows.effective_status(row, row["CertificateId"], (), now) == "ACTIVE"
        assert 120 < (now - rows.moment(row["UpdatedAt"])).total_seconds() < 3600


def test_the_last_ones_can_be_revoked(sandbox, tables):
    sandbox.seed(devices=5, regions=REGIONS, application="seeded", prefix="ended-", revoked=2)
    for region in REGIONS:
        found = [read(sandbox, region, "device-inventory", f"ended-{number}") for number in range(1, 6)]
        assert [row["State"] for row in found] == ["ACTIVE"] * 3 + ["REVOKED"] * 2
        states = [certificate_status(sandbox, region, row["CertificateId"]) for row in found]
        assert states == ["ACTIVE"] * 3 + ["REVOKED"] * 2
        keys = {key for row in found[3:] for key in rows.revocation_keys(row)}
        assert revocation_keys(sandbox, region) == keys
        applied = read(sandbox, region, "device-status", "ended-5")["Applied"]
        assert (applied["State"], list(applied["Statuses"].values())) == ("REVOKED", ["REVOKED"])


def test_devices_with_keys_of_their_own_connect_where_they_are_and_where_they_are_registered_later(
    sandbox, tables, tmp_path
):
    certificate, key = tables.ca.files(tmp_path)
    keys, later = tmp_path / "keys", "ap-northeast-2"
    sandbox.seed(
        devices=2, regions=REGIONS, application="seeded", prefix="keyed-", revoked=1,
        keys=str(keys), authority=[str(certificate), str(key)],
    )  # fmt: skip
    sandbox.client("iot", later).register_ca_certificate(
        caCertificate=tables.ca.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=False
    )
    for region in (REGIONS[0], later):
        tables.serve(region)

    def connects(region: str, name: str) -> bool:
        device = Device(
            sandbox.regions[region]["mqtt"], tables.trust, (keys / f"{name}.cert.pem", keys / f"{name}.key.pem"), name
        )
        accepted = device.connect()
        device.close()
        return accepted

    assert connects(REGIONS[0], "keyed-1")
    assert not connects(REGIONS[0], "keyed-2"), "a revoked one"
    assert not connects(later, "keyed-1"), "not registered there yet"
    pem = read(sandbox, REGIONS[0], "device-inventory", "keyed-1")
    iot = sandbox.client("iot", later)
    arn = iot.register_certificate(certificatePem=next(iter(pem["Certificates"].values()))["Pem"], status="ACTIVE")[
        "certificateArn"
    ]
    iot.create_policy(policyName="seeded-device", policyDocument=ALLOW)
    iot.attach_policy(policyName="seeded-device", target=arn)
    assert connects(later, "keyed-1")


def test_seed_says_what_is_missing(sandbox):
    with pytest.raises(SandboxError, match="no table nothing-device-inventory in sa-east-1"):
        sandbox.seed(devices=1, regions=REGIONS, application="nothing")
    with pytest.raises(SandboxError, match="no region 'mars'"):
        sandbox.seed(devices=1, regions=["mars"])


def test_seed_says_what_cannot_be(sandbox, tables, tmp_path):
    certificate, _key = tables.ca.files(tmp_path)
    _other, key = issue("another").files(tmp_path)
    wrong = [
        ({"revoked": 2}, "2 of 1 devices cannot be revoked"),
        ({"keys": str(tmp_path)}, "keys are of use with an authority only"),
        ({"authority": [str(certificate), str(tmp_path / "none")]}, "No such file"),
        ({"authority": [str(certificate), str(key)]}, "is not that of the certificate"),
    ]
    for arguments, message in wrong:
        with pytest.raises(SandboxError, match=message):
            sandbox.seed(devices=1, regions=REGIONS, application="seeded", **arguments)
