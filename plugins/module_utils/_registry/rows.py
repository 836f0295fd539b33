# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device's row means, and how a row follows from another one (attributes: docs/architecture.md).

Plain values in, plain values out. Of the standard library only: this file is packed into the Lambda functions too.
Private to the collection.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

# Of two that were written at once the later one in these lists holds.
STATES = ("ACTIVE", "SUSPENDED", "DELETED", "REVOKED")
STATUSES = ("ACTIVE", "INACTIVE", "REVOKED")
# Attributes of a thing that convergence writes and no row holds.
OWN_ATTRIBUTES = frozenset({"certificateId", "fleetDigest", "fleetNumber"})
DIGITS = 7  # of a digest in its number: sums of such numbers over a fleet are exact in floating point
_DERIVED = frozenset({"fleetDigest", "fleetNumber"})
# What goes together with the current certificate.
CURRENT = ("CertificateId", "CertificateArn", "CaCertificateId", "NotAfter")
MAX_CERTIFICATES = 20
# A row names its last ancestors; what is older by so many versions counts as one, whatever it is. The list is twice as
# long, since a merge has those of two rows.
KNOWN_VERSIONS = 20
MAX_ANCESTORS = 2 * KNOWN_VERSIONS
AWS_ISSUER = "aws"  # IssuerFingerprint of a certificate that AWS IoT signed


def timestamp(moment: datetime) -> str:
    """RFC 3339, UTC, seconds: ``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """The time of an RFC 3339 text, with or without fractions of a second.

    Raises:
        ValueError: it is none.

    """
    return datetime.fromisoformat(text)


def digest(attributes: Mapping[str, str], thing_type: str) -> str:
    """SHA-256 of what convergence wrote into a thing: ``attributes`` with ``certificateId``.

    ``fleetDigest`` and ``fleetNumber``, which follow from it, do not count.

    The state machine converge-device computes the same: lines ``name=value`` in the order of the names, then
    ``type=<thing type>``, joined by line feeds.
    """
    lines = [f"{name}={attributes[name]}" for name in sorted(attributes) if name not in _DERIVED]
    return hashlib.sha256("\n".join([*lines, f"type={thing_type}"]).encode()).hexdigest()


def fleet_number(fleet_digest: str) -> str:
    """The first hex digits of a digest as a decimal number, which fleet indexing can add up.

    Raises:
        ValueError: it is no digest.

    """
    return str(int(fleet_digest[:DIGITS], 16))


def is_as_written(attributes: Mapping[str, str], thing_type: str) -> bool:
    """Whether convergence wrote these attributes and this type; things of older releases have no ``fleetNumber``."""
    wanted = digest(attributes, thing_type)
    number = fleet_number(wanted)
    return attributes.get("fleetDigest") == wanted and attributes.get("fleetNumber", number) == number


def descends(row: Row, ancestor: Row) -> bool:
    """Whether ``row`` was written by somebody who knew ``ancestor``, directly or through others.

    A counter per region would not do: a replica that lost its own write would count on from before it.
    """
    return (
        "WriteId" not in ancestor
        or ancestor["WriteId"] == row.get("WriteId")
        or _generation(ancestor) in row.get("Ancestors", ())
        or int(row.get("Version", 0)) - int(ancestor["Version"]) >= KNOWN_VERSIONS
    )


def merge(winner: Row, loser: Row) -> Row:
    """The row that follows from two that were written at once: the winner, with what must not be lost of the loser.

    That is: certificates, the more severe State and Status, retirements, and the newer current certificate. Whoever
    merges the same two writes the same WriteId, so that merges made at once are no new conflict.
    """
    if descends(winner, loser):
        return winner
    certificates = {
        key: _merge_certificates(winner["Certificates"].get(key), loser["Certificates"].get(key))
        for key in {**loser["Certificates"], **winner["Certificates"]}
    }
    newer = max((winner, loser), key=_current_since)
    return {
        **{name: value for name, value in winner.items() if name not in CURRENT},
        **{name: newer[name] for name in CURRENT if name in newer},
        "Certificates": certificates,
        "State": _more_severe(STATES, winner["State"], loser["State"]),
        "Version": max(int(winner["Version"]), int(loser["Version"])) + 1,
        "WriteId": hashlib.sha256((loser["WriteId"] + winner["WriteId"]).encode()).hexdigest(),
        "Ancestors": _ancestors(loser, winner),
    }


def _generation(row: Row) -> str:
    return f"{int(row['Version'])}:{row['WriteId'][:8]}"


def _ancestors(*parents: Row) -> list[str]:
    """The parents and their ancestors, the latest ones, by version."""
    known = {each for parent in parents for each in (*parent.get("Ancestors", ()), _generation(parent))}
    return sorted(known, key=lambda each: (int(each.partition(":")[0]), each))[-MAX_ANCESTORS:]


def _merge_certificates(winner: Row | None, loser: Row | None) -> Row:
    if winner is None or loser is None:
        return dict(winner or loser or {})
    return {**loser, **winner, "Status": _more_severe(STATUSES, winner["Status"], loser["Status"])}


def _more_severe(order: tuple[str, ...], one: str, other: str) -> str:
    return max(one, other, key=order.index)


def _current_since(row: Row) -> datetime:
    current = row["Certificates"].get(row.get("CertificateId"), {})
    return moment(current["RegisteredAt"]) if "RegisteredAt" in current else datetime.min.replace(tzinfo=UTC)


def following(row: Row, changes: Mapping[str, Any], *, writer: str, now: datetime) -> Row:
    """The row that follows ``row``: ``changes``, of which None removes an attribute.

    ``writer`` is a region, or ``controller``. The write has to be conditional on ``row``'s WriteId, or on there being
    no row when ``row`` is empty (``{}``).
    """
    merged = {**row, **changes}
    return {
        **{name: value for name, value in merged.items() if value is not None},
        "Version": int(row.get("Version", 0)) + 1,
        "WriteId": str(uuid.uuid4()),
        "Ancestors": _ancestors(row) if row else [],
        "UpdatedRegion": writer,
        "UpdatedAt": timestamp(now),
    }


def revocation_keys(row: Row) -> list[str]:
    """Every key of the table ``revocations`` that would revoke the device or one of its certificates."""
    keys = [f"thing:{row['ThingName']}"]
    for certificate_id, certificate in row["Certificates"].items():
        keys.append(f"id:{certificate_id}")
        if certificate.get("Serial"):
            keys.append(f"serial:{certificate['IssuerFingerprint']}:{certificate['Serial']}")
    return keys


def effective_status(row: Row, certificate_id: str, revoked: Iterable[str], now: datetime) -> str:
    """What the certificate is to be in every region at this moment: ACTIVE, INACTIVE or REVOKED.

    ``revoked``: the keys of the table ``revocations`` that exist.
    """
    certificate, state = row["Certificates"][certificate_id], row["State"]
    keys = {f"thing:{row['ThingName']}", f"id:{certificate_id}"}
    if certificate.get("Serial"):
        keys.add(f"serial:{certificate['IssuerFingerprint']}:{certificate['Serial']}")
    if (
        state in ("REVOKED", "DELETED")
        or certificate["Status"] == "REVOKED"
        or keys & set(revoked)
        or _is_past(certificate.get("RevokeAt"), now)
    ):
        return "REVOKED"
    ends = (certificate.get("RetireAt"), certificate["NotAfter"], _present_by(certificate))
    retired = any(_is_past(end, now) for end in ends)
    return "ACTIVE" if state == "ACTIVE" and certificate["Status"] == "ACTIVE" and not retired else "INACTIVE"


def due_at(row: Row, now: datetime) -> datetime | None:
    """The next time at which the clock alone changes what the row means; None when it never will."""
    times = [
        moment(text)
        for certificate in row["Certificates"].values()
        for text in (certificate.get("RetireAt"), certificate.get("RevokeAt"), _present_by(certificate))
        if text is not None
    ]
    return min((time for time in times if time > now), default=None)


def last_not_after(row: Row) -> datetime | None:
    """When the last of the row's certificates expires; None when it has none."""
    times = [moment(certificate["NotAfter"]) for certificate in row["Certificates"].values()]
    return max(times, default=None)


def _present_by(certificate: Row) -> str | None:
    """Until when the device has to show up with the certificate; None when it did, or need not."""
    return None if "PresentedAt" in certificate else certificate.get("PresentBy")


def _is_past(text: str | None, now: datetime) -> bool:
    return text is not None and moment(text) <= now


def until_written(
    read: Callable[[], Row], write: Callable[[Row, Row], bool], decide: Callable[[Row], Row | None]
) -> Row:
    """Read, decide, write, and again while another writer was faster; the row as it is now.

    ``decide`` returns the row to write, or None when the one that is there is right. ``write(new, old)`` makes the
    conditional write and returns False when the condition failed.

    Raises:
        RowKeepsChangingError: five writes lost.

    """
    for _attempt in range(5):
        row = read()
        wanted = decide(row)
        if wanted is None:
            return row
        if write(wanted, row):
            return wanted
    raise RowKeepsChangingError("five conditional writes of the row lost against other writers: try again")


class RowKeepsChangingError(Exception):
    """Other writers were faster five times."""


__all__ = [
    "AWS_ISSUER",
    "MAX_CERTIFICATES",
    "OWN_ATTRIBUTES",
    "STATES",
    "STATUSES",
    "Row",
    "RowKeepsChangingError",
    "descends",
    "digest",
    "due_at",
    "effective_status",
    "fleet_number",
    "following",
    "is_as_written",
    "last_not_after",
    "merge",
    "moment",
    "revocation_keys",
    "timestamp",
    "until_written",
]
