# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a row changes when its device is given a new certificate, and when it shows up with it (docs/architecture.md).

Plain values in, plain values out. Of the standard library only: this file is packed into a Lambda function too.
Private to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]


# Revocations of a row are read at once: 100 keys, two for each certificate (API_BatchGetItem of DynamoDB).
MAX_ENTRIES = 45


def unexpired(row: Mapping[str, Any], now: datetime) -> Row:
    """The entries of ``Certificates`` that have not expired."""
    return {key: each for key, each in row["Certificates"].items() if datetime.fromisoformat(each["NotAfter"]) > now}


def is_full(row: Mapping[str, Any], now: datetime, *, most: int) -> bool:
    """Whether the device has ``most`` certificates that are neither expired nor revoked, or the row has no room."""
    entries = unexpired(row, now).values()
    return len(entries) >= MAX_ENTRIES or sum(1 for each in entries if each["Status"] != "REVOKED") >= most


def entry(
    *, pem: str, not_after: datetime, issuer: str, serial: int, region: str, job: str, now: datetime, within: timedelta
) -> Row:
    """The entry of ``Certificates`` of one that was made for the job, and has to be presented ``within`` that time.

    ``issuer`` is the SHA-256 of the CA's DER; ``region`` is where it was made, or ``controller``.
    """
    return {
        "Pem": pem,
        "Status": "ACTIVE",
        "NotAfter": _text(not_after),
        "IssuerFingerprint": issuer,
        "Serial": format(serial, "x"),
        "RegisteredAt": _text(now),
        "RegisteredIn": region,
        "JobId": job,
        "PresentBy": _text(now + within),
    }


def given(row: Mapping[str, Any], certificate_id: str, new: Row, *, principal: str, now: datetime) -> Row:
    """What changes in the row of a device that is given a certificate; ``principal`` is the one that it asked with.

    The current certificate stays until the device shows up with the new one. What it was given before and never showed
    up with is revoked; what has expired leaves the row.
    """
    in_use = {principal, row.get("CertificateId")}
    others = {
        key: {**each, "Status": "REVOKED"} if is_awaited(each) and key not in in_use else each
        for key, each in unexpired(row, now).items()
    }
    return {"Certificates": {**others, certificate_id: new}}


def presented(row: Mapping[str, Any], certificate_id: str, *, grace: timedelta, now: datetime) -> Row:
    """What changes in the row, but for CertificateArn and CaCertificateId, when a device shows up with a certificate.

    It becomes the current one. The others retire after the grace, and are revoked after as long again.
    """
    leaving = {"RetireAt": _text(now + grace), "RevokeAt": _text(now + 2 * grace)}
    certificates = {key: {**leaving, **each} for key, each in row["Certificates"].items() if key != certificate_id}
    new = {**row["Certificates"][certificate_id], "PresentedAt": _text(now)}
    return {
        "Certificates": {**certificates, certificate_id: new},
        "CertificateId": certificate_id,
        "NotAfter": new["NotAfter"],
    }


def is_awaited(certificate: Mapping[str, Any]) -> bool:
    """Whether the device was given the certificate and has not shown up with it."""
    return "PresentBy" in certificate and "PresentedAt" not in certificate


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


__all__ = ["Row", "entry", "given", "is_awaited", "is_full", "presented", "unexpired"]
