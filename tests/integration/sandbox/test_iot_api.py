# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.fleet import ALLOW, Fleet
from tests.integration.sandbox.mqtt import issue

REGION, FAR = "eu-north-1", "us-east-2"


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("fleet"), (REGION,))
    fleet.serve(REGION)
    return fleet


@pytest.fixture(scope="module")
def iot(sandbox):
    return sandbox.client("iot", REGION)


@pytest.mark.parametrize(
    ("operation", "result", "size"), [("list_things", "things", 7), ("list_policies", "policies", 3)]
)
def test_lists_are_cut_into_pages_of_the_size_asked_for(iot, operation, result, size):
    for number in range(size):
        iot.create_thing(thingName=f"page-{number}")
        iot.create_policy(policyName=f"page-{number}-{operation}", policyDocument=ALLOW)
    pages = list(iot.get_paginator(operation).paginate(PaginationConfig={"PageSize": 2}))
    assert {len(page[result]) for page in pages[:-1]} == {2}
    names = [one[result[:-1].replace("policie", "policy") + "Name"] for page in pages for one in page[result]]
    assert len(names) == len(set(names)) >= size


def test_a_listing_without_page_size_has_the_default_of_25(iot):
    for number in range(30):
        iot.create_thing_group(thingGroupName=f"group-{number}")
    first = iot.list_thing_groups()
    assert len(first["thingGroups"]) == 25
    assert len(iot.list_thing_groups(nextToken=first["nextToken"])["thingGroups"]) == 5


def test_principals_and_things_are_listed_with_their_type(fleet, iot):
    arn = fleet.activate(REGION, issue("v2", fleet.ca))
    iot.create_thing(thingName="v2")
    iot.create_thing(thingName="v2-other")
    iot.attach_thing_principal(thingName="v2", principal=arn, thingPrincipalType="EXCLUSIVE_THING")
    iot.attach_thing_principal(thingName="v2-other", principal=arn)
    assert iot.list_thing_principals_v2(thingName="v2")["thingPrincipalObjects"] == [
        {"principal": arn, "thingPrincipalType": "EXCLUSIVE_THING"}
    ]
    assert iot.list_principal_things_v2(principal=arn)["principalThingObjects"] == [
        {"thingName": "v2", "thingPrincipalType": "EXCLUSIVE_THING"},
        {"thingName": "v2-other", "thingPrincipalType": "NON_EXCLUSIVE_THING"},
    ]


def test_each_region_has_its_own_ats_endpoint(sandbox):
    names = {
        region: sandbox.client("iot", region).describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
        for region in (REGION, FAR)
    }
    assert all(name.endswith(f"-ats.iot.{region}.amazonaws.com") for region, name in names.items())
    assert len(set(names.values())) == 2


def test_a_policy_has_at_most_five_versions(iot):
    iot.create_policy(policyName="five", policyDocument=ALLOW)
    for _ in range(4):
        iot.create_policy_version(policyName="five", policyDocument=ALLOW, setAsDefault=True)
    with pytest.raises(iot.exceptions.VersionsLimitExceededException):
        iot.create_policy_version(policyName="five", policyDocument=ALLOW)
    iot.delete_policy_version(policyName="five", policyVersionId="1")
    assert iot.create_policy_version(policyName="five", policyDocument=ALLOW)["policyVersionId"] == "6"


def test_a_certificate_whose_ca_is_not_registered_is_refused(iot):
    stranger = issue("stranger", issue("Stranger CA", authority=True))
    with pytest.raises(iot.exceptions.CertificateStateException):
        iot.register_certificate(certificatePem=stranger.pem, status="ACTIVE")


def test_a_ca_registers_once_and_in_each_mode(sandbox):
    iot = sandbox.client("iot", FAR)
    ca = issue("Mode CA", authority=True)
    code = iot.get_registration_code()["registrationCode"]
    with pytest.raises(ClientError):  # DEFAULT mode needs the proof of possession
        iot.register_ca_certificate(caCertificate=ca.pem)
    proof = issue(code, ca)
    first = iot.register_ca_certificate(caCertificate=ca.pem, verificationCertificate=proof.pem, setAsActive=True)
    assert first["certificateId"] == ca.id
    with pytest.raises(iot.exceptions.ResourceAlreadyExistsException):
        iot.register_ca_certificate(caCertificate=ca.pem, verificationCertificate=proof.pem)


def test_v2_logging_is_kept_per_region(sandbox, iot):
    with pytest.raises(ClientError, match="NotConfigured"):
        iot.get_v2_logging_options()
    role = "arn:aws:iam::000000000000:role/logging"
    iot.set_v2_logging_options(roleArn=role, defaultLogLevel="ERROR")
    assert iot.get_v2_logging_options()["defaultLogLevel"] == "ERROR"
    with pytest.raises(ClientError, match="NotConfigured"):
        sandbox.client("iot", FAR).get_v2_logging_options()


def test_an_operation_the_sandbox_lacks_answers_501(iot):
    with pytest.raises(ClientError) as caught:
        iot.list_mitigation_actions()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_connection_is_described_and_closed_through_the_api(fleet, sandbox):
    data = sandbox.client("iot-data", REGION)
    with pytest.raises(data.exceptions.ResourceNotFoundException):
        data.delete_connection(clientId="kicked")
    issued = issue("kicked", fleet.ca)
    fleet.activate(REGION, issued)
    device = fleet.device("kicked", REGION, issued)
    assert device.connect()
    assert data.get_connection(clientId="kicked")["connected"]
    data.delete_connection(clientId="kicked")
    assert device.lost.wait(5)


def test_named_shadows_are_listed(sandbox, iot):
    iot.create_thing(thingName="shadowed")
    data = sandbox.client("iot-data", REGION)
    for name in ("b", "a"):
        document = json.dumps({"state": {"desired": {"x": 1}}})
        data.update_thing_shadow(thingName="shadowed", shadowName=name, payload=document)
    assert data.list_named_shadows_for_thing(thingName="shadowed")["results"] == ["a", "b"]


def test_registry_events_are_published_only_when_they_are_enabled(fleet, iot):
    issued = issue("listener", fleet.ca)
    fleet.activate(REGION, issued)
    device = fleet.device("listener", REGION, issued)
    assert device.connect()
    assert device.subscribe("$aws/events/thing/#")
    iot.create_thing(thingName="quiet")
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    iot.create_thing(thingName="loud")
    received = device.wait_for(1)
    device.close()
    assert [topic for topic, _ in received] == ["$aws/events/thing/loud/created"]
