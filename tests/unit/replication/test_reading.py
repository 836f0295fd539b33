# SPDX-License-Identifier: GPL-3.0-or-later
"""What those who watch a check are told while it reads."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber

from ansible_collections.iotops.fleet.plugins.module_utils._replication import reading
from ansible_collections.iotops.fleet.plugins.module_utils._replication.reading import LISTINGS, Reader
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store


def test_a_fleet_of_which_nothing_was_read_yet_is_reported_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REPORT_EVERY", 0.0)
    session = boto3.session.Session("id", "key", region_name="eu-west-1")
    iot, dynamodb = session.client("iot"), session.client("dynamodb")
    told: list[str] = []
    quotas = dict.fromkeys(LISTINGS, 10.0)
    reader = Reader(
        Store(str(tmp_path / "store")), iot, dynamodb, "fleet", datetime.now(UTC), quotas, 1, told.append, expected=5
    )
    with Stubber(dynamodb) as stubber:
        for _table in range(3):
            stubber.add_response("scan", {"Items": []})
        reader.read(registry=False, policies=[], groups=[])
    assert told[0].startswith("revocations 0; ")
    assert len(told) == 3
