# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing all devices of a fleet from one region, and nothing that is somebody else's."""

from __future__ import annotations

import pytest

from tests.integration.modules import Region
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

REGION = "eu-west-3"
APPLICATION = "removal"
NAME = f"{APPLICATION}-device"


@pytest.fixture(scope="module")
def region(sandbox):
    return Region({"region": REGION, "endpoint_url": sandbox.gateway, "access_key": "test", "secret_key": "test"})


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("removal"), (REGION,))
    (fleet.directory / "ca.pem").write_text(fleet.ca.pem)
    sandbox.client("iot", REGION).create_thing_type(thingTypeName=NAME)
    sandbox.client("dynamodb", REGION).create_table(
        TableName="removal-inventory",
        AttributeDefinitions=[{"AttributeName": "ThingName", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "ThingName", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return fleet


def absent(region, fleet, *, check=False, **changes):
    parameters = {
        "state": "absent",
        "application": APPLICATION,
        "confirm": APPLICATION,
        "ca_certificate_path": str(fleet.directory / "ca.pem"),
        "inventory_table": "removal-inventory",
        **changes,
    }
    return region.run("fleet_devices", check=check, **parameters)


def device(fleet, iot, name):
    arn = fleet.activate(REGION, issue(name, fleet.ca), policy=NAME)
    iot.create_thing(thingName=name, thingTypeName=NAME)
    iot.attach_thing_principal(thingName=name, principal=arn)


def by_the_registry_alone(fleet, iot):
    """A certificate without CA and policy, which only a row knows."""
    stray = issue("stray", issue("Foreign CA", authority=True))
    iot.register_certificate_without_ca(certificatePem=stray.pem, status="ACTIVE")
    fleet.sandbox.client("dynamodb", REGION).put_item(
        TableName="removal-inventory",
        Item={"ThingName": {"S": "stray"}, "Certificates": {"M": {stray.id: {"M": {"Status": {"S": "ACTIVE"}}}}}},
    )


def listed(iot):
    things = {each["thingName"] for each in iot.list_things()["things"]}
    return things, {each["certificateId"] for each in iot.list_certificates()["certificates"]}


def test_all_devices_go_and_only_they(region, fleet):
    iot = region.client("iot")
    others = issue("someone-else", issue("Other CA", authority=True))
    iot.register_certificate_without_ca(certificatePem=others.pem, status="ACTIVE")
    iot.create_thing(thingName="someone-else")
    for number in range(5):
        device(fleet, iot, f"removal-{number}")
    fleet.activate(REGION, issue("without-thing", fleet.ca), policy=NAME)
    iot.register_certificate(
        certificatePem=issue("revoked", fleet.ca).pem, caCertificatePem=fleet.ca.pem, status="REVOKED"
    )
    by_the_registry_alone(fleet, iot)

    counts = {"things": 5, "certificates": 8}
    before = listed(iot)
    predicted = absent(region, fleet, check=True, confirm=None)
    assert predicted["changed"]
    assert predicted["devices"] == counts
    assert listed(iot) == before

    progress = fleet.directory / "progress"
    removed = absent(region, fleet, progress_path=str(progress))
    assert removed["changed"]
    assert removed["devices"] == counts
    assert removed["diff"] == {"before": counts, "after": {"things": 0, "certificates": 0}}
    assert listed(iot) == ({"someone-else"}, {others.id})
    assert iot.list_targets_for_policy(policyName=NAME)["targets"] == []
    assert progress.read_text().splitlines()[-1].endswith(f"{REGION} certificates 8/8")
    ca = iot.describe_ca_certificate(certificateId=fleet.ca_ids[REGION])["certificateDescription"]
    assert ca["autoRegistrationStatus"] == "DISABLE"

    assert not absent(region, fleet)["changed"]
    assert not absent(region, fleet, check=True)["changed"]


def test_a_removal_that_failed_half_way_is_finished_by_the_next(region, fleet, sandbox):
    iot = region.client("iot")
    for number in range(4):
        device(fleet, iot, f"half-{number}")
    denied = {"effect": "error", "error": "UnauthorizedException", "status": 401}
    sandbox.fault(region=REGION, service="iot", operation="DeleteCertificate", times=1, **denied)
    message = region.refusal("fleet_devices", state="absent", application=APPLICATION, confirm=APPLICATION)
    assert "delete a certificate" in message
    absent(region, fleet)
    assert not any(name.startswith("half-") for name in listed(iot)[0])
    assert iot.list_targets_for_policy(policyName=NAME)["targets"] == []


def test_throttling_is_waited_out(region, fleet, sandbox):
    iot = region.client("iot")
    device(fleet, iot, "throttled")
    sandbox.fault(region=REGION, service="iot", operation="UpdateCertificate", effect="throttle", times=3)
    assert absent(region, fleet)["devices"] == {"things": 1, "certificates": 1}
    assert "throttled" not in listed(iot)[0]


@pytest.mark.parametrize("confirm", [None, "", "other"])
def test_without_the_applications_name_nothing_is_removed(region, fleet, confirm):
    message = region.refusal("fleet_devices", state="absent", application=APPLICATION, confirm=confirm)
    assert f"is not {APPLICATION}: nothing was removed" in message


def test_a_region_that_never_had_the_fleet_is_left_alone(sandbox):
    empty = Region({"region": "sa-east-1", "endpoint_url": sandbox.gateway, "access_key": "test", "secret_key": "test"})
    answer = empty.run(
        "fleet_devices",
        state="absent",
        application=APPLICATION,
        confirm=APPLICATION,
        ca_certificate_path="/nowhere/ca.pem",
        inventory_table="nothing",
    )
    assert not answer["changed"]
