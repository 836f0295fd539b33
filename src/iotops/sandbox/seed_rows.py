# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows, statuses and revocations of seeded devices as items of DynamoDB (attributes: docs/architecture.md).

What all devices have in common is one object in all their items: the base copies an item before it changes it.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from collections.abc import Iterator
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from iotops.sandbox.seed_certificates import Device

Item = dict[str, Any]
_serialize = TypeSerializer().serialize


class Rows:
    """Makes the items of one state."""

    def __init__(self, *, state: str, application: str, account: str, home: str, issuer: str, ca_id: str) -> None:
        self._account, self._home, self._issuer = account, home, issuer
        self.state, self.status = state, "REVOKED" if state == "REVOKED" else "ACTIVE"
        self._kind = f"{application}-device"
        self._carried = {
            "ThingTypeName": _serialize(self._kind),
            "PolicyNames": _serialize([self._kind]),
            "ThingGroups": _serialize([]),
            "Attributes": _serialize({}),
        }
        self._ca_id = _serialize(ca_id)

    def times(self, written: datetime.datetime, not_after: datetime.datetime) -> Rows:
        """Set when the rows were written and when their certificates end."""
        self._written, self._not_after = _serialize(_text(written)), _serialize(_text(not_after))
        self._common = {
            **self._carried,
            "State": _serialize(self.state),
            "Version": _serialize(1),
            "Ancestors": _serialize([]),
            "UpdatedRegion": _serialize(self._home),
            "UpdatedAt": self._written,
            "HomeRegion": _serialize(self._home),
            "CaCertificateId": self._ca_id,
            "NotAfter": self._not_after,
        }
        self._certificate = {
            "Status": _serialize(self.status),
            "NotAfter": self._not_after,
            "IssuerFingerprint": _serialize(self._issuer),
            "RegisteredAt": self._written,
            "RegisteredIn": _serialize(self._home),
        }
        return self

    def row(self, device: Device) -> Item:
        """The item of ``device-inventory``."""
        arn = f"arn:aws:iot:{self._home}:{self._account}"
        certificate = {**self._certificate, "Pem": {"S": device.pem}, "Serial": {"S": device.serial}}
        return {
            **self._common,
            "ThingName": {"S": device.name},
            "WriteId": {"S": str(uuid.uuid4())},
            "ThingArn": {"S": f"{arn}:thing/{device.name}"},
            "CertificateArn": {"S": f"{arn}:cert/{device.certificate_id}"},
            "CertificateId": {"S": device.certificate_id},
            "Certificates": {"M": {device.certificate_id: {"M": certificate}}},
        }

    def applied(self, row: Item) -> Item:
        """What a region that applied the row has in ``device-status``, all but its ThingId."""
        statuses = {row["CertificateId"]["S"]: self._certificate["Status"]}
        return {
            "ThingName": row["ThingName"],
            "AppliedWriteId": row["WriteId"],
            "AppliedVersion": row["Version"],
            "AppliedAt": self._written,
            "Applied": {"M": {**self._carried, "State": row["State"], "Statuses": {"M": statuses}}},
        }

    def attributes(self, device: Device) -> dict[str, str]:
        """What convergence writes into the thing."""
        lines = f"certificateId={device.certificate_id}\ntype={self._kind}"
        digest = hashlib.sha256(lines.encode()).hexdigest()
        number = str(int(digest[:7], 16))
        return {"certificateId": device.certificate_id, "fleetDigest": digest, "fleetNumber": number}

    def revocations(self, device: Device) -> Iterator[Item]:
        """The items of ``revocations`` that go with a device that is REVOKED."""
        serial = f"serial:{self._issuer}:{device.serial}"
        for key in (f"thing:{device.name}", f"id:{device.certificate_id}", serial):
            yield {"Key": {"S": key}, "Reason": {"S": "seeded"}, "RevokedAt": self._written}


def _text(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
