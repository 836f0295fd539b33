# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody changes directly in one region's registry reaches the other one, and nothing goes round in circles."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Issued

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)
LAST = 99  # the look that no other one follows


class Ingesting(Deployment):
    """A deployment whose devices may have certificates that AWS IoT signed: these have no chain."""

    def chain(self, issued: Issued) -> str:
        return self.ca.pem if issued.certificate.issuer == self.ca.certificate.subject else ""

    def iot(self, region: str) -> Any:
        return self.sandbox.client("iot", region)

    def thing(self, region: str, name: str) -> dict[str, Any]:
        """Attributes, type and groups; empty when there is no such thing."""
        iot = self.iot(region)
        try:
            found = iot.describe_thing(thingName=name)
        except iot.exceptions.ResourceNotFoundException:
            return {}
        groups = iot.list_thing_groups_for_thing(thingName=name)["thingGroups"]
        own = ("certificateId", "fleetDigest", "fleetNumber")
        return {
            "attributes": {key: value for key, value in found["attributes"].items() if key not in own},
            "type": found["thingTypeName"],
            "groups": sorted(group["groupName"] for group in groups),
        }

    def make_certificate(self, region: str, thing: str, *, active: bool = True) -> Issued:
        """One that AWS IoT signs, attached to the thing."""
        made = self.iot(region).create_keys_and_certificate(setAsActive=active)
        self.iot(region).attach_thing_principal(thingName=thing, principal=made["certificateArn"])
        key = load_pem_private_key(made["keyPair"]["PrivateKey"].encode(), None)
        return Issued(x509.load_pem_x509_certificate(made["certificatePem"].encode()), key)

    def converged(self, thing: str) -> bool:
        """Whether both regions have one row and have applied it."""
        return self.row(HOME, thing) == self.row(AWAY, thing) and all(self.settled(region, thing) for region in BOTH)

    def ingest(self, region: str, message: dict[str, Any]) -> None:
        """Put a message into the function's queue."""
        sqs = self.sandbox.client("sqs", region)
        url = sqs.get_queue_url(QueueName=f"{self.application}-ingest-thing")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(message))

    def look(self, region: str, thing: str) -> None:
        """Have the thing looked at once."""
        self.ingest(region, {"look": LAST, "thingName": thing})

    def is_idle(self, region: str) -> bool:
        """Whether no event of the region waits to be taken in, now or later."""
        sqs = self.sandbox.client("sqs", region)
        url = sqs.get_queue_url(QueueName=f"{self.application}-ingest-thing")["QueueUrl"]
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return not any(int(value) for name, value in counts.items() if name.startswith("ApproximateNumberOf"))

    def calm(self, thing: str) -> dict[str, Any]:
        """The row once all looks are over and both regions have applied it."""
        eventually(lambda: all(self.is_idle(region) for region in BOTH) and self.converged(thing), seconds=40)
        return self.row(HOME, thing)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingesting]:
    sandbox = Sandbox(tmp_path_factory.mktemp("ingestion-sandbox")).start()
    yield Ingesting(sandbox, tmp_path_factory.mktemp("ingestion"), BOTH, features=("ingestion",))
    sandbox.stop()


@pytest.fixture(autouse=True)
def _nothing_is_given_up(fleet: Ingesting) -> Iterator[None]:
    yield
    assert [letter for region in BOTH for letter in fleet.dead_letters(region)] == []


def policy_for(region: str, fleet: Ingesting) -> dict[str, Any]:
    """A policy of somebody's own, which lets a device connect in one region."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": f"arn:aws:iot:{region}:{fleet.sandbox.account_id}:client/*",
            }
        ],
    }


@pytest.mark.defect("S1-28", "D-4")
def test_a_thing_made_by_hand_with_two_certificates_and_a_policy_works_in_the_other_region(fleet: Ingesting) -> None:
    iot = fleet.iot(AWAY)
    iot.create_thing(thingName="handmade", attributePayload={"attributes": {"room": "7"}})
    active = fleet.make_certificate(AWAY, "handmade")
    inactive = fleet.make_certificate(AWAY, "handmade", active=False)
    iot.create_policy(policyName="own", policyDocument=json.dumps(policy_for(AWAY, fleet)))
    for issued in (active, inactive):
        iot.attach_policy(policyName="own", target=f"arn:aws:iot:{AWAY}:{fleet.sandbox.account_id}:cert/{issued.id}")
    eventually(lambda: fleet.certificate(HOME, active) == "ACTIVE", seconds=15)
    eventually(lambda: len(fleet.row(HOME, "handmade")["Certificates"]) == 2 and fleet.converged("handmade"))
    row = fleet.row(HOME, "handmade")
    for region in BOTH:
        assert fleet.thing(region, "handmade") == {
            "attributes": {"room": "7"}, "type": f"{fleet.application}-device", "groups": [],
        }  # fmt: skip
        assert [fleet.certificate(region, issued) for issued in (active, inactive)] == ["ACTIVE", "INACTIVE"]
        assert fleet.policies_of(region, active) == ["own"]
        document = json.loads(fleet.iot(region).get_policy(policyName="own")["policyDocument"])
        assert document == policy_for(region, fleet)
        assert fleet.knock(active, region, "handmade")
        assert not fleet.knock(inactive, region, "handmade")
    assert (row["HomeRegion"], row["CertificateId"], row["PolicyNames"]) == (AWAY, active.id, ["own"])
    assert row["Certificates"][active.id]["IssuerFingerprint"] == "aws"
    assert row["Certificates"][active.id]["Serial"] == format(active.certificate.serial_number, "x")


def made(fleet: Ingesting, name: str, region: str = AWAY, **attributes: str) -> Issued:
    """A thing with a certificate that AWS IoT signed, made by hand and known everywhere."""
    fleet.iot(region).create_thing(thingName=name, attributePayload={"attributes": attributes})
    issued = fleet.make_certificate(region, name)
    fleet.look(region, name)
    eventually(lambda: fleet.row(HOME, name).get("CertificateId") == issued.id and fleet.converged(name))
    return issued


@pytest.mark.defect("S1-28", "D-1", "D-7", "D-13", "D-16")
def test_attributes_types_and_groups_reach_the_other_region_both_ways_without_echo(fleet: Ingesting) -> None:
    made(fleet, "travels", color="red", size="1")
    away, home = fleet.iot(AWAY), fleet.iot(HOME)

    def follows(region: str, **changed: Any) -> None:
        """The next change is made after the last one has come back: convergence writes whole things."""
        expected.update(changed)
        eventually(lambda: fleet.thing(region, "travels") == expected and fleet.converged("travels"))

    expected: dict[str, Any] = {}
    away.create_thing_type(thingTypeName="lamp", thingTypeProperties={"searchableAttributes": ["color"]})
    away.update_thing(thingName="travels", thingTypeName="lamp", attributePayload={"attributes": {"color": "blue"}})
    follows(HOME, attributes={"color": "blue"}, type="lamp", groups=[])
    assert home.describe_thing_type(thingTypeName="lamp")["thingTypeProperties"]["searchableAttributes"] == ["color"]
    away.create_thing_group(thingGroupName="building")
    level = {"attributePayload": {"attributes": {"level": "2"}}}
    away.create_thing_group(thingGroupName="floor", parentGroupName="building", thingGroupProperties=level)
    away.add_thing_to_thing_group(thingGroupName="floor", thingName="travels")
    follows(HOME, groups=["floor"])
    group = home.describe_thing_group(thingGroupName="floor")
    assert group["thingGroupMetadata"]["parentGroupName"] == "building"
    assert group["thingGroupProperties"]["attributePayload"] == level["attributePayload"]

    payload = {"attributes": {"color": "", "height": "3"}, "merge": True}
    home.update_thing(thingName="travels", attributePayload=payload)
    follows(AWAY, attributes={"height": "3"})
    home.remove_thing_from_thing_group(thingGroupName="floor", thingName="travels")
    follows(AWAY, groups=[])
    home.update_thing_group(thingGroupName="building", thingGroupProperties={"thingGroupDescription": "All of it"})

    def description() -> str:
        found = away.describe_thing_group(thingGroupName="building")["thingGroupProperties"]
        return str(found.get("thingGroupDescription", ""))

    eventually(lambda: description() == "All of it")
    row = fleet.calm("travels")
    assert [fleet.thing(region, "travels") for region in BOTH] == [expected, expected]
    definitions = {name: fleet._item(HOME, "definitions", Name=name) for name in ("group#floor", "group#building")}

    for region in BOTH:
        fleet.look(region, "travels")
        for name in definitions:
            fleet.ingest(region, {"look": LAST, "definition": name})
    assert fleet.calm("travels") == row, "looking changes nothing"
    assert {name: fleet._item(AWAY, "definitions", Name=name) for name in definitions} == definitions

    for name in ("floor", "building"):
        away.delete_thing_group(thingGroupName=name)
    eventually(lambda: home.list_thing_groups()["thingGroups"] == [])


@pytest.mark.defect("S1-25", "S1-28", "D-3")
def test_a_status_set_by_hand_holds_everywhere_and_a_revocation_is_for_ever(fleet: Ingesting) -> None:
    issued = made(fleet, "statuses")
    iot = fleet.iot(HOME)
    for status in ("INACTIVE", "ACTIVE", "REVOKED"):
        iot.update_certificate(certificateId=issued.id, newStatus=status)
        fleet.look(HOME, "statuses")
        eventually(lambda status=status: fleet.certificate(AWAY, issued) == status and fleet.converged("statuses"))
    assert fleet._item(AWAY, "revocations", Key=f"id:{issued.id}")["Reason"] == f"revoked in {HOME}"


def test_what_the_state_of_the_device_forbids_is_undone(fleet: Ingesting) -> None:
    issued = made(fleet, "forbidden")
    fleet.write(HOME, "forbidden", State="SUSPENDED")
    eventually(lambda: fleet.certificate(AWAY, issued) == "INACTIVE" and fleet.converged("forbidden"))
    row = fleet.row(HOME, "forbidden")
    fleet.iot(AWAY).update_certificate(certificateId=issued.id, newStatus="ACTIVE")
    fleet.look(AWAY, "forbidden")
    eventually(lambda: fleet.certificate(AWAY, issued) == "INACTIVE" and fleet.converged("forbidden"))
    assert fleet.row(AWAY, "forbidden") == row


@pytest.mark.defect("D-12")
def test_an_old_or_repeated_event_changes_nothing(fleet: Ingesting) -> None:
    made(fleet, "events", speed="1")
    old = fleet.iot(AWAY).describe_thing(thingName="events")
    fleet.iot(HOME).update_thing(thingName="events", attributePayload={"attributes": {"speed": "2"}})
    eventually(lambda: fleet.thing(AWAY, "events")["attributes"] == {"speed": "2"} and fleet.converged("events"))
    row = fleet.row(HOME, "events")
    event = {
        "eventType": "THING_EVENT", "look": 0, "thingName": "events", "thingId": old["thingId"],
        "thingTypeName": old["thingTypeName"],
    }  # fmt: skip
    for _ in range(2):
        fleet.ingest(AWAY, {**event, "operation": "CREATED", "versionNumber": 1, "attributes": {"speed": "1"}})
        fleet.ingest(AWAY, {**event, "operation": "UPDATED", "versionNumber": 2, "attributes": old["attributes"]})
        fleet.ingest(AWAY, {**event, "operation": "DELETED", "thingId": "of-an-earlier-thing"})
    assert fleet.calm("events") == row
    assert fleet.thing(AWAY, "events")["attributes"] == {"speed": "2"}


def test_an_old_state_of_a_registry_does_not_undo_a_newer_row(fleet: Ingesting) -> None:
    """The region looks while it has yet to apply the row: what it has is old, not somebody's change."""
    made(fleet, "behind", speed="1")
    fault = fleet.sandbox.fault(
        region=AWAY, service="iot", operation="UpdateThing", effect="error", error="InvalidRequestException", status=400
    )
    fleet.iot(HOME).update_thing(thingName="behind", attributePayload={"attributes": {"speed": "2"}})
    eventually(lambda: fleet.status(AWAY, "behind").get("Error"))
    newer = fleet.row(HOME, "behind")
    fleet.look(AWAY, "behind")
    eventually(lambda: fleet.is_idle(AWAY))
    assert fleet.row(AWAY, "behind") == newer
    fleet.sandbox.clear_faults(fault)
    fleet.look(AWAY, "behind")
    eventually(lambda: fleet.thing(AWAY, "behind")["attributes"] == {"speed": "2"} and fleet.converged("behind"))
    assert fleet.row(HOME, "behind") == newer
    assert {letter["Error"] for letter in fleet.dead_letters(AWAY)} == {"Iot.InvalidRequestException"}


def delete_by_hand(fleet: Ingesting, region: str, name: str, *certificates: Issued) -> None:
    iot = fleet.iot(region)
    for issued in certificates:
        arn = f"arn:aws:iot:{region}:{fleet.sandbox.account_id}:cert/{issued.id}"
        iot.detach_thing_principal(thingName=name, principal=arn)
    iot.delete_thing(thingName=name)


@pytest.mark.defect("S1-28")
def test_a_device_deleted_in_one_region_is_gone_everywhere_and_may_be_made_again(fleet: Ingesting) -> None:
    issued = made(fleet, "deleted", color="red")
    delete_by_hand(fleet, AWAY, "deleted", issued)
    eventually(lambda: fleet.row(HOME, "deleted")["State"] == "DELETED" and fleet.converged("deleted"))
    row = fleet.row(HOME, "deleted")
    assert row["ExpiresAt"] > time.time() + 86000
    for region in BOTH:
        assert fleet.thing(region, "deleted") == {}
        assert fleet.certificate(region, issued) == "", "AWS's own certificates register themselves nowhere"
    again = made(fleet, "deleted", HOME, color="green")
    row = fleet.row(AWAY, "deleted")
    assert (row["State"], row["CertificateId"], "ExpiresAt" in row) == ("ACTIVE", again.id, False)
    for region in BOTH:
        assert fleet.thing(region, "deleted")["attributes"] == {"color": "green"}
        assert fleet.certificate(region, again) == "ACTIVE"
        assert fleet.certificate(region, issued) in ("", "REVOKED")


def test_deletions_above_the_limit_wait_for_an_operator(fleet: Ingesting) -> None:
    hour = time.strftime("%Y-%m-%dT%H", time.gmtime())
    fleet.sandbox.client("dynamodb", HOME).put_item(
        TableName=f"{fleet.application}-device-status",
        Item={"ThingName": {"S": f"ingestion/deletions/{hour}"}, "Deletions": {"N": "3"}},
    )
    issued = made(fleet, "limited")
    delete_by_hand(fleet, HOME, "limited", issued)
    letter = eventually(lambda: fleet.dead_letters(HOME))[0]
    assert (letter["look"], letter["thingName"], letter["operation"]) == (0, "limited", "DELETED")
    assert letter["held"] == f"more than 3 deletions an hour in {HOME}"
    assert fleet.row(HOME, "limited")["State"] == "ACTIVE"
    fleet.ingest(HOME, {**letter, "confirmed": True})
    eventually(lambda: fleet.row(AWAY, "limited")["State"] == "DELETED" and fleet.converged("limited"))
    assert fleet.thing(AWAY, "limited") == {}
