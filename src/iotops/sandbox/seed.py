# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of N devices as if onboarded, written straight into the stores: no API call, no event, no stream record.

For benchmarks and tests of fleets that already exist. Registry, rows and statuses are what convergence would have
written some minutes ago (docs/architecture.md).
"""

from __future__ import annotations

import datetime
import itertools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ministack.core.responses import get_account_id, request_scope
from ministack.services import dynamodb, iot

from iotops.sandbox import mqtt_trust, persistence
from iotops.sandbox.addresses import iot_regions
from iotops.sandbox.errors import SandboxError
from iotops.sandbox.seed_certificates import Authority, Device, for_looks, issue, not_after
from iotops.sandbox.seed_rows import Item, Rows

_AGE = datetime.timedelta(minutes=10)  # how long ago it all was


def run(
    *,
    devices: int,
    regions: list[str],
    application: str = "multi-region-iot",
    prefix: str = "seed-",
    revoked: int = 0,
    keys: str | None = None,
    authority: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Make the things ``<prefix>1`` to ``<prefix><devices>`` in every region; how many there are now.

    The last ``revoked`` of them are REVOKED. With ``keys``, a directory, each device has a key of its own there, and
    with ``authority``, the paths of a CA's certificate and key, its certificate is really signed: it can connect.

    Raises:
        SandboxError: no devices, an unknown region, a region whose tables are not there, or an unusable authority.

    """
    _require(devices, revoked, regions, application, signed=authority is not None or keys is None)
    account, home = get_account_id(), regions[0]
    with request_scope(account, home):
        known = next(iter(iot._ca_certificates.values()), None) or {}
        signer = (
            Authority.read(*authority)
            if authority
            # A CA's id is the SHA-256 of its DER, too.
            else for_looks(known.get("certificatePem"), known.get("certificateId", "aws"))
        )
    begin = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - _AGE
    ca_id = signer.fingerprint if signer.fingerprint != "aws" else ""
    live, ended = (
        Rows(state=state, application=application, account=account, home=home, issuer=signer.fingerprint, ca_id=ca_id)
        for state in ("ACTIVE", "REVOKED")
    )
    names = [f"{prefix}{number}" for number in range(1, devices + 1)]
    made = issue(names, signer, begin, Path(keys) if keys else None)
    for rows, count in ((live, devices - revoked), (ended, revoked)):
        rows.times(begin, not_after(begin))
        for device in itertools.islice(made, count):
            _store(device, rows, application, account, regions, signer)
    persistence.touch()
    return {"devices": devices, "revoked": revoked, "regions": regions}


def _require(devices: int, revoked: int, regions: list[str], application: str, *, signed: bool) -> None:
    if devices < 1:
        raise SandboxError(f"seed: {devices} devices; at least 1 is needed")
    if not 0 <= revoked <= devices:
        raise SandboxError(f"seed: {revoked} of {devices} devices cannot be revoked")
    if not signed:
        raise SandboxError("seed: keys are of use with an authority only: give its certificate and its key")
    tables = ["device-inventory", "device-status", *(["revocations"] if revoked else [])]
    for region in regions:
        if region not in iot_regions():
            raise SandboxError(f"seed: no region {region!r}; AWS IoT is in {', '.join(iot_regions())}")
        with request_scope(get_account_id(), region):
            for table in tables:
                if f"{application}-{table}" not in dynamodb._tables:
                    raise SandboxError(f"seed: no table {application}-{table} in {region}: make site first")


def _store(device: Device, rows: Rows, application: str, account: str, regions: list[str], signer: Authority) -> None:
    row, attributes = rows.row(device), rows.attributes(device)
    applied, revocations = rows.applied(row), list(rows.revocations(device)) if rows.state == "REVOKED" else []
    for region in regions:
        with request_scope(account, region):
            thing_id = _register(device, application, attributes, rows.status, signer)
            _put(f"{application}-device-inventory", "ThingName", row)
            _put(f"{application}-device-status", "ThingName", {**applied, "ThingId": {"S": thing_id}})
            for item in revocations:
                _put(f"{application}-revocations", "Key", item)


def _register(device: Device, application: str, attributes: dict[str, str], status: str, signer: Authority) -> str:
    """Thing, certificate, attachment and policy of the current region; the thing's id."""
    kind, name = f"{application}-device", device.name
    policy = iot._policies.get(kind)
    # Not through iot._certificate_record: that would make each of these certificates a trust anchor.
    record = {
        "certificateId": device.certificate_id,
        "certificateArn": iot._cert_arn(device.certificate_id),
        "certificatePem": device.pem,
        "status": status,
        "certificateMode": "SNI_ONLY",
        "creationDate": iot._now_epoch(),
        "ownedBy": get_account_id(),
        "caCertificateId": signer.fingerprint if signer.fingerprint in iot._ca_certificates else None,
        "attachedThings": [iot._thing_arn(name)],
        "attachedPolicies": [kind] if policy is not None else [],
    }
    iot._certificates[device.certificate_id] = record
    if signer.is_real and record["caCertificateId"] is None:
        mqtt_trust.remember_without_ca(iot.get_region(), device.pem)
    known = iot._things.get(name)
    thing_id = known["thingId"] if known else str(uuid.uuid4())
    iot._things[name] = {
        "thingName": name,
        "thingId": thing_id,
        "thingArn": record["attachedThings"][0],
        "thingTypeName": kind if kind in iot._thing_types else None,
        "attributes": dict(attributes),
        "version": 1,
        "creationDate": iot._now_epoch(),
        "principals": [record["certificateArn"]],
        "thingGroupNames": [],
    }
    if policy is not None:
        policy.setdefault("targets", []).append(record["certificateArn"])
    return str(thing_id)


def _put(table_name: str, key: str, item: Item) -> None:
    """Store an item of the current region's table without telling streams or replicas."""
    dynamodb._set_item(dynamodb._tables[table_name], item[key]["S"], "__no_sort__", item)
