# SPDX-License-Identifier: GPL-3.0-or-later
"""Two calls tell whether the regions' things carry the same digests, some more which do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.filter.replication import digest_buckets, digest_ranges, digest_things
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, BOTH, HOME, at

DEVICES = 500
FIELD = {"name": "attributes.fleetNumber", "type": "Number"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A seeded fleet."""
    sandbox = Sandbox(tmp_path_factory.mktemp("digest-sandbox")).start()
    fleet = Deployment(sandbox, tmp_path_factory.mktemp("digest"), BOTH)
    sandbox.seed(devices=DEVICES, regions=list(BOTH), application=fleet.application)
    yield fleet
    sandbox.stop()


def index(fleet: Deployment, *, fields: list[dict[str, str]], mode: str = "REGISTRY") -> None:
    for region in BOTH:
        configuration = {"thingIndexingMode": mode, "customFields": fields}
        iot = fleet.sandbox.client("iot", region)
        iot.update_indexing_configuration(thingIndexingConfiguration=configuration)
        if mode != "OFF":
            eventually(lambda iot=iot: iot.describe_index(indexName="AWS_Things")["indexStatus"] == "ACTIVE")


def ask(fleet: Deployment, **options: Any) -> dict[str, dict[str, Any]]:
    asked = {"application": fleet.application, **options}
    return {region: at(fleet, region).run("fleet_digest_info", **asked) for region in BOTH}


def test_without_the_field_in_the_index_the_remedy_is_told(fleet: Deployment) -> None:
    for fields, mode in (([], "REGISTRY"), ([], "OFF"), ([{**FIELD, "type": "String"}], "REGISTRY")):
        index(fleet, fields=fields, mode=mode)
        message = at(fleet).refusal("fleet_digest_info", application=fleet.application)
        assert message.startswith(f"Fleet indexing in {HOME} has no custom field attributes.fleetNumber of type Number")


def test_one_call_a_region_says_that_they_agree(fleet: Deployment) -> None:
    index(fleet, fields=[FIELD])
    began = fleet.sandbox.now()
    answers = ask(fleet)
    assert digest_ranges(answers) == []
    assert answers[HOME]["digests"][0]["count"] == DEVICES
    calls = [call["operation"] for call in fleet.sandbox.journal(since=began) if call["service"] == "iot"]
    assert sorted(calls) == [*["GetIndexingConfiguration"] * 2, *["GetStatistics"] * 2]


def test_buckets_lead_to_the_things_that_differ(fleet: Deployment) -> None:
    index(fleet, fields=[FIELD])
    iot = fleet.sandbox.client("iot", AWAY)
    for name, number in (("seed-7", "1"), ("seed-8", "2")):
        iot.update_thing(thingName=name, attributePayload={"attributes": {"fleetNumber": number}, "merge": True})
    [whole] = digest_ranges(ask(fleet))
    assert whole == [0, 2**28 - 1]
    buckets = digest_buckets([whole], 64)
    assert (buckets[0][0], buckets[-1][1], len(buckets)) == (0, 2**28 - 1, 64)
    differing = digest_ranges(ask(fleet, ranges=buckets))
    assert 1 <= len(differing) <= 3
    rows = digest_things(ask(fleet, ranges=differing, named=True))
    assert [(row["thing"], row[AWAY]) for row in rows] == [("seed-7", 1), ("seed-8", 2)]


@pytest.mark.parametrize("ranges", [[[5, 1]], [["a", "b"]], [[0, 2**28]], [[1]]])
def test_what_is_no_range_is_refused(fleet: Deployment, ranges: list[Any]) -> None:
    message = at(fleet).refusal("fleet_digest_info", application=fleet.application, ranges=ranges)
    assert message.startswith("ranges=")
