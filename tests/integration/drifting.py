# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults planted in a fleet by hand, one kind at a time, each with what a check has to say of it."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import HOME
from tests.integration.sandbox.mqtt import Issued

ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]})
EXTRA_POLICY, OTHER_TYPE, GROUP = "by-hand", "other-type", "red"
# Region, kind, thing (or certificate, where it is of no thing).
Seen = tuple[str, str, str]


@dataclass
class Drift:
    """A fleet whose seeded devices are taken one after the other, in a random order, to be spoilt."""

    fleet: Deployment
    devices: int
    seed: int = 0
    planted: set[Seen] = field(default_factory=set)
    _names: Iterable[str] = field(init=False)
    _numbers: Iterable[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.fleet.sandbox.seed(
            devices=self.devices, regions=list(self.fleet.regions), application=self.fleet.application
        )
        names = [f"seed-{number}" for number in range(1, self.devices + 1)]
        random.Random(self.seed).shuffle(names)  # of a test
        self._names = iter(names)
        for region in self.fleet.regions:
            iot = self.iot(region)
            iot.create_policy(policyName=EXTRA_POLICY, policyDocument=ALLOW)
            iot.create_thing_type(thingTypeName=OTHER_TYPE)
            iot.create_thing_group(thingGroupName=GROUP)
        group = {"Name": f"group#{GROUP}", "Document": "{}", "Region": HOME, "State": "ACTIVE", "WriteId": "1"}
        self.dynamodb(HOME).put_item(
            TableName=f"{self.fleet.application}-definitions", Item=self.fleet.image({**group, "UpdatedRegion": HOME})
        )

    def iot(self, region: str) -> Any:
        """boto3's client."""
        return self.fleet.sandbox.client("iot", region)

    def dynamodb(self, region: str) -> Any:
        """boto3's client."""
        return self.fleet.sandbox.client("dynamodb", region)

    def plant(self, kinds: Iterable[str], region: str) -> None:
        """One fault of each kind in the region, each on a device of its own."""
        for kind in kinds:
            self.planted.add((region, kind, PLANTERS[kind](self, region)))

    def take(self) -> tuple[str, str]:
        """The next device and its certificate's id."""
        thing = next(iter(self._names))
        return thing, self.fleet.row(HOME, thing)["CertificateId"]

    def arn(self, region: str, certificate: str) -> str:
        """Of the certificate there."""
        return f"arn:aws:iot:{region}:{self.fleet.sandbox.account_id}:cert/{certificate}"

    def stranger(self, region: str) -> Issued:
        """An ACTIVE certificate of the fleet's CA that no row has."""
        issued = self.fleet.issue(f"stranger-{next(iter(self._numbers))}")
        self.iot(region).register_certificate(
            certificatePem=issued.pem, caCertificatePem=self.fleet.ca.pem, status="ACTIVE"
        )
        return issued

    def device_policy(self) -> str:
        """The one that all devices have."""
        return f"{self.fleet.application}-device"

    def change_status(self, region: str, thing: str, **changes: str) -> None:
        """Change attributes of an item of device-status."""
        item = {**self.fleet.status(region, thing), **changes}
        self.dynamodb(region).put_item(TableName=f"{self.fleet.application}-device-status", Item=self.fleet.image(item))


def _thing_missing(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    drift.iot(region).detach_thing_principal(thingName=thing, principal=drift.arn(region, certificate))
    drift.iot(region).delete_thing(thingName=thing)
    return thing


def _thing_unwanted(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.fleet.write(HOME, thing, State="DELETED")
    for each in drift.fleet.regions:
        eventually(
            lambda each=each: drift.fleet.row(each, thing)["State"] == "DELETED" and drift.fleet.settled(each, thing)
        )
    drift.iot(region).create_thing(thingName=thing, thingTypeName=drift.device_policy())
    return thing


def _certificate_missing(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    iot, arn = drift.iot(region), drift.arn(region, certificate)
    iot.detach_thing_principal(thingName=thing, principal=arn)
    iot.detach_policy(policyName=drift.device_policy(), target=arn)
    iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=certificate)
    return thing


def _certificate_status(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    drift.iot(region).update_certificate(certificateId=certificate, newStatus="INACTIVE")
    return thing


def _policy_missing(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    drift.iot(region).detach_policy(policyName=drift.device_policy(), target=drift.arn(region, certificate))
    return thing


def _policy_unwanted(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    drift.iot(region).attach_policy(policyName=EXTRA_POLICY, target=drift.arn(region, certificate))
    return thing


def _attributes(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.iot(region).update_thing(thingName=thing, attributePayload={"attributes": {"room": "7"}, "merge": True})
    return thing


def _type(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.iot(region).update_thing(thingName=thing, thingTypeName=OTHER_TYPE)
    return thing


def _groups(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.iot(region).add_thing_to_thing_group(thingName=thing, thingGroupName=GROUP)
    return thing


def _unattached(drift: Drift, region: str) -> str:
    thing, certificate = drift.take()
    drift.iot(region).detach_thing_principal(thingName=thing, principal=drift.arn(region, certificate))
    return thing


def _certificate_unwanted(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    arn = drift.arn(region, drift.stranger(region).id)
    drift.iot(region).attach_policy(policyName=drift.device_policy(), target=arn)
    drift.iot(region).attach_thing_principal(thingName=thing, principal=arn)
    return thing


def _orphan_thing(drift: Drift, region: str) -> str:
    name = f"orphan-{next(iter(drift._numbers))}"
    drift.iot(region).create_thing(thingName=name, thingTypeName=drift.device_policy())
    return name


def _orphan_certificate(drift: Drift, region: str) -> str:
    issued = drift.stranger(region)
    drift.iot(region).attach_policy(policyName=drift.device_policy(), target=drift.arn(region, issued.id))
    return issued.id


def _not_applied(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.change_status(region, thing, AppliedWriteId="of-long-ago")
    return thing


def _failed(drift: Drift, region: str) -> str:
    thing, _certificate = drift.take()
    drift.change_status(region, thing, Error="Iot.ThrottlingException: slow down", ErrorAt="2026-01-01T00:00:00Z")
    return thing


PLANTERS: dict[str, Callable[[Drift, str], str]] = {
    "not_applied": _not_applied,
    "failed": _failed,
    "thing_missing": _thing_missing,
    "thing_unwanted": _thing_unwanted,
    "certificate_missing": _certificate_missing,
    "certificate_status": _certificate_status,
    "policy_missing": _policy_missing,
    "policy_unwanted": _policy_unwanted,
    "attributes": _attributes,
    "type": _type,
    "groups": _groups,
    "orphan_thing": _orphan_thing,
    "orphan_certificate": _orphan_certificate,
    "unattached": _unattached,
    "certificate_unwanted": _certificate_unwanted,
}
