# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a page of a table or of a listing comes to in the store: a row as what it wants to find in the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    AWS_ISSUER,
    OWN_ATTRIBUTES,
    Row,
    effective_status,
    moment,
    revocation_keys,
)

__all__ = [
    "ROW",
    "STATUS",
    "Tables",
    "certificates",
    "members",
    "principals",
    "revocations",
    "rows",
    "seconds",
    "statuses",
    "targets",
    "things",
]

ROW = (
    "ThingName", "State", "Version", "WriteId", "UpdatedAt", "CertificateId", "Certificates", "PolicyNames",
    "ThingTypeName", "ThingGroups", "Attributes",
)  # fmt: skip
STATUS = ("ThingName", "AppliedWriteId", "AppliedAt", "Error", "LeaseUntil")
# A status that the clock has changed lately may not be applied: the sweep, every 15 minutes, does that.
CLOCK = timedelta(minutes=20)

Tables = dict[str, list[tuple[Any, ...]]]


def revocations(items: Iterable[Item]) -> Tables:
    """Of items of the table ``revocations``."""
    return {"revoked": [(item["Key"],) for item in items]}


def rows(items: Iterable[Row], revoked: Callable[[list[str]], set[str]], now: datetime) -> Tables:
    """Of rows of ``device-inventory``, as they are to be at ``now``.

    ``revoked`` answers which of some keys are in the table ``revocations``; it is asked once.
    """
    tables: Tables = {"row": [], "row_certificate": [], "row_policy": [], "row_group": []}
    empty: Row = {"Certificates": {}, "Attributes": {}, "PolicyNames": [], "ThingGroups": []}
    found = [{**empty, **item} for item in items]
    keys = revoked([key for row in found for key in revocation_keys(row)])
    for row in found:
        thing = row["ThingName"]
        state = "REVOKED" if f"thing:{thing}" in keys and row["State"] != "DELETED" else row["State"]
        tables["row"].append((
            thing, row["WriteId"], row["Version"], seconds(row.get("UpdatedAt")), state,
            state in ("ACTIVE", "SUSPENDED"), row.get("ThingTypeName", ""), _wanted(row),
        ))  # fmt: skip
        tables["row_certificate"] += [_certificate(row, each, keys, now) for each in row["Certificates"]]
        tables["row_policy"] += [(thing, policy) for policy in row["PolicyNames"]]
        tables["row_group"] += [(thing, group) for group in row["ThingGroups"]]
    return tables


def statuses(items: Iterable[Item]) -> Tables:
    """Of items of ``device-status``; those that are no device's are left out."""
    return {
        "status": [
            (
                item["ThingName"],
                item.get("AppliedWriteId", ""),
                seconds(item.get("AppliedAt")),
                item.get("Error", ""),
                item.get("LeaseUntil", 0),
            )
            for item in items
            if "/" not in item["ThingName"]
        ]
    }


def things(listed: Iterable[Mapping[str, Any]]) -> Tables:
    """Of ListThings."""
    return {
        "thing": [
            (each["thingName"], each.get("thingTypeName") or "", _text(each.get("attributes") or {})) for each in listed
        ]
    }


def certificates(listed: Iterable[Mapping[str, Any]]) -> Tables:
    """Of ListCertificates, with times as they come: epoch seconds."""
    rows = [(each["certificateId"], each["status"], int(each["creationDate"])) for each in listed]
    return {"certificate": rows}


def targets(policy: str, listed: Iterable[str]) -> Tables:
    """Of ListTargetsForPolicy: the certificates; groups and identities are nobody's here."""
    return {"target": [(each.rpartition("/")[2], policy) for each in listed if ":cert/" in each]}


def members(group: str, listed: Iterable[str]) -> Tables:
    """Of ListThingsInThingGroup."""
    return {"member": [(thing, group) for thing in listed]}


def principals(thing: str, listed: Iterable[str]) -> Tables:
    """Of ListThingPrincipals: the certificates."""
    attached = [(thing, each.rpartition("/")[2]) for each in listed if ":cert/" in each]
    return {"principal": attached, "looked": [(thing,)]}


def seconds(text: str | None) -> int:
    """Epoch seconds of an RFC 3339 time; 0 where there is none."""
    return int(moment(text).timestamp()) if text else 0


def _wanted(row: Row) -> str:
    current = {"certificateId": row["CertificateId"]} if row.get("CertificateId") else {}
    return _text({**row["Attributes"], **current})


def _text(attributes: Mapping[str, str]) -> str:
    """What of a thing's attributes is compared: not what is computed from the others."""
    computed = OWN_ATTRIBUTES - {"certificateId"}
    return json.dumps({name: attributes[name] for name in sorted(attributes) if name not in computed})


def _certificate(row: Row, certificate_id: str, revoked: set[str], now: datetime) -> tuple[Any, ...]:
    entry: Item = row["Certificates"][certificate_id]
    return (
        certificate_id,
        row["ThingName"],
        effective_status(row, certificate_id, revoked, now),
        effective_status(row, certificate_id, revoked, now - CLOCK),
        moment(entry["NotAfter"]) <= now.astimezone(UTC),
        entry.get("IssuerFingerprint") == AWS_ISSUER,
    )
