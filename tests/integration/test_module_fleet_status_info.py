# SPDX-License-Identifier: GPL-3.0-or-later
"""A region's devices in numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.modules import Region

APPLICATION = "counting"
KEYS = {"device-inventory": "ThingName", "device-status": "ThingName", "rejections": "CertificateId"}


@pytest.fixture(scope="module")
def _registry(region: Region) -> None:
    dynamodb = region.client("dynamodb")
    for table, key in KEYS.items():
        dynamodb.create_table(
            TableName=f"{APPLICATION}-{table}",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    url = region.client("sqs").create_queue(QueueName=f"{APPLICATION}-dead-letters")["QueueUrl"]
    region.client("sqs").send_message(QueueUrl=url, MessageBody="{}")

    def put(table: str, **attributes: str) -> None:
        item = {name: {"N" if value.isdigit() else "S": value} for name, value in attributes.items()}
        dynamodb.put_item(TableName=f"{APPLICATION}-{table}", Item=item)

    states = {"a": "ACTIVE", "b": "ACTIVE", "c": "SUSPENDED", "d": "ACTIVE"}
    for thing, state in states.items():
        put("device-inventory", ThingName=thing, State=state, WriteId=f"{thing}-2", Version="2", UpdatedAt="2026-01-31")
    put("device-status", ThingName="a", AppliedWriteId="a-2", AppliedVersion="2")
    put("device-status", ThingName="b", AppliedWriteId="b-1", AppliedVersion="1")
    put("device-status", ThingName="c", AppliedWriteId="c-1", AppliedVersion="1", Error="denied", ErrorAt="2026-01-31")
    put("device-status", ThingName="certificate/77", Error="denied")
    put("device-status", ThingName="sweep/devices", SweptAt="5")
    put("rejections", CertificateId="c77")


@pytest.mark.defect("S1-29", "D-4")
@pytest.mark.usefixtures("_registry")
def test_every_row_is_counted_once_and_the_late_ones_are_named(region: Region, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    counted = region.run("fleet_status_info", application=APPLICATION, listed=2, progress_path=str(progress))["fleet"]
    assert counted == {
        "region": region.name,
        "rows": 4,
        "states": {"ACTIVE": 3, "SUSPENDED": 1},
        "applied": 1,
        "behind": 2,
        "failed": 1,
        "unfinished_certificates": 1,
        "late": [
            {"thing_name": "b", "since": "2026-01-31", "lag": "version 2 is not applied, 1 is"},
            {"thing_name": "c", "since": "2026-01-31", "lag": "failed: denied"},
        ],
        "dead_letters": 1,
        "rejections": 1,
    }
    assert progress.read_text().splitlines()[0].endswith(f"{region.name} {APPLICATION}-device-inventory 4")


def test_a_region_without_the_fleet_has_none(region: Region) -> None:
    counted = region.run("fleet_status_info", application="nobody")["fleet"]
    assert (counted["rows"], counted["dead_letters"], counted["rejections"]) == (0, None, 0)
    assert region.refusal("fleet_status_info", application="nobody", segments=0).startswith("segments=0 is less than 1")
