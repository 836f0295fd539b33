"""A device joins through any region and works in all, and the operator is shown how fast."""

from __future__ import annotations

import re

import pytest

from tests.e2e.fleet import Fleet

REGIONS = ["eu-west-1", "us-west-2"]


def scan(fleet: Fleet, region: str, table: str) -> list[dict]:
    pages = (
        fleet.sandbox.client("dynamodb", region).get_paginator("scan").paginate(TableName=f"multi-region-iot-{table}")
    )
    return [item for page in pages for item in page["Items"]]


@pytest.mark.defect("S1-34")
@pytest.mark.parametrize(
    ("device", "options"),
    [
        pytest.param("dev-42", [], marks=pytest.mark.long),
        ("dev-43", ["-e", "verify_first_region=us-west-2"]),
        ("dev-44", ["-e", "verify_simultaneous=true"]),
    ],
    ids=["home first", "away first", "both at once"],
)
def test_a_new_device_works_everywhere(fleet: Fleet, device: str, options: list[str]) -> None:
    shown = fleet.run("playbooks/verify.yml", "-e", f"verify_device={device}", *options).ok().output
    assert re.search(r"\d+(\.\d+)? ?(ms|s)\b", shown), "latencies are shown"
    for region in REGIONS:
        stored = [i for i in scan(fleet, region, "data") if i["PK"]["S"] == device]
        assert sorted({i["region"]["S"] for i in stored}) == REGIONS
        row = next(i for i in scan(fleet, region, "device-inventory") if i["ThingName"]["S"] == device)
        status = next(i for i in scan(fleet, region, "device-status") if i["ThingName"]["S"] == device)
        assert row["State"]["S"] == "ACTIVE"
        assert status["AppliedWriteId"] == row["WriteId"]
        iot = fleet.sandbox.client("iot", region)
        certificate = iot.describe_certificate(certificateId=row["CertificateId"]["S"])["certificateDescription"]
        assert certificate["status"] == "ACTIVE"
        assert iot.list_thing_principals(thingName=device)["principals"] == [certificate["certificateArn"]]
        policies = iot.list_attached_policies(target=certificate["certificateArn"])["policies"]
        assert [p["policyName"] for p in policies] == ["multi-region-iot-device"]
