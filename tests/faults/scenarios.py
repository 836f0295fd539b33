# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device gets an execution in HOME into each Task state of the machines, and how that has to end."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from tests.faults.fleet import AWAY, GROUP, HOME, FaultyFleet
from tests.integration.deployment import eventually
from tests.integration.sandbox.mqtt import Issued


@dataclass
class Subject:
    """One device: the certificate that the story is about, and one that it had before."""

    thing: str
    device: Issued
    before: Issued | None = None
    notes: dict[str, Any] = field(default_factory=dict)


Step = Callable[[FaultyFleet, Subject], None]


def nothing(_fleet: FaultyFleet, _subject: Subject) -> None:
    """No preparation."""


@dataclass(frozen=True)
class Scenario:
    """``prepare`` happens in peace, ``act`` under the fault.

    ``ends``: State of the row in the end, ``rejected``, or ``unknown``; ``connects``: whether the device does then.
    ``knocks``: where the device comes again by itself. ``also``: a state that fails in any case, to get to an error
    path. ``issuer``: which of the fleet's CAs signed the device.
    """

    act: Step
    prepare: Step = nothing
    ends: str = "ACTIVE"
    connects: bool = True
    knocks: tuple[str, ...] = (HOME, AWAY)
    also: str = ""
    issuer: str = "ca"


def _knock_here(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.knock(subject.device, HOME, subject.thing)


def _knock_there(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.knock(subject.device, AWAY, subject.thing)


def _join(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.join(subject.device, HOME, subject.thing)


def _join_with_another(fleet: FaultyFleet, subject: Subject) -> None:
    subject.before = fleet.issue(subject.thing)
    fleet.join(subject.before, HOME, subject.thing)


def _join_in_a_group(fleet: FaultyFleet, subject: Subject) -> None:
    _join(fleet, subject)
    fleet.change(HOME, subject.thing, ThingGroups=[GROUP])
    for region in fleet.regions:
        eventually(lambda region=region: fleet.settled(region, subject.thing), seconds=60)


def _make_by_hand(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.sandbox.client("iot", HOME).create_thing(thingName=subject.thing)


def _revoke_beforehand(fleet: FaultyFleet, subject: Subject) -> None:
    key = {"Key": f"id:{subject.device.id}", "Reason": "test"}
    fleet.sandbox.client("dynamodb", HOME).put_item(TableName=f"{fleet.application}-revocations", Item=typed_item(key))


def _let_aws_sign(fleet: FaultyFleet, subject: Subject) -> None:
    """A thing whose certificate AWS IoT signed in HOME, known to the registry as if it had been ingested."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.thing)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject_name).sign(key, hashes.SHA256())
    signed = fleet.sandbox.client("iot", HOME).create_certificate_from_csr(
        certificateSigningRequest=request.public_bytes(serialization.Encoding.PEM).decode(), setAsActive=True
    )
    certificate = x509.load_pem_x509_certificate(signed["certificatePem"].encode())
    subject.device = Issued(certificate, key)
    not_after = rows.timestamp(certificate.not_valid_after_utc)
    row = {
        "ThingName": subject.thing,
        "State": "ACTIVE",
        "HomeRegion": HOME,
        "CertificateId": subject.device.id,
        "CertificateArn": signed["certificateArn"],
        "NotAfter": not_after,
        "Certificates": {
            subject.device.id: {
                "Pem": signed["certificatePem"],
                "Status": "ACTIVE",
                "NotAfter": not_after,
                "IssuerFingerprint": rows.AWS_ISSUER,
                "Serial": format(certificate.serial_number, "x"),
                "RegisteredAt": rows.timestamp(datetime.now(UTC)),
                "RegisteredIn": HOME,
            }
        },
        "PolicyNames": [f"{fleet.application}-device"],
        "ThingTypeName": f"{fleet.application}-device",
        "ThingGroups": [],
        "Attributes": {},
    }
    assert fleet.put(HOME, rows.following({}, row, writer="controller", now=datetime.now(UTC)))
    for region in fleet.regions:
        eventually(lambda region=region: fleet.settled(region, subject.thing), seconds=60)


def _becomes(**changes: Any) -> Step:
    return lambda fleet, subject: fleet.change(HOME, subject.thing, **changes)


def _wake(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.start(HOME, "converge-device", {"ThingName": subject.thing})


def _join_beside_a_stranger(fleet: FaultyFleet, subject: Subject) -> None:
    """Somebody attached a certificate to the thing that its row does not have."""
    _join(fleet, subject)
    iot = fleet.sandbox.client("iot", HOME)
    stranger = iot.create_keys_and_certificate(setAsActive=False)
    iot.attach_thing_principal(thingName=subject.thing, principal=stranger["certificateArn"])


def _make_exact(fleet: FaultyFleet, subject: Subject) -> None:
    fleet.start(HOME, "converge-device", {"ThingName": subject.thing, "Exact": True})


def _lose_a_suspension(fleet: FaultyFleet, subject: Subject) -> None:
    """What the pipe hands over when somebody's SUSPENDED, written at the same moment, was overwritten here."""
    winner = fleet.row(HOME, subject.thing)
    lost = {**winner, "State": "SUSPENDED", "WriteId": str(uuid.uuid4()), "UpdatedRegion": AWAY}
    images = {"OldImage": typed_item(lost), "NewImage": typed_item(winner)}
    fleet.start(HOME, "converge-device", {"ThingName": subject.thing, **images})


JOINS_HERE = Scenario(_knock_here)
JOINS_THERE = Scenario(_knock_there)
HAS_A_FOREIGN_ISSUER = Scenario(_knock_there, issuer="other_ca", knocks=(AWAY,))
IS_RENEWED = Scenario(_knock_here, _join_with_another)
IS_REJECTED = Scenario(_knock_here, _revoke_beforehand, ends="rejected", connects=False)
IS_REJECTED_IN_SPITE_OF_A_TEMPLATE = Scenario(
    _knock_here, _revoke_beforehand, ends="rejected", connects=False, issuer="template_ca"
)
WAS_MADE_BY_HAND = Scenario(_knock_here, _make_by_hand)
IS_SUSPENDED = Scenario(_becomes(State="SUSPENDED"), _join, ends="SUSPENDED", connects=False)
IS_REVOKED = Scenario(_becomes(State="REVOKED"), _join, ends="REVOKED", connects=False)
IS_DELETED = Scenario(_becomes(State="DELETED"), _join, ends="DELETED", connects=False)
IS_DELETED_AND_OF_AWS = Scenario(_becomes(State="DELETED"), _let_aws_sign, ends="DELETED", connects=False, knocks=())
IS_GROUPED = Scenario(_becomes(ThingGroups=[GROUP]), _join)
IS_UNGROUPED = Scenario(_becomes(ThingGroups=[]), _join_in_a_group)
LOST_A_WRITE = Scenario(_lose_a_suspension, _join, ends="SUSPENDED", connects=False)
IS_WOKEN_FOR_NOTHING = Scenario(_wake, _join)
IS_MADE_EXACT = Scenario(_make_exact, _join_beside_a_stranger)
IS_UNKNOWN = Scenario(_wake, ends="unknown", connects=False, knocks=())
CANNOT_BE_DESCRIBED = Scenario(_knock_here, also="DescribeCertificate")
CANNOT_BE_MADE = Scenario(_knock_here, also="CreateThing")

# (machine, Task state) -> what leads there. The test compares the keys with the definitions.
SCENARIOS: dict[tuple[str, str], Scenario] = {
    ("register-device", "TakeLease"): JOINS_HERE,
    ("register-device", "FindDevice"): JOINS_HERE,
    ("register-device", "DescribeCertificate"): JOINS_HERE,
    ("register-device", "Identify"): JOINS_HERE,
    ("register-device", "ReadRow"): JOINS_HERE,
    ("register-device", "CreateRow"): JOINS_HERE,
    ("register-device", "AddCertificate"): IS_RENEWED,
    ("register-device", "StartConvergence"): JOINS_HERE,
    ("register-device", "RecordRejection"): IS_REJECTED,
    ("register-device", "DeactivateCertificate"): IS_REJECTED,
    ("register-device", "PutOut"): IS_REJECTED_IN_SPITE_OF_A_TEMPLATE,
    ("register-device", "RecordError"): CANNOT_BE_DESCRIBED,
    ("register-device", "SendDeadLetter"): CANNOT_BE_DESCRIBED,
    ("converge-device", "ReadWinner"): LOST_A_WRITE,
    ("converge-device", "MergeRows"): LOST_A_WRITE,
    ("converge-device", "TakeLease"): JOINS_HERE,
    ("converge-device", "ReadRow"): JOINS_HERE,
    ("converge-device", "ListThingPrincipals"): IS_MADE_EXACT,
    ("converge-device", "ListThingGroupsForThing"): IS_MADE_EXACT,
    ("converge-device", "ListAttachedPolicies"): IS_MADE_EXACT,
    ("converge-device", "PutOut"): IS_MADE_EXACT,
    ("converge-device", "ReadRevocations"): JOINS_HERE,
    ("converge-device", "CreateThing"): JOINS_HERE,
    ("converge-device", "UpdateThing"): WAS_MADE_BY_HAND,
    ("converge-device", "DescribeThing"): WAS_MADE_BY_HAND,
    ("converge-device", "AddThingToThingGroup"): IS_GROUPED,
    ("converge-device", "RemoveThingFromThingGroup"): IS_UNGROUPED,
    ("converge-device", "RevokeCertificate"): IS_REVOKED,
    ("converge-device", "RegisterCertificate"): JOINS_THERE,
    ("converge-device", "RegisterCertificateWithoutCA"): HAS_A_FOREIGN_ISSUER,
    ("converge-device", "AttachThing"): JOINS_HERE,
    ("converge-device", "AttachPolicy"): JOINS_THERE,
    ("converge-device", "SetStatus"): IS_SUSPENDED,
    ("converge-device", "DetachPolicy"): IS_DELETED,
    ("converge-device", "DetachThing"): IS_DELETED,
    ("converge-device", "DeleteCertificate"): IS_DELETED_AND_OF_AWS,
    ("converge-device", "DeleteConnection"): IS_REVOKED,
    ("converge-device", "DeleteThing"): IS_DELETED,
    ("converge-device", "WriteStatus"): JOINS_HERE,
    ("converge-device", "ReleaseLease"): IS_WOKEN_FOR_NOTHING,
    ("converge-device", "ForgetDevice"): IS_UNKNOWN,
    ("converge-device", "ReadRowAgain"): JOINS_HERE,
    ("converge-device", "RecordError"): CANNOT_BE_MADE,
    ("converge-device", "SendDeadLetter"): CANNOT_BE_MADE,
}
