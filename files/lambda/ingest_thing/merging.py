"""How what a region's registry has becomes part of a row. Pure: plain values in, plain values out.

A three-way merge: what differs from what was applied here is somebody's change, everything else is the row's. An
``observed`` thing is ``{ThingId, ThingTypeName, Attributes, OwnAttributes, ThingGroups, PolicyNames, Certificates}``;
Certificates is certificateId -> ``{Status}``, with all that a row wants to know (``Pem`` and so on) of those that the
row does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import rows

Row = dict[str, Any]
# AWS may list an attachment some seconds after it was made: what is not there counts as taken away only later than this
# after the last convergence.
LISTED_AFTER = timedelta(seconds=60)


def new_row(observed: Row, *, default_type: str, region: str, arn: str, now: datetime) -> Row:
    """The attributes of the row of a thing that nobody knew."""
    row: Row = {
        "State": "ACTIVE",
        "HomeRegion": region,
        "ThingArn": arn,
        "Certificates": {},
        "PolicyNames": [],
        "ThingTypeName": default_type,
        "ThingGroups": [],
        "Attributes": {},
    }
    return {**row, **changes(row, {}, observed, default_type=default_type, region=region, now=now, settled=False)}


def revived(row: Row, observed: Row, *, default_type: str, region: str, arn: str, now: datetime) -> Row:
    """What changes in the row of a deleted device when somebody made a thing of its name again.

    The certificates that it had stay revoked.
    """
    old = {key: {**certificate, "Status": "REVOKED"} for key, certificate in row["Certificates"].items()}
    fresh = new_row(observed, default_type=default_type, region=region, arn=arn, now=now)
    gone = dict.fromkeys((*rows.CURRENT, "Reason", "ExpiresAt"))
    return {**gone, **fresh, "HomeRegion": row["HomeRegion"], "Certificates": {**fresh["Certificates"], **old}}


def changes(
    row: Row, applied: Row, observed: Row, *, default_type: str, region: str, now: datetime, settled: bool
) -> Row:
    """The attributes of the row that are to be others because somebody changed the thing; ``{}`` when nobody did.

    ``applied`` is what convergence last made here, ``{}`` when that was another thing: then everything counts that is
    there, and nothing that is not. ``settled`` says that the last convergence is long enough ago.
    """
    merged = {
        "Attributes": _merged_values(row["Attributes"], applied.get("Attributes", {}), observed["Attributes"]),
        "ThingGroups": _merged_names(row["ThingGroups"], applied.get("ThingGroups", []), observed["ThingGroups"]),
        "PolicyNames": _merged_names(
            row["PolicyNames"],
            # Without a certificate there is nothing that a policy could be attached to, or missing from.
            applied.get("PolicyNames", []) if settled and observed["Certificates"] else [],
            observed["PolicyNames"],
        ),
        "Certificates": _merged_certificates(row, applied.get("Statuses", {}), observed, region, now, settled=settled),
    }
    if observed["ThingTypeName"] != applied.get("ThingTypeName", ""):
        merged["ThingTypeName"] = observed["ThingTypeName"] or default_type
    merged |= _current({**row, **merged}, observed, region)
    return {name: value for name, value in merged.items() if value != row.get(name)}


def has_drifted(row: Row, applied_thing_id: str, observed: Row, now: datetime) -> bool:
    """Whether the thing is not what the row says in a way that nobody may decide in a registry.

    That is: another thing stands in its place, its fleet attributes were changed, or a certificate has another status
    than the row, the device's state or the clock allow.
    """
    own = observed["OwnAttributes"]
    return (
        applied_thing_id != observed["ThingId"]
        or own.get("certificateId") != row.get("CertificateId")
        or not _has_number_of_digest(own)
        or any(
            seen["Status"] in rows.STATUSES and seen["Status"] != rows.effective_status(row, key, (), now)
            for key, seen in observed["Certificates"].items()
            if key in row["Certificates"] and seen["Status"] != "REVOKED"
        )
    )


def _has_number_of_digest(own: Mapping[str, str]) -> bool:
    """Whether ``fleetNumber`` follows from ``fleetDigest``; things of older releases have none."""
    try:
        number = rows.fleet_number(own.get("fleetDigest", ""))
    except ValueError:
        return False
    return own.get("fleetNumber", number) == number


def revoked_here(row: Row, changed: Row) -> list[str]:
    """Keys of the table ``revocations`` for the certificates that the change makes REVOKED."""
    before, after = row.get("Certificates", {}), changed.get("Certificates", {})
    fresh = {
        key: certificate
        for key, certificate in after.items()
        if certificate["Status"] == "REVOKED" and before.get(key, {}).get("Status") != "REVOKED"
    }
    return [key for key in rows.revocation_keys({"ThingName": "", "Certificates": fresh}) if key != "thing:"]


def tombstone(row: Row, *, region: str, now: datetime) -> Row:
    """What changes in the row when somebody deleted the thing. DynamoDB removes it after the last certificate's end."""
    last = max(rows.last_not_after(row) or now, now)
    return {
        "State": "DELETED",
        "Reason": f"the thing was deleted in {region}",
        "ExpiresAt": int((last + timedelta(days=1)).timestamp()),
    }


def is_settled(status: Row, now: datetime) -> bool:
    """Whether AWS lists all that the last convergence attached."""
    return "AppliedAt" in status and rows.moment(status["AppliedAt"]).astimezone(UTC) + LISTED_AFTER <= now


def _merged_values(row: Mapping[str, str], base: Mapping[str, str], seen: Mapping[str, str]) -> dict[str, str]:
    touched = {name for name in {*base, *seen} if base.get(name) != seen.get(name)}
    kept = {name: value for name, value in row.items() if name not in touched}
    return {**kept, **{name: seen[name] for name in touched if name in seen}}


def _merged_names(row: Iterable[str], base: Iterable[str], seen: Iterable[str]) -> list[str]:
    known = list(row)
    removed, added = set(base) - set(seen), set(seen) - set(base) - set(known)
    return [name for name in known if name not in removed] + sorted(added)


def _merged_certificates(
    row: Row, statuses: Mapping[str, str], observed: Row, region: str, now: datetime, *, settled: bool
) -> Row:
    merged = dict(row["Certificates"])
    # Others wait for their activation, or for a transfer.
    known = {key: seen for key, seen in observed["Certificates"].items() if seen["Status"] in rows.STATUSES}
    for key, seen in sorted(known.items(), key=lambda each: rows.STATUSES.index(each[1]["Status"])):
        if key not in merged:
            if len(merged) < rows.MAX_CERTIFICATES:
                entry = {name: value for name, value in seen.items() if name != "CaCertificateId"}
                merged[key] = {**entry, "RegisteredAt": rows.timestamp(now), "RegisteredIn": region}
        elif seen["Status"] != statuses.get(key, ""):
            merged[key] = {**merged[key], "Status": _status({**row, "Certificates": merged}, key, statuses, seen, now)}
    for key, status in statuses.items():
        if settled and status == "ACTIVE" and key in merged and key not in observed["Certificates"]:
            merged[key] = {**merged[key], "Status": "INACTIVE"}
    return merged


def _status(row: Row, key: str, statuses: Mapping[str, str], seen: Row, now: datetime) -> str:
    """The row's Status of a certificate that somebody gave another status than convergence did."""
    certificate = row["Certificates"][key]
    if key not in statuses or seen["Status"] != "ACTIVE":
        return max(certificate["Status"], seen["Status"], key=rows.STATUSES.index)
    activated = {**row, "Certificates": {key: {**certificate, "Status": "ACTIVE"}}}
    return "ACTIVE" if rows.effective_status(activated, key, (), now) == "ACTIVE" else str(certificate["Status"])


def _current(row: Row, observed: Row, region: str) -> Row:
    """The attributes of the current certificate when another one has to take its place: the newest ACTIVE one."""
    certificates = row["Certificates"]
    active = [key for key, certificate in certificates.items() if certificate["Status"] == "ACTIVE"]
    if row.get("CertificateId") in active or not active:
        return {}
    key = max(active, key=lambda each: (certificates[each]["RegisteredAt"], each))
    seen = observed["Certificates"].get(key, {})
    thing_prefix = row["ThingArn"].split(":")
    arn = ":".join([*thing_prefix[:3], region, thing_prefix[4], f"cert/{key}"])
    return {
        "CertificateId": key,
        "CertificateArn": arn,
        "CaCertificateId": seen.get("CaCertificateId"),
        "NotAfter": certificates[key]["NotAfter"],
    }
