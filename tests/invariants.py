# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold of a fleet's regions once nothing is under way any more, whatever happened before.

``violations`` says what is wrong, one line for each. It compares what the regions' registries hold with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from iotops.sandbox.client import Sandbox


@dataclass(frozen=True)
class Region:
    """What one region holds at one moment.

    ``things``: name -> its description; ``certificates``: id -> status; ``things_of`` and ``policies_of``: certificate
    id -> names; ``groups_of``: thing -> names, None when nobody looked.
    """

    name: str
    rows: Mapping[str, rows.Row]
    status: Mapping[str, Mapping[str, Any]]
    revocations: frozenset[str]
    rejected: frozenset[str]
    things: Mapping[str, Mapping[str, Any]]
    certificates: Mapping[str, str]
    things_of: Mapping[str, frozenset[str]]
    policies_of: Mapping[str, frozenset[str]]
    groups_of: Mapping[str, frozenset[str]] | None = None


_TABLES = {
    "device-inventory": "ThingName",
    "device-status": "ThingName",
    "revocations": "Key",
    "rejections": "CertificateId",
}


def look_at_tables(sandbox: Sandbox, application: str, region: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Table -> key -> item in plain values, of the region's replicas and of its own table."""
    dynamodb = sandbox.client("dynamodb", region)

    def items(table: str) -> list[dict[str, Any]]:
        pages = dynamodb.get_paginator("scan").paginate(TableName=f"{application}-{table}", ConsistentRead=True)
        return [plain_item(item) for page in pages for item in page["Items"]]

    return {table: {item[key]: item for item in items(table)} for table, key in _TABLES.items()}


def look(sandbox: Sandbox, application: str, region: str) -> Region:
    """Read all tables and the registry of a region, as its root user."""
    iot, tables = sandbox.client("iot", region), look_at_tables(sandbox, application, region)

    def listed(operation: str, key: str, **arguments: str) -> list[Any]:
        return [item for page in iot.get_paginator(operation).paginate(**arguments) for item in page[key]]

    things = {each["thingName"]: each for each in listed("list_things", "things")}
    certificates = {each["certificateId"]: each["status"] for each in listed("list_certificates", "certificates")}
    policies = [each["policyName"] for each in listed("list_policies", "policies")]
    groups = [each["groupName"] for each in listed("list_thing_groups", "thingGroups")]
    # From the few to the many, which takes fewer calls than asking each certificate.
    principals = {name: listed("list_thing_principals", "principals", thingName=name) for name in things}
    targets = {name: listed("list_targets_for_policy", "targets", policyName=name) for name in policies}
    members = {name: listed("list_things_in_thing_group", "things", thingGroupName=name) for name in groups}
    return Region(
        name=region,
        rows=tables["device-inventory"],
        status=tables["device-status"],
        revocations=frozenset(tables["revocations"]),
        rejected=frozenset(tables["rejections"]),
        things=things,
        certificates=certificates,
        things_of=_of_whom(certificates, principals),
        policies_of=_of_whom(certificates, targets),
        groups_of=_of_whom(things, members),
    )


def _of_whom(members: Iterable[str], lists: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Member (at the end of its ARN) -> the names of the lists that it is in."""
    found: dict[str, set[str]] = {member: set() for member in members}
    for name, entries in lists.items():
        for entry in entries:
            if entry.rpartition("/")[2] in found:
                found[entry.rpartition("/")[2]].add(name)
    return {member: frozenset(names) for member, names in found.items()}


def violations(regions: Sequence[Region], *, now: datetime | None = None) -> list[str]:
    """Everything that must not be, of regions at rest: empty queues, no execution running, no lease held."""
    now = now or datetime.now(UTC)
    found = [line for region in regions for line in _of_region(region, now)]
    first = regions[0]
    for other in regions[1:]:
        found += [
            f"{thing}: {first.name} and {other.name} have different rows"
            for thing in sorted({*first.rows, *other.rows})
            if first.rows.get(thing) != other.rows.get(thing)
        ]
        found += [f"{key}: revoked in one of {first.name} and {other.name} only"
                  for key in sorted(first.revocations ^ other.revocations)]  # fmt: skip
    return found


def unsafe(region: Region, *, now: datetime | None = None) -> list[str]:
    """What must never be seen in a region, not even of what is half done: access that no row gives."""
    return [*_strays(region), *_orphans(region), *_open_doors(region, now or datetime.now(UTC))]


def _of_region(region: Region, now: datetime) -> Iterator[str]:
    checks: Iterable[Callable[[Region, datetime], Iterator[str]]] = (_certificates, _things, _statuses)
    yield from _strays(region)
    yield from _orphans(region)
    for check in checks:
        yield from check(region, now)


def _strays(region: Region) -> Iterator[str]:
    for thing in sorted(region.things.keys() - region.rows.keys()):
        yield f"{thing}: a thing without row in {region.name}"


def _orphans(region: Region) -> Iterator[str]:
    """Certificates of no row that were neither rejected nor are waiting to be asked about."""
    known = {key for row in region.rows.values() for key in row["Certificates"]}
    for key, status in sorted(region.certificates.items()):
        if key in known or status == "PENDING_ACTIVATION":
            continue
        if key not in region.rejected or status == "ACTIVE":
            yield f"certificate {key}: {status} in {region.name}, of no row"


def _open_doors(region: Region, now: datetime) -> Iterator[str]:
    """Certificates with which a device may come in although the row in this region says that it may not."""
    for thing, row in sorted(region.rows.items()):
        for key in row["Certificates"]:
            usable = region.certificates.get(key) == "ACTIVE" and region.things_of[key] and region.policies_of[key]
            applied = row["WriteId"] == region.status.get(thing, {}).get("AppliedWriteId")
            if usable and applied and rows.effective_status(row, key, region.revocations, now) != "ACTIVE":
                yield f"{thing}: certificate {key} works in {region.name} although its row was applied"


def _certificates(region: Region, now: datetime) -> Iterator[str]:
    for thing, row in sorted(region.rows.items()):
        wanted_policies = frozenset(row["PolicyNames"])
        for key in sorted(row["Certificates"]):
            where = f"{thing}: certificate {key} in {region.name}"
            wanted, status = rows.effective_status(row, key, region.revocations, now), region.certificates.get(key)
            if status != wanted and not (status is None and _may_be_missing(row, key)):
                yield f"{where} is {status}, not {wanted}"
            if status == "ACTIVE" and region.things_of[key] != {thing}:
                yield f"{where} is ACTIVE and attached to {sorted(region.things_of[key])}"
            if status == "ACTIVE" and region.policies_of[key] != wanted_policies:
                yield f"{where} is ACTIVE and has policies {sorted(region.policies_of[key])}"
            if row["State"] == "DELETED" and status and (region.things_of[key] or region.policies_of[key]):
                yield f"{where} is of a deleted device and still attached"


def _may_be_missing(row: rows.Row, key: str) -> bool:
    """AWS-signed certificates of a deleted device are deleted: unlike ours they cannot register themselves again."""
    return bool(row["State"] == "DELETED" and row["Certificates"][key]["IssuerFingerprint"] == rows.AWS_ISSUER)


def _things(region: Region, _now: datetime) -> Iterator[str]:
    for thing, row in sorted(region.rows.items()):
        found = region.things.get(thing)
        if row["State"] in ("ACTIVE", "SUSPENDED"):
            wanted = {
                **row["Attributes"],
                **({"certificateId": row["CertificateId"]} if "CertificateId" in row else {}),
            }
            if found is None:
                yield f"{thing}: no thing in {region.name}"
            elif found.get("thingTypeName") != row["ThingTypeName"]:
                yield f"{thing}: its type in {region.name} is {found.get('thingTypeName')}, not {row['ThingTypeName']}"
            elif missing := {name for name in wanted if found["attributes"].get(name) != wanted[name]}:
                yield f"{thing}: other attributes in {region.name}: {', '.join(sorted(missing))}"
            elif region.groups_of is not None and region.groups_of[thing] != frozenset(row["ThingGroups"]):
                yield f"{thing}: its groups in {region.name} are {sorted(region.groups_of[thing])}"
        elif row["State"] == "DELETED" and found is not None:
            yield f"{thing}: deleted and still a thing in {region.name}"


def _statuses(region: Region, now: datetime) -> Iterator[str]:
    for thing, row in sorted(region.rows.items()):
        status = region.status.get(thing, {})
        if status.get("AppliedWriteId") != row["WriteId"]:
            yield f"{thing}: {region.name} applied {status.get('AppliedWriteId')}, not {row['WriteId']}"
        if "Error" in status:
            yield f"{thing}: in error in {region.name}: {status['Error']}"
        if status.get("LeaseUntil", 0) >= now.timestamp():
            yield f"{thing}: a lease is held in {region.name}"
    for key in sorted(region.status.keys() - region.rows.keys()):
        if "/" not in key:
            yield f"{key}: a status without row in {region.name}"
