# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revoking many devices and certificates at once, also those that no region has seen. Private to the collection.

The keys of ``revocations`` are written first, all of them: from then on nobody comes in. Then the rows are changed,
which is what puts those out that are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME, Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, change
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row, revocation_keys
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing, put_revocation
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call

T = TypeVar("T")
R = TypeVar("R")

ENDED = ("REVOKED", "DELETED")


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate that is to be revoked; what is not known of it is empty. ``key``: ``serial:<issuer>:<serial>``.

    One that was not ``named`` is only brought into line with where it is revoked already.
    """

    thing_name: str = ""
    certificate_id: str = ""
    key: str = ""
    reason: str = ""
    named: bool = False

    @property
    def keys(self) -> list[str]:
        """Its keys in ``revocations``."""
        return [*([f"id:{self.certificate_id}"] if self.certificate_id else []), *([self.key] if self.key else [])]


@dataclass(frozen=True, kw_only=True)
class Target(Certificate):
    """What is meant, after a look at the registry.

    ``device``: the whole device is revoked. ``seen``: a row has it. ``pending``: it is not revoked there yet.
    """

    device: bool = False
    seen: bool = False
    pending: bool = False


class Revoker:
    """Revokes through one replica; ``threads`` calls at a time."""

    def __init__(self, replica: Replica, threads: int) -> None:
        self._replica, self._threads = replica, threads

    def targets(self, devices: Sequence[str], certificates: Sequence[Certificate], reason: str) -> list[Target]:
        """Look at the registry; devices first, each with all its certificates.

        Raises:
            FleetError: of a device there is no row and no certificate.

        """
        names = dict.fromkeys([*devices, *(each.thing_name for each in certificates)])
        rows = self._rows([name for name in names if THING_NAME.fullmatch(name)])
        _require_known(devices, rows, certificates)
        others = [each for each in certificates if each.thing_name not in devices]
        keys = [key for each in certificates for key in each.keys]
        keys += [key for name in devices for key in revocation_keys(rows.get(name) or _no_row(name))]
        revoked = self._replica.revoked(list(dict.fromkeys(keys)))
        found = [each for name in devices for each in _of_device(name, rows.get(name), certificates, revoked, reason)]
        return found + self._of_certificates(others, rows, revoked)

    def revoke(self, targets: Sequence[Target], reason: str) -> None:
        """Write what is pending.

        Raises:
            FleetError: other writers of a row were faster five times. All else was written; say it again.

        """
        pending = [each for each in targets if each.pending]
        reasons = {key: each.reason for each in pending for key in each.keys}
        reasons |= {f"thing:{each.thing_name}": each.reason for each in pending if each.device}
        self._each(lambda item: self._put(*item), reasons.items())
        wanted: dict[str, Wanted] = {}
        for each in pending:
            if each.seen and each.device:
                wanted[each.thing_name] = Wanted(state="REVOKED", reason=reason or None)
            elif each.seen:
                former = (wanted.get(each.thing_name) or Wanted()).certificates or {}
                wanted[each.thing_name] = Wanted(certificates={**former, each.certificate_id: "REVOKED"})
        self._each(lambda item: change(self._replica, item[0], item[1], check_mode=False), wanted.items())

    def _put(self, key: str, reason: str) -> None:
        put_revocation(self._replica.client, self._replica.revocations, key, reason=reason, now=datetime.now(UTC))

    def _each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(function, items))

    def _rows(self, names: list[str]) -> dict[str, Row]:
        found = existing(self._replica.client, self._replica.inventory, "ThingName", names) if names else []
        return {row["ThingName"]: row for row in found}

    def _of_certificates(
        self, certificates: Sequence[Certificate], rows: Mapping[str, Row], revoked: set[str]
    ) -> list[Target]:
        """The certificate's row is that of its name, else that of its id, else the one that a scan finds."""
        targets, strange = [], []
        for each in certificates:
            row = rows.get(each.thing_name, {})
            if not _id_in(row, each) and each.certificate_id:
                row = self._replica.row_of_certificate(each.certificate_id)
            if _id_in(row, each):
                targets.append(_target(each, row, revoked))
            else:
                strange.append(each)
        sought = [each for each in strange if each.named or not revoked.issuperset(each.keys)]
        elsewhere = self._scan(sought) if sought else {}
        return targets + [_target(each, elsewhere.get(each, {}), revoked) for each in strange]

    def _scan(self, certificates: Sequence[Certificate]) -> dict[Certificate, Row]:
        by_key = {key: each for each in certificates for key in each.keys}
        found: dict[Certificate, Row] = {}
        for row in _all_certificates(self._replica.client, self._replica.inventory):
            for key in by_key.keys() & revocation_keys(row):
                found[by_key[key]] = row
        return found


@api_call("look for certificates in the registry")
def _all_certificates(client: Any, table: str) -> list[Row]:
    """Read name, state and certificates of all rows that have certificates, without the PEM."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        ProjectionExpression="ThingName, #state, Certificates",
        ExpressionAttributeNames={"#state": "State"},
    )
    return [_slim(plain_item(item)) for page in pages for item in page["Items"] if "Certificates" in item]


def _slim(row: Row) -> Row:
    for entry in row["Certificates"].values():
        entry.pop("Pem", None)
    return row


def _no_row(name: str) -> Row:
    return {"ThingName": name, "Certificates": {}}


def _require_known(devices: Sequence[str], rows: Mapping[str, Row], certificates: Sequence[Certificate]) -> None:
    known = rows.keys() | {each.thing_name for each in certificates}
    unknown = [name for name in devices if name not in known]
    if unknown:
        raise FleetError(f"devices: {', '.join(unknown)} have no row and no certificate; check the names")


def _of_device(
    name: str, row: Row | None, certificates: Sequence[Certificate], revoked: set[str], reason: str
) -> Iterator[Target]:
    """Return every certificate of a device, those of its row first; one target without any when it has none."""
    known = row or _no_row(name)
    found = [
        Certificate(thing_name=name, certificate_id=each, key=_key(entry))
        for each, entry in known["Certificates"].items()
    ]
    found += [each for each in certificates if each.thing_name == name and not _id_in(known, each)]
    stands = row is None or row["State"] in ENDED
    for each in found or [Certificate(thing_name=name)]:
        yield Target(
            **{**asdict(each), "reason": reason or "revoked", "named": True},
            device=True,
            seen=known.get("State", "DELETED") != "DELETED",
            pending=not stands or not revoked.issuperset([f"thing:{name}", *each.keys]),
        )


def _target(certificate: Certificate, row: Row, revoked: set[str]) -> Target:
    certificate_id = _id_in(row, certificate)
    known = revoked.issuperset(certificate.keys)
    if not certificate_id:
        return Target(**asdict(certificate), pending=not known)
    entry = row["Certificates"][certificate_id]
    stands = row["State"] in ENDED or entry["Status"] == "REVOKED"
    return Target(
        thing_name=row["ThingName"],
        certificate_id=certificate_id,
        key=_key(entry) or certificate.key,
        reason=certificate.reason,
        named=certificate.named,
        seen=row["State"] != "DELETED",
        pending=not (stands and known),
    )


def _id_in(row: Row, certificate: Certificate) -> str:
    """The certificate's id if the row has it, else empty."""
    entries = row.get("Certificates", {})
    if certificate.certificate_id in entries:
        return certificate.certificate_id
    return next((each for each, entry in entries.items() if certificate.key and _key(entry) == certificate.key), "")


def _key(entry: Row) -> str:
    return f"serial:{entry['IssuerFingerprint']}:{entry['Serial']}" if entry.get("Serial") else ""


__all__ = ["Certificate", "Revoker", "Target"]
