# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry as an operator changes it: through the replica of one region. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted, changes, keys_to_revoke
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    Row,
    RowKeepsChangingError,
    following,
    until_written,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import read_row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing, put_revocation, put_row
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call


class Replica:
    """The tables of a fleet in one region."""

    def __init__(self, client: Any, application: str, region: str) -> None:
        self.client, self.region = client, region
        self.inventory, self.revocations, self.rejections = (
            f"{application}-{table}" for table in ("device-inventory", "revocations", "rejections")
        )

    def row(self, thing_name: str) -> Row:
        """The device's row; {} when it has none."""
        return read_row(self.client, self.inventory, thing_name) or {}

    def known_row(self, thing_name: str) -> Row:
        """The device's row.

        Raises:
            FleetError: it has none.

        """
        row = self.row(thing_name)
        if not row:
            raise FleetError(
                f"thing_name={thing_name} has no row in {self.inventory} of {self.region}: "
                "check the name; a device gets its row when it first connects"
            )
        return row

    def row_of_certificate(self, certificate_id: str) -> Row:
        """The row whose current certificate this is; {} when there is none."""
        thing_name = _thing_of(self.client, self.inventory, certificate_id)
        return self.row(thing_name) if thing_name else {}

    def revoked(self, keys: list[str]) -> set[str]:
        """Those of the keys that are in ``revocations``."""
        return {item["Key"] for item in existing(self.client, self.revocations, "Key", keys)}

    def write(self, new: Row, old: Row) -> bool:
        """Write the row unless somebody else has; whether it was written."""
        return put_row(self.client, self.inventory, new, old)

    def follow(self, row: Row, changes: dict[str, Any]) -> Row:
        """The row that an operator makes of ``row`` here."""
        return following(row, changes, writer="controller", now=datetime.now(UTC))


@api_call("find a certificate's device")
def _thing_of(client: Any, table: str, certificate_id: str) -> str:
    found = client.query(
        TableName=table,
        IndexName="CertificateId",
        KeyConditionExpression="CertificateId = :id",
        ExpressionAttributeValues={":id": {"S": certificate_id}},
    )["Items"]
    return str(found[0]["ThingName"]["S"]) if found else ""


def decided(
    read: Callable[[], Row], write: Callable[[Row, Row], bool], decide: Callable[[Row], Row | None], *, check_mode: bool
) -> Row:
    """The row after the decision: written, or in check mode what would be written.

    Raises:
        FleetError: other writers were faster five times.

    """
    if check_mode:
        row = read()
        return decide(row) or row
    try:
        return until_written(read, write, decide)
    except RowKeepsChangingError as error:
        raise FleetError(str(error)) from None


def change(replica: Replica, thing_name: str, wanted: Wanted, *, check_mode: bool) -> tuple[Row, Row, list[str]]:
    """Return the row before and after, and the keys added to ``revocations``.

    Raises:
        FleetError: there is no such device, it cannot become that, or other writers were faster five times.

    """
    before = replica.known_row(thing_name)
    revoked = [each for each, status in (wanted.certificates or {}).items() if status == "REVOKED"]
    added: set[str] = set()

    def decide(row: Row) -> Row | None:
        differing = changes(row, wanted, datetime.now(UTC))
        return replica.follow(row, differing) if differing else None

    def revoke(row: Row) -> None:
        keys = keys_to_revoke(row, revoked)
        missing = set(keys) - replica.revoked(keys)
        for key in sorted(missing) if not check_mode else []:
            reason = wanted.reason or "revoked by an operator"
            put_revocation(replica.client, replica.revocations, key, reason=reason, now=datetime.now(UTC))
        added.update(missing)

    def write(new: Row, old: Row) -> bool:
        revoke(new)
        return replica.write(new, old)

    after = decided(lambda: replica.known_row(thing_name), write, decide, check_mode=check_mode)
    revoke(after)  # finishes a run that was interrupted
    return before, after, sorted(added)


__all__ = ["Replica", "change", "decided"]
