# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rejected certificate that an operator lets in after all, as changes of its device's row. Private."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    CURRENT,
    MAX_CERTIFICATES,
    Row,
    moment,
    timestamp,
)
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True)
class Identity:
    """Whose the certificate is, and its entry in the row's ``Certificates``."""

    certificate_id: str
    thing_name: str
    entry: Row

    @property
    def keys(self) -> list[str]:
        """The keys of ``revocations`` that forbid a release."""
        serial = f"serial:{self.entry['IssuerFingerprint']}:{self.entry['Serial']}"
        return [f"thing:{self.thing_name}", f"id:{self.certificate_id}", serial]


def identify(rejection: Item, authorities: list[Certificate], now: datetime) -> Identity:
    """Read the identity from the certificate that was kept.

    Raises:
        FleetError: its name is no thing name, it has expired, or none of the CAs signed it.

    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate_id = rejection["CertificateId"]
    certificate = certificates(rejection["Pem"], option=f"rejection {certificate_id}")[0]
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if len(names) != 1 or not THING_NAME.fullmatch(names[0]):
        raise FleetError(f"{certificate_id}: its common name {names} is no thing name; issue the device another one")
    if certificate.not_valid_after_utc <= now:
        expiry = timestamp(certificate.not_valid_after_utc)
        raise FleetError(f"{certificate_id} of {names[0]} expired at {expiry}; issue the device another one")
    issuer = _issuer(certificate, authorities)
    if issuer is None:
        raise FleetError(
            f"{certificate_id} of {names[0]} is signed by none of ca_certificate_paths; "
            "add the CA that signed it if you trust it"
        )
    return Identity(
        certificate_id=certificate_id,
        thing_name=names[0],
        entry={
            "Pem": rejection["Pem"],
            "Status": "ACTIVE",
            "NotAfter": timestamp(certificate.not_valid_after_utc),
            "IssuerFingerprint": issuer.fingerprint(hashes.SHA256()).hex(),
            "Serial": format(certificate.serial_number, "x"),
            "RegisteredAt": timestamp(now),
            "RegisteredIn": rejection["Region"],
        },
    )


def _issuer(certificate: Certificate, authorities: list[Certificate]) -> Certificate | None:
    from cryptography.exceptions import InvalidSignature

    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, TypeError, ValueError):
            continue
        return authority
    return None


@dataclass(frozen=True)
class Terms:
    """What a row gets that the certificate does not say. ``partition`` and ``account`` make ARNs."""

    application: str
    partition: str
    account: str
    grace: timedelta

    def changes(self, row: Row, identity: Identity, now: datetime) -> dict[str, Any]:
        """What changes in the row ({}: there is none) when the certificate comes in: it becomes the current one.

        The device has presented it, so that the others retire, as with any renewed certificate. Of a deleted device
        they stay revoked.

        Raises:
            FleetError: the device is REVOKED, the certificate is, or the row is full.

        """
        certificate_id, region = identity.certificate_id, identity.entry["RegisteredIn"]
        name, held = identity.thing_name, row.get("Certificates", {})
        if row.get("State") == "REVOKED":
            raise FleetError(f"{name} is REVOKED, which is final; issue a device with another name")
        if held.get(certificate_id, {}).get("Status") == "REVOKED":
            raise FleetError(f"{certificate_id} of {name} is REVOKED, which is final; issue the device another one")
        deleted = row.get("State") == "DELETED"
        others = {
            key: {**each, "Status": "REVOKED"} if deleted else {**self._retirement(now), **each}
            for key, each in held.items()
            if key != certificate_id and moment(each["NotAfter"]) > now
        }
        if len(others) >= MAX_CERTIFICATES:
            raise FleetError(f"{name} has {len(others)} certificates, the most a row holds; wait until one has expired")
        fresh = {} if row and not deleted else self._new(name, region)
        return {
            **fresh,
            **dict.fromkeys(CURRENT),
            **(dict.fromkeys(("Reason", "ExpiresAt")) if deleted else {}),
            "Certificates": {**others, certificate_id: identity.entry},
            "CertificateId": certificate_id,
            "CertificateArn": f"{self._arn(region)}:cert/{certificate_id}",
            "NotAfter": identity.entry["NotAfter"],
        }

    def _retirement(self, now: datetime) -> dict[str, str]:
        return {"RetireAt": timestamp(now + self.grace), "RevokeAt": timestamp(now + 2 * self.grace)}

    def _new(self, thing_name: str, region: str) -> Row:
        own = f"{self.application}-device"
        return {
            "ThingName": thing_name,
            "State": "ACTIVE",
            "HomeRegion": region,
            "ThingArn": f"{self._arn(region)}:thing/{thing_name}",
            "PolicyNames": [own],
            "ThingTypeName": own,
            "ThingGroups": [],
            "Attributes": {},
        }

    def _arn(self, region: str) -> str:
        return f"arn:{self.partition}:iot:{region}:{self.account}"


def is_released(row: Row, certificate_id: str) -> bool:
    """Whether a release was made already, by a run that was interrupted after it."""
    status = row.get("Certificates", {}).get(certificate_id, {}).get("Status")
    return row.get("State") in ("ACTIVE", "SUSPENDED") and status == "ACTIVE"


def shown(rejection: Item) -> dict[str, Any]:
    """A rejection as modules return it."""
    return {
        "certificate_id": rejection["CertificateId"],
        "thing_name": rejection.get("ThingName", ""),
        "reason": rejection.get("Reason", ""),
        "region": rejection.get("Region", ""),
        "rejected_at": rejection.get("RejectedAt", ""),
        "expires_at": (
            timestamp(datetime.fromtimestamp(rejection["ExpiresAt"], UTC)) if "ExpiresAt" in rejection else ""
        ),
    }


__all__ = ["Identity", "Terms", "identify", "is_released", "shown"]
