# SPDX-License-Identifier: GPL-3.0-or-later
"""All claim certificates of a fleet go, and nobody else's."""

from __future__ import annotations

import json

import pytest

from tests.certificates import new_key
from tests.integration.modules import Region
from tests.integration.operators import four_times
from tests.provisioning import csr

OURS, OTHERS = "claiming", "claiming2"


@pytest.fixture(scope="module")
def made(region: Region) -> dict[str, list[str]]:
    """Ids of certificates by application: two of ours, one of them withdrawn, and one of a fleet of a like name."""
    iot, ids = region.client("iot"), {OURS: [], OTHERS: []}
    for name in ids:
        document = json.dumps({"Version": "2012-10-17", "Statement": []})
        iot.create_policy(policyName=f"{name}-claim", policyDocument=document)
    for name, active in ((OURS, True), (OURS, False), (OTHERS, True)):
        created = iot.create_certificate_from_csr(certificateSigningRequest=csr(new_key(), name), setAsActive=active)
        iot.attach_policy(policyName=f"{name}-claim", target=created["certificateArn"])
        ids[name].append(created["certificateId"])
    return ids


def listed(region: Region, application: str = OURS) -> dict[str, str]:
    found = region.run("fleet_claim_certificates_info", application=application)["certificates"]
    return {each["certificate_id"]: each["status"] for each in found}


def test_they_are_removed_with_their_policies(region: Region, made: dict[str, list[str]]) -> None:
    active, withdrawn = made[OURS]
    assert listed(region) == {active: "ACTIVE", withdrawn: "INACTIVE"}
    real = four_times(
        lambda check: region.run("fleet_claim_certificates", check=check, application=OURS, state="absent"),
        lambda: listed(region),
    )
    assert real["certificate_ids"] == sorted(made[OURS])
    iot = region.client("iot")
    left = {each["certificateId"] for each in iot.list_certificates(pageSize=250)["certificates"]}
    assert left.isdisjoint(made[OURS])
    assert listed(region, OTHERS) == {made[OTHERS][0]: "ACTIVE"}


def test_a_region_without_the_policy_has_none(region: Region) -> None:
    assert listed(region, "nobody") == {}
