# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/load_test.yml: devices of its own put load on a fleet, and each message of it is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotops.loadtest import report
from tests.integration.deployment import Deployment, eventually
from tests.integration.features import queues
from tests.integration.operators import BOTH, HOME
from tests.integration.revocable import Revocable

PUBLISHERS, SUBSCRIBERS = 8, 4


@pytest.fixture(scope="module")
def fleet(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revocable]:
    yield Revocable(deployment, tmp_path_factory.mktemp("load-test"))


def put_on(fleet: Revocable, *, check: bool = False, **wanted: Any) -> tuple[str, Path]:
    """What the playbook said, and where its report is."""
    directory = fleet.directory / "report"
    given = {
        "fleet_tags": {"Application": fleet.deployment.application},
        "fleet_key_profile": "ec",
        "fleet_state_machine_type": "EXPRESS",
        "fleet_home_region": HOME,
        "fleet_hosted_zone_id": fleet.deployment.sandbox.hosted_zone_id,
        "load_test_report_dir": str(directory),
        "load_test_quota_share": 1,
        **{f"load_test_{name}": value for name, value in wanted.items()},
    }
    code, output = fleet.playbook(json.dumps(given), name="load_test", check=check)
    assert code == 0, output
    return output, directory


def stored(deployment: Deployment) -> list[dict[str, Any]]:
    """The messages of the queue's topic in the table."""
    pages = deployment.sandbox.client("dynamodb", HOME).get_paginator("query")
    found = pages.paginate(
        TableName=f"{deployment.application}-data",
        KeyConditionExpression="PK = :topic",
        ExpressionAttributeValues={":topic": {"S": "loadtest"}},
    )
    return [item["message"]["M"] for page in found for item in page["Items"]]


def test_every_forwarded_message_is_once_in_what_the_queue_was_for(fleet: Revocable) -> None:
    deployment = fleet.deployment
    queues.deploy(deployment, HOME, "load", "loadtest", ConsumerEnabled="true")
    wanted = {"publishers": PUBLISHERS, "subscribers": SUBSCRIBERS, "duration": 5}

    output, directory = put_on(fleet, check=True, **wanted)
    assert not directory.exists()
    assert deployment.row(HOME, "loadtest-0001") == {}

    output, directory = put_on(fleet, **wanted)
    plan, result = report.read(directory)
    forwarded = PUBLISHERS * SUBSCRIBERS * 5
    assert (result.counts["sent"], result.counts["forwarded"], result.lost) == (PUBLISHERS * 5, forwarded, 0)
    assert "100.00% sustained" in output
    assert len(plan.names) == PUBLISHERS + SUBSCRIBERS
    for region in BOTH:
        assert deployment.row(region, "loadtest-0001")["PolicyNames"] == [f"{deployment.application}-load-test"]

    messages = eventually(lambda: found if len(found := stored(deployment)) >= forwarded else [])
    counted = Counter((each["from"]["S"], each["sequence"]["N"], each["by"]["S"]) for each in messages)
    assert len(counted) == len(messages) == forwarded

    gone, _directory = put_on(fleet, state="absent")
    assert deployment.row(HOME, "loadtest-0001")["State"] == "DELETED", gone
    assert not (fleet.pki / "loadtest").exists()
    policies = deployment.sandbox.client("iot", HOME).list_policies()["policies"]
    assert f"{deployment.application}-load-test" not in [each["policyName"] for each in policies]


@pytest.mark.parametrize(
    ("devices", "seconds"), [(12, 60), pytest.param(1000, 900, marks=pytest.mark.long)], ids=["few", "thousand"]
)
def test_devices_that_nobody_knows_come_all_at_once_and_are_in_everywhere(
    fleet: Revocable, devices: int, seconds: int
) -> None:
    deployment = fleet.deployment
    names = [f"storm{devices}-{number:04}" for number in range(1, devices + 1)]
    strangers = fleet.pki / "loadtest"  # of an earlier run; the first by their names
    strangers.mkdir(exist_ok=True)
    for kind in ("cert", "key"):
        (strangers / f"a-stranger.{kind}.pem").touch()
    _output, directory = put_on(
        fleet,
        names=[f"storm{devices}-[0001:{devices:04}]"],
        scenario="first-connection",
        publishers=devices,
        duration=seconds,
    )
    plan, result = report.read(directory)
    assert plan.names == tuple(names)
    accepted = result.latencies["accepted"]
    assert (result.counts["acked"] >= devices, accepted.get_total_count()) == (True, devices)
    assert result.counts["refused"] + result.counts["sessions_lost"] > 0, "each was dropped at first"
    print("accepted, seconds:", {p: accepted.get_value_at_percentile(p) / 1e6 for p in (50, 90, 99, 100)})
    for region in BOTH:
        for name in names:
            eventually(lambda name=name, region=region: deployment.settled(region, name), seconds=seconds)
            assert deployment.row(region, name)["State"] == "ACTIVE"
        iot = deployment.sandbox.client("iot", region)
        ids = [deployment.row(region, name)["CertificateId"] for name in names]
        statuses = {iot.describe_certificate(certificateId=each)["certificateDescription"]["status"] for each in ids}
        assert statuses == {"ACTIVE"}
