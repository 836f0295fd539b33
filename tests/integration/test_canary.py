# SPDX-License-Identifier: GPL-3.0-or-later
"""What the canary proves, and what it says when a part of the fleet is missing or wrong.

The regions here have real tables, rules and brokers; onboarding is played by a thread, so that each fault is at hand.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._canary.canary import Canary, Place
from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue

HOME, FAR = "eu-west-2", "us-east-2"
TRUST = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
THING = "${iot:Connection.Thing.ThingName}"
DEVICE_POLICY = [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"arn:aws:iot:*:*:client/{THING}"},
    {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"arn:aws:iot:*:*:topic/i/{THING}/*"},
    {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"arn:aws:iot:*:*:topicfilter/e/{THING}/*"},
]
TOO_WIDE = [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]


def document(statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def create_table(dynamodb, name, keys):
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )


def store_messages(sandbox, region, role_arn, said_region):
    columns = f"topic(2) AS PK, newuuid() AS SK, '{said_region}' AS region, * AS message"
    sandbox.client("iot", region).create_topic_rule(
        ruleName="canary_store",
        topicRulePayload={
            "sql": f"SELECT {columns} FROM 'i/+/#'",  # noqa: S608 - AWS IoT SQL
            "actions": [{"dynamoDBv2": {"roleArn": role_arn, "putItem": {"tableName": "canary-data"}}}],
        },
    )


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    # Of its own: other tests serve the domain too.
    sandbox = Sandbox(tmp_path_factory.mktemp("canary-sandbox")).start()
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("canary"), (HOME, FAR))
    iam = sandbox.client("iam", HOME)
    role = iam.create_role(RoleName="canary-rule", AssumeRolePolicyDocument=document([TRUST]))["Role"]["Arn"]
    put = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"}
    iam.put_role_policy(RoleName="canary-rule", PolicyName="put", PolicyDocument=document([put]))
    home = sandbox.client("dynamodb", HOME)
    for name, keys in (("canary-inventory", ["ThingName"]), ("canary-data", ["PK", "SK"])):
        create_table(home, name, keys)
        home.update_table(TableName=name, ReplicaUpdates=[{"Create": {"RegionName": FAR}}])
    for region in (HOME, FAR):
        fleet.serve(region)
        create_table(sandbox.client("dynamodb", region), "canary-status", ["ThingName"])
        iot = sandbox.client("iot", region)
        iot.create_policy(policyName="device", policyDocument=document(DEVICE_POLICY))
        iot.create_policy(policyName="wide", policyDocument=document(TOO_WIDE))
        store_messages(sandbox, region, role, region)
    yield fleet
    sandbox.stop()


class Onboarding:
    """Plays both regions' state machines: registers what is pending, writes the row, converges every region."""

    def __init__(self, fleet, name, issued, *, policy="device", converge=(HOME, FAR), watch=(HOME, FAR)):
        self.fleet, self.name, self.issued, self.policy, self.converged_regions = fleet, name, issued, policy, converge
        self._watched_regions = watch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(0.1):
            for region in self._watched_regions:
                listed = self.fleet.sandbox.client("iot", region).list_certificates()["certificates"]
                if any(each["certificateId"] == self.issued.id for each in listed):
                    self.onboard()
                    return

    def onboard(self):
        write_id, now = str(uuid.uuid4()), datetime.now(UTC).isoformat()
        self.put(HOME, "canary-inventory", {"WriteId": write_id, "UpdatedAt": now, "State": "ACTIVE"})
        for region in self.converged_regions:
            self.converge(region, write_id)

    def converge(self, region, write_id):
        iot = self.fleet.sandbox.client("iot", region)
        iot.create_thing(thingName=self.name)
        try:
            certificate_arn = iot.describe_certificate(certificateId=self.issued.id)["certificateDescription"][
                "certificateArn"
            ]
        except iot.exceptions.ResourceNotFoundException:
            certificate_arn = iot.register_certificate(
                certificatePem=self.issued.pem, caCertificatePem=self.fleet.ca.pem, status="INACTIVE"
            )["certificateArn"]
        iot.attach_thing_principal(thingName=self.name, principal=certificate_arn)
        iot.attach_policy(policyName=self.policy, target=certificate_arn)
        iot.update_certificate(certificateId=self.issued.id, newStatus="ACTIVE")
        self.put(region, "canary-status", {"AppliedWriteId": write_id, "AppliedAt": datetime.now(UTC).isoformat()})

    def put(self, region, table, attributes):
        item = {"ThingName": {"S": self.name}, **{key: {"S": value} for key, value in attributes.items()}}
        self.fleet.sandbox.client("dynamodb", region).put_item(TableName=table, Item=item)


@pytest.fixture
def device(fleet, request):
    name = f"canary-{uuid.uuid4().hex[:8]}"
    return name, issue(name, fleet.ca)


def canary(fleet, device, **changes):
    name, issued = device
    certificate, key = issued.files(fleet.directory)
    places = tuple(
        Place(
            region=region,
            endpoint=Endpoint.parse(fleet.sandbox.regions[region]["mqtt"], server_name="iot.example.com"),
            tables=fleet.sandbox.client("dynamodb", region),
        )
        for region in (HOME, FAR)
    )
    built = Canary(
        identity=Identity(name, fleet.trust, certificate, key),
        places=places,
        simultaneous=False,
        impostor=True,
        inventory_table="canary-inventory",
        status_table="canary-status",
        data_table="canary-data",
        timeout=15,
    )
    return replace(built, **changes)


def test_a_new_device_is_refused_then_accepted_and_accepted_at_once_elsewhere(fleet, device):
    with Onboarding(fleet, *device):
        result = canary(fleet, device).run()
    first, other = result["regions"]
    assert not result["known"]
    assert (first["region"], other["region"]) == (HOME, FAR)
    assert first["attempts"] > 1
    assert first["refused"] == first["attempts"] - 1
    assert first["accepted_seconds"] >= 1
    assert other["attempts"] == 1
    assert {first["applied_write_id"], other["applied_write_id"]} == {result["write_id"]}
    assert other["converged_seconds"] >= 0


def test_a_known_device_is_accepted_at_once_in_every_region(fleet, device):
    Onboarding(fleet, *device).onboard()
    result = canary(fleet, device).run()
    assert result["known"]
    assert [region["attempts"] for region in result["regions"]] == [1, 1]


def test_a_known_device_may_be_new_to_a_region(fleet, device):
    Onboarding(fleet, *device, converge=(HOME,)).onboard()
    with Onboarding(fleet, *device, watch=(FAR,)):
        result = canary(fleet, device).run()
    assert result["known"]
    assert result["regions"][0]["attempts"] == 1
    assert result["regions"][1]["attempts"] > 1


def test_a_device_may_join_in_all_regions_at_the_same_moment(fleet, device):
    with Onboarding(fleet, *device):
        result = canary(fleet, device, simultaneous=True).run()
    assert all(region["attempts"] > 1 for region in result["regions"])


def test_a_device_that_nobody_onboards_is_reported_with_what_it_saw(fleet, device):
    with pytest.raises(
        FleetError, match=rf"{device[0]} in {HOME}: could not connect \(attempt [2-9]\).*row State=None"
    ):
        canary(fleet, device, timeout=4).run()


def test_a_region_that_does_not_converge_is_named(fleet, device):
    with (
        Onboarding(fleet, *device, converge=(HOME,)),
        pytest.raises(FleetError, match=rf"canary-status of {FAR} to show the row's write .*AppliedWriteId=None"),
    ):
        canary(fleet, device, timeout=4).run()


def test_a_policy_that_lets_a_device_speak_for_another_fails_the_canary(fleet, device):
    Onboarding(fleet, *device, policy="wide").onboard()
    with pytest.raises(FleetError, match="the device policy is too wide"):
        canary(fleet, device).run()


def test_messages_that_name_another_region_fail_the_canary(fleet, device):
    Onboarding(fleet, *device).onboard()
    iot = fleet.sandbox.client("iot", FAR)
    rule = iot.get_topic_rule(ruleName="canary_store")["rule"]
    iot.delete_topic_rule(ruleName="canary_store")
    store_messages(fleet.sandbox, FAR, rule["actions"][0]["dynamoDBv2"]["roleArn"], "nowhere")
    try:
        with pytest.raises(FleetError, match=f"sent in {FAR} came from 'nowhere'"):
            canary(fleet, device).run()
    finally:
        iot.delete_topic_rule(ruleName="canary_store")
        store_messages(fleet.sandbox, FAR, rule["actions"][0]["dynamoDBv2"]["roleArn"], FAR)
