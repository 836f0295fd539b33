# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table ``allow-list``: which new names may come in, with which certificate, and which of them a claim has taken.

Private to the collection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item, typed_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import moment, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import (
    LOST,
    WRITTEN_AT_ONCE,
    delete_items,
    existing,
    parts,
    put_items,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import (
    FleetError,
    api_call,
    error_code,
    none_if_missing,
)

CERTIFICATE_ID = re.compile(r"[0-9a-f]{64}")
HEADER = "thing_name"
# What authorize-claim writes when a device takes a name with a claim certificate.
CLAIM = ("ClaimedBy", "ClaimedAt", "ClaimedIn")
GIVEN_AGAIN = "GivenAgainAt"
ATTRIBUTES = ("CertificateId", *CLAIM, GIVEN_AGAIN)
NAMED = 5  # names that a refusal tells

# Thing name -> certificate id, "" for any certificate.
Entries = dict[str, str]


def parse(lines: Iterable[str], *, option: str) -> Entries:
    """Read ``name`` or ``name,certificate_id`` from each line; a heading, empty lines and ``#`` comments are skipped.

    Raises:
        FleetError: a line that is neither, or a name with two certificates.

    """
    entries: Entries = {}
    for number, cells in enumerate(csv.reader(lines), 1):
        name, *rest = [cell.strip() for cell in cells] or [""]
        if not name or name.startswith("#") or (number == 1 and name.lower() == HEADER):
            continue
        certificate_id = (rest[0] if rest else "").lower()
        where = f"{option}, line {number}"
        if len(rest) > 1 or not THING_NAME.fullmatch(name):
            raise FleetError(f"{where}: {','.join(cells)!r} is not name or name,certificate_id; correct it")
        if certificate_id and not CERTIFICATE_ID.fullmatch(certificate_id):
            raise FleetError(f"{where}: {certificate_id!r} is no certificate id; give the 64 hex digits of its SHA-256")
        if entries.setdefault(name, certificate_id) != certificate_id:
            raise FleetError(f"{where}: {name} has another certificate id than before; leave one of them")
    return entries


def wanted(name: str, certificate_id: str, known: Item) -> Item:
    """The item of a name that is to be on the list, where ``known`` is there ({}: nothing)."""
    return {**_item(name, certificate_id), **{each: known[each] for each in (*CLAIM, GIVEN_AGAIN) if each in known}}


def given_again(name: str, certificate_id: str, known: Item, row: Item, now: datetime) -> Item:
    """The item of a name that may be claimed once more; a claim that was made is forgotten.

    ``row``: of the deleted device that had the name, {} where there is none. The name counts as given after that one
    was deleted, whatever the clock of whoever did that.
    """
    deleted = moment(row["UpdatedAt"]) if row else None
    before = known.get(GIVEN_AGAIN)
    is_free = before and "ClaimedBy" not in known and not (deleted and moment(before) <= deleted)
    at = max(now, deleted + timedelta(seconds=1)) if deleted else now
    return {**_item(name, certificate_id), GIVEN_AGAIN: before if is_free else timestamp(at)}


def _item(name: str, certificate_id: str) -> Item:
    return {"ThingName": name, **({"CertificateId": certificate_id} if certificate_id else {})}


def refuse_devices(rows: Mapping[str, Item]) -> None:
    """Refuse to give names again that have a device.

    Raises:
        FleetError: a row that is not DELETED.

    """
    living = [f"{name} ({row['State']})" for name, row in sorted(rows.items()) if row["State"] != "DELETED"]
    if living:
        raise FleetError(
            f"again=true: {_some(living)}: a name is given again when its device is deleted or never came; delete it"
            " with playbooks/change_device.yml, or leave the name out"
        )


def refuse_claimed(names: Sequence[str]) -> None:
    """Tell that names were not written.

    Raises:
        FleetError: there is one.

    """
    if names:
        raise FleetError(
            f"{_some(names)}: claimed by a device in this moment and left as that is; run it again to look"
        )


def _some(words: Sequence[str]) -> str:
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def shown(item: Item) -> dict[str, str]:
    """An item as modules show it; texts are empty where there is nothing."""
    names = {
        "certificate_id": "CertificateId",
        "claimed_by": "ClaimedBy",
        "claimed_at": "ClaimedAt",
        "claimed_in": "ClaimedIn",
        "given_again_at": GIVEN_AGAIN,
    }
    return {"thing_name": str(item["ThingName"]), **{name: str(item.get(each, "")) for name, each in names.items()}}


@dataclass(frozen=True)
class AllowList:
    """The table in one region; at most ``threads`` calls at once, ``report`` told of the count from time to time."""

    client: Any
    application: str
    threads: int
    report: Callable[[str], None]

    @property
    def table(self) -> str:
        """The table's name."""
        return f"{self.application}-allow-list"

    def read(self, names: Sequence[str]) -> dict[str, Item]:
        """The items of those of the names that are on the list, by name."""
        return self._existing(self.table, names)

    def rows(self, names: Sequence[str]) -> dict[str, Item]:
        """The rows of those of the names that have or had a device, by name."""
        return self._existing(f"{self.application}-device-inventory", names)

    def _existing(self, table: str, names: Sequence[str]) -> dict[str, Item]:
        pieces = list(parts(names, 100))
        return {
            str(item["ThingName"]): item
            for found in self._each("read", pieces, lambda piece: existing(self.client, table, "ThingName", piece))
            for item in found
        }

    def change(self, items: Mapping[str, Item], known: Mapping[str, Item]) -> list[str]:
        """Make items of those that are known; the names that were claimed meanwhile, and are left as they are."""

        def change(piece: Sequence[str]) -> bool:
            return _changed(self.client, self.table, items[piece[0]], known.get(piece[0], {}))

        done = self._each("changed", list(parts(list(items), 1)), change)
        return [name for name, is_done in zip(items, done, strict=True) if not is_done]

    def put(self, items: Sequence[Item]) -> None:
        """Put items on the list, in the place of those of the same names."""
        self._each(
            "written", list(parts(items, WRITTEN_AT_ONCE)), lambda part: put_items(self.client, self.table, part)
        )

    def remove(self, names: Sequence[str]) -> None:
        """Take names off the list."""
        pieces = list(parts(names, WRITTEN_AT_ONCE))
        self._each("removed", pieces, lambda piece: delete_items(self.client, self.table, "ThingName", piece))

    def _each(self, what: str, pieces: list[Sequence[Any]], call: Callable[[Sequence[Any]], Any]) -> list[Any]:
        answers = []
        total, done = sum(map(len, pieces)), 0
        with ThreadPoolExecutor(self.threads) as pool:
            for number, (piece, answer) in enumerate(zip(pieces, pool.map(call, pieces), strict=True), 1):
                answers.append(answer)
                done += len(piece)
                if number % 100 == 0:
                    self.report(f"{what} {done}/{total}")
        return answers


@api_call("change an entry of the allow-list")
def _changed(client: Any, table: str, item: Item, known: Item) -> bool:
    """Whether the item is in the place of ``known``; False when the name was claimed meanwhile."""
    key = {"ThingName": {"S": item["ThingName"]}}
    differing = [each for each in ATTRIBUTES if item.get(each) != known.get(each)]
    sets = ", ".join(f"{each} = :{each}" for each in differing if each in item)
    removes = ", ".join(each for each in differing if each not in item)
    values = {f":{each}": item[each] for each in differing if each in item}
    condition = "attribute_not_exists(ClaimedBy)"
    if "ClaimedBy" in known:
        condition, values[":seen"] = "ClaimedBy = :seen", known["ClaimedBy"]
    expressions = {
        "UpdateExpression": (f"SET {sets} " if sets else "") + (f"REMOVE {removes}" if removes else ""),
        "ExpressionAttributeValues": typed_item(values),
    }
    given = {name: each for name, each in expressions.items() if each}
    try:
        client.update_item(TableName=table, Key=key, ConditionExpression=condition, **given)
    except client.exceptions.ClientError as error:
        if error_code(error) != LOST:
            raise
        # Or an earlier attempt was carried out, and its answer was lost.
        return plain_item(client.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})) == item
    return True


@none_if_missing
@api_call("list the allow-list")
def every(client: Any, table: str) -> list[Item] | None:
    """All items; None when there is no table."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [plain_item(item) for page in pages for item in page["Items"]]


def listed(client: Any, table: str) -> Entries | None:
    """The certificate ids of all names; None when there is no table."""
    items = every(client, table)
    return None if items is None else {str(item["ThingName"]): str(item.get("CertificateId", "")) for item in items}


__all__ = [
    "AllowList",
    "Entries",
    "every",
    "given_again",
    "listed",
    "parse",
    "refuse_claimed",
    "refuse_devices",
    "shown",
    "wanted",
]
