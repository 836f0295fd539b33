# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of N devices as if onboarded, written straight into the stores: no API call, no event, no stream record.

For benchmarks of fleets that already exist. Rows and statuses are those of docs/architecture.md. The certificates name
a registered CA as their issuer but are signed by a key made here: such a device can be looked at and not connected.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ministack.core.responses import get_account_id, request_scope
from ministack.services import dynamodb, iot

from iotops.sandbox import persistence
from iotops.sandbox.addresses import iot_regions
from iotops.sandbox.errors import SandboxError

_LIFETIME = datetime.timedelta(days=3650)
_serialize = TypeSerializer().serialize


@dataclass(frozen=True)
class _Device:
    name: str
    pem: str
    certificate_id: str
    not_after: str


def run(
    *, devices: int, regions: list[str], application: str = "multi-region-iot", prefix: str = "seed-"
) -> dict[str, Any]:
    """Make the things ``<prefix>1`` to ``<prefix><devices>`` in every region; how many there are now.

    Raises:
        SandboxError: no devices, an unknown region, or a region whose tables are not there.

    """
    if devices < 1:
        raise SandboxError(f"seed: {devices} devices; at least 1 is needed")
    for region in regions:
        if region not in iot_regions():
            raise SandboxError(f"seed: no region {region!r}; AWS IoT is in {', '.join(iot_regions())}")
        with request_scope(get_account_id(), region):
            for table in ("device-inventory", "device-status"):
                if f"{application}-{table}" not in dynamodb._tables:
                    raise SandboxError(f"seed: no table {application}-{table} in {region}: make site first")
    account, home = get_account_id(), regions[0]
    with request_scope(account, home):
        ca = next(iter(iot._ca_certificates.values()), None)
    for device in _devices(devices, prefix, ca):
        row = _serialized(_row(device, home, application, ca))
        for region in regions:
            with request_scope(account, region):
                thing_id = _register(device, application)
                status = {"ThingId": {"S": thing_id}, "AppliedAt": row["UpdatedAt"], "AppliedVersion": row["Version"]}
                _put(f"{application}-device-inventory", dict(row))
                _put(f"{application}-device-status", {**_key(row), **status, "AppliedWriteId": row["WriteId"]})
    persistence.touch()
    return {"devices": devices, "regions": regions}


def _devices(count: int, prefix: str, ca: dict[str, Any] | None) -> Iterator[_Device]:
    """Devices that share one key: making keys would take most of the time."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(ca["certificatePem"].encode()).subject if ca else _common_name("Seed CA")
    begin = datetime.datetime.now(datetime.UTC)
    for number in range(1, count + 1):
        name = f"{prefix}{number}"
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_common_name(name))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + _LIFETIME)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        until = certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield _Device(name, pem, certificate.fingerprint(hashes.SHA256()).hex(), until)


def _register(device: _Device, application: str) -> str:
    """Thing, ACTIVE certificate, attachment and policy of the current region; the thing's id."""
    ca_id = next(iter(iot._ca_certificates), None)
    # Not through iot._certificate_record: that would make each of these certificates a trust anchor.
    record = {
        "certificateId": device.certificate_id,
        "certificateArn": iot._cert_arn(device.certificate_id),
        "certificatePem": device.pem,
        "status": "ACTIVE",
        "certificateMode": "SNI_ONLY",
        "creationDate": iot._now_epoch(),
        "ownedBy": get_account_id(),
        "caCertificateId": ca_id,
        "attachedThings": [iot._thing_arn(device.name)],
        "attachedPolicies": [],
    }
    iot._certificates[device.certificate_id] = record
    known = iot._things.get(device.name)
    thing_id = known["thingId"] if known else str(uuid.uuid4())
    iot._things[device.name] = {
        "thingName": device.name,
        "thingId": thing_id,
        "thingArn": iot._thing_arn(device.name),
        "thingTypeName": f"{application}-device" if f"{application}-device" in iot._thing_types else None,
        "attributes": {"certificateId": device.certificate_id},
        "version": 1,
        "creationDate": iot._now_epoch(),
        "principals": [record["certificateArn"]],
        "thingGroupNames": [],
    }
    if (policy := iot._policies.get(f"{application}-device")) is not None:
        record["attachedPolicies"] = [f"{application}-device"]
        policy.setdefault("targets", []).append(record["certificateArn"])
    return str(thing_id)


def _row(device: _Device, home: str, application: str, ca: dict[str, Any] | None) -> dict[str, Any]:
    now = _now()
    return {
        "ThingName": device.name,
        "State": "ACTIVE",
        "Version": 1,
        "WriteId": str(uuid.uuid4()),
        "UpdatedRegion": home,
        "UpdatedAt": now,
        "HomeRegion": home,
        "ThingArn": f"arn:aws:iot:{home}:{get_account_id()}:thing/{device.name}",
        "CertificateArn": f"arn:aws:iot:{home}:{get_account_id()}:cert/{device.certificate_id}",
        "CertificateId": device.certificate_id,
        "CaCertificateId": ca["certificateId"] if ca else "",
        "NotAfter": device.not_after,
        "Certificates": {
            device.certificate_id: {
                "Pem": device.pem,
                "Status": "ACTIVE",
                "NotAfter": device.not_after,
                "IssuerFingerprint": ca["certificateId"] if ca else "aws",  # the SHA-256 of its DER, too
                "RegisteredAt": now,
                "RegisteredIn": home,
            }
        },
        "PolicyNames": [f"{application}-device"],
        "ThingTypeName": f"{application}-device",
        "ThingGroups": [],
        "Attributes": {},
    }


def _serialized(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in row.items()}


def _key(item: dict[str, Any]) -> dict[str, Any]:
    return {"ThingName": item["ThingName"]}


def _put(table_name: str, item: dict[str, Any]) -> None:
    """Store an item of the current region's table without telling streams or replicas."""
    dynamodb._set_item(dynamodb._tables[table_name], item["ThingName"]["S"], "__no_sort__", item)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
