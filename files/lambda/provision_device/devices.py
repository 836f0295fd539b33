"""The device in the registry of a region: its row, and that AWS IoT there is what the row says."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import rotation
import rows
from answers import RefusedError
from aws import aws
from claims import Claim
from cryptography import x509
from rows_table import APPLICATION, change, read

Row = dict[str, Any]
LOOK_EVERY = 0.25  # seconds


@dataclass(frozen=True)
class Place:
    """A region of the fleet; ``account`` and ``partition`` are those of the function."""

    partition: str
    account: str
    region: str

    @classmethod
    def of(cls, function_arn: str, region: str) -> Place:
        """The region beside the function's own."""
        _arn, partition, _lambda, _own, account, *_ = function_arn.split(":")
        return cls(partition, account, region)

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource here."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def bring_in(claim: Claim, place: Place) -> None:
    """Write the row in the region, have the region converge, and wait a little for that.

    What is there already stays as it is, so this can be done again.

    Raises:
        RefusedError: the registry says that the device is not to be.

    """
    if _revocations(claim, place.region):
        raise not_allowed("the device is revoked")
    row = change("device-inventory", lambda row: decided(row, claim, place), place.region, ThingName=claim.thing)
    if not _is_applied(row, place.region):
        machine = place.arn("states", f"stateMachine:{APPLICATION}-converge-device")
        aws("stepfunctions", place.region).start_execution(
            stateMachineArn=machine, input=json.dumps({"ThingName": claim.thing})
        )
        _wait(row, place.region)


def require_in(claim: Claim, place: Place) -> None:
    """Refuse a device that has its certificate and may not use it any more.

    Raises:
        RefusedError: as the region knows it. One that it does not know yet is on its way there.

    """
    row = read("device-inventory", place.region, ThingName=claim.thing)
    if not row:
        return
    revoked, now = _revocations(claim, place.region), datetime.now(UTC)
    if not is_known(claim, row) or rows.effective_status(row, claim.certificate_id, revoked, now) != "ACTIVE":
        raise not_allowed("the device, or its certificate, is not ACTIVE any more")


def is_in(claim: Claim, place: Place) -> bool:
    """Whether the region's row has the certificate."""
    return is_known(claim, read("device-inventory", place.region, ThingName=claim.thing))


def withdraw(claim: Claim, place: Place) -> None:
    """Revoke the certificate of a claim that became somebody else's meanwhile."""

    def revoked(row: Row) -> Row | None:
        if not is_known(claim, row):
            return None
        entry = {**row["Certificates"][claim.certificate_id], "Status": "REVOKED"}
        return {"Certificates": {**row["Certificates"], claim.certificate_id: entry}}

    change("device-inventory", revoked, place.region, ThingName=claim.thing)


def is_known(claim: Claim, row: Row) -> bool:
    """Whether a row has the certificate."""
    return claim.certificate_id in row.get("Certificates", {})


def decided(row: Row, claim: Claim, place: Place) -> Row | None:
    """What changes in the row of a device that has claimed its name; None when it has the certificate."""
    now = datetime.now(UTC)
    if row and row["State"] != "ACTIVE":
        raise not_allowed(f"the device is {row['State']}")
    if is_known(claim, row):
        if row["Certificates"][claim.certificate_id]["Status"] != "ACTIVE":
            raise not_allowed("the certificate is not ACTIVE any more")
        return None
    if row and rotation.is_full(row, now, most=rows.MAX_CERTIFICATES):
        raise not_allowed("the device has too many certificates that have not expired")
    entry = _entry(claim, place.region, now)
    current = {
        "CertificateId": claim.certificate_id,
        "CertificateArn": place.arn("iot", f"cert/{claim.certificate_id}"),
        "CaCertificateId": claim.issuer,
        "NotAfter": entry["NotAfter"],
    }
    if row:
        others = _leaving(row, claim.replaces, now)
        return {**current, "Certificates": {**others, claim.certificate_id: entry}}
    return {
        "State": "ACTIVE",
        "HomeRegion": place.region,
        "ThingArn": place.arn("iot", f"thing/{claim.thing}"),
        "Certificates": {claim.certificate_id: entry},
        "PolicyNames": [f"{APPLICATION}-device"],
        "ThingTypeName": f"{APPLICATION}-device",
        "ThingGroups": [],
        "Attributes": {},
        **current,
    }


def not_allowed(message: str) -> RefusedError:
    """The registry has the last word."""
    return RefusedError(403, "NotAllowed", message)


@cache
def endpoint(region: str) -> str:
    """The host that devices dial in a region."""
    return str(aws("iot", region).describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"])


def _entry(claim: Claim, region: str, now: datetime) -> Row:
    certificate = x509.load_pem_x509_certificate(claim.certificate_pem.encode())
    return {
        "Pem": claim.certificate_pem,
        "Status": "ACTIVE",
        "NotAfter": rows.timestamp(certificate.not_valid_after_utc),
        "IssuerFingerprint": claim.issuer,
        "Serial": format(certificate.serial_number, "x"),
        "RegisteredAt": rows.timestamp(now),
        "RegisteredIn": region,
    }


def _leaving(row: Row, replaced: tuple[str, ...], now: datetime) -> Row:
    """The other certificates: one whose key was lost on the way is revoked, those in use have their grace."""
    grace = timedelta(seconds=int(os.environ["GRACE_SECONDS"]))
    leaving = {"RetireAt": rows.timestamp(now + grace), "RevokeAt": rows.timestamp(now + 2 * grace)}
    return {
        key: {**each, "Status": "REVOKED"} if key in replaced else {**leaving, **each}
        for key, each in rotation.unexpired(row, now).items()
    }


def _revocations(claim: Claim, region: str) -> list[str]:
    """The keys of ``revocations`` that keep the device or its certificate out."""
    serial = format(x509.load_pem_x509_certificate(claim.certificate_pem.encode()).serial_number, "x")
    entry = {"IssuerFingerprint": claim.issuer, "Serial": serial}
    keys = rows.revocation_keys({"ThingName": claim.thing, "Certificates": {claim.certificate_id: entry}})
    return [key for key in keys if read("revocations", region, Key=key)]


def _is_applied(row: Row, region: str) -> bool:
    return bool(read("device-status", region, ThingName=row["ThingName"]).get("AppliedWriteId") == row["WriteId"])


def _wait(row: Row, region: str) -> None:
    """Look until the region has converged, but not for ever: a device tries again until it is let in."""
    end = time.monotonic() + float(os.environ["WAIT_SECONDS"])
    while time.monotonic() < end:
        time.sleep(LOOK_EVERY)
        if _is_applied(row, region):
            return
