# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a device may come in, and the row that it gets: as register-device has it. Private to the collection."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import AWS_ISSUER, Row, following, timestamp

NEW, KNOWN = "", "known"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCertificate:
    """A certificate in the words of the registry.

    ``issuer`` is the fingerprint of its CA, which is AWS IoT's id of the CA, or ``aws``.
    """

    name: str
    certificate_id: str
    pem: str
    serial: str
    not_after: str
    issuer: str

    @property
    def revocation_keys(self) -> tuple[str, str, str]:
        """The keys of ``revocations`` that keep it out."""
        return f"thing:{self.name}", f"id:{self.certificate_id}", f"serial:{self.issuer}:{self.serial}"


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where rows are written, as if the devices had come in there.

    ``policies``: what the devices carry; the fleet's own policy when empty.
    """

    application: str
    partition: str
    region: str
    account: str
    policies: tuple[str, ...] = ()

    def arn(self, resource: str) -> str:
        """The ARN of a thing or certificate here."""
        return f"arn:{self.partition}:iot:{self.region}:{self.account}:{resource}"

    def row(self, certificate: DeviceCertificate, now: datetime) -> Row:
        """The first row of a device. It has not presented the certificate, which is all that tells it from another."""
        entry = {
            "Pem": certificate.pem,
            "Status": "ACTIVE",
            "NotAfter": certificate.not_after,
            "IssuerFingerprint": certificate.issuer,
            "Serial": certificate.serial,
            "RegisteredAt": timestamp(now),
            "RegisteredIn": self.region,
        }
        first = {
            "ThingName": certificate.name,
            "State": "ACTIVE",
            "HomeRegion": self.region,
            "ThingArn": self.arn(f"thing/{certificate.name}"),
            "CertificateArn": self.arn(f"cert/{certificate.certificate_id}"),
            "CaCertificateId": None if certificate.issuer == AWS_ISSUER else certificate.issuer,
            "CertificateId": certificate.certificate_id,
            "NotAfter": certificate.not_after,
            "Certificates": {certificate.certificate_id: entry},
            "PolicyNames": list(self.policies) or [f"{self.application}-device"],
            "ThingTypeName": f"{self.application}-device",
            "ThingGroups": [],
            "Attributes": {},
        }
        return following({}, first, writer="controller", now=now)


def verdict(
    certificate: DeviceCertificate, row: Row | None, revoked: Container[str], allowed: Mapping[str, str] | None
) -> str:
    """``NEW`` for one that may come in, ``KNOWN`` for one that is in, else why it is left alone.

    ``revoked``: keys of ``revocations`` that exist. ``allowed``: the allow-list, None where it is not asked.
    """
    thing, *others = certificate.revocation_keys
    if row and certificate.certificate_id in row["Certificates"]:
        return KNOWN
    if thing in revoked:
        return "the device is REVOKED"
    if any(key in revoked for key in others):
        return "the certificate is revoked"
    if row and row["State"] not in ("ACTIVE", "SUSPENDED"):
        return f"the device is {row['State']}"
    if row:
        return "the device has a row with other certificates; this one comes in when it is presented"
    if allowed is None:
        return NEW
    if certificate.name not in allowed:
        return "it is not on the allow-list"
    if allowed[certificate.name] not in ("", certificate.certificate_id):
        return "the allow-list names another certificate"
    return NEW


__all__ = ["KNOWN", "NEW", "DeviceCertificate", "Home", "verdict"]
