# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table ``allow-list``: which new names may come in, with which certificate, and which of them a claim has taken.

Private to the collection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import (
    WRITTEN_AT_ONCE,
    delete_items,
    existing,
    parts,
    put_items,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, none_if_missing

CERTIFICATE_ID = re.compile(r"[0-9a-f]{64}")
HEADER = "thing_name"
# What authorize-claim writes when a device takes a name with a claim certificate.
CLAIM = ("ClaimedBy", "ClaimedAt", "ClaimedIn")
GIVEN_AGAIN = "GivenAgainAt"

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


def wanted(name: str, certificate_id: str, known: Item, *, again: bool, now: datetime) -> Item:
    """The item of a name that is to be on the list, where ``known`` is there ({}: nothing).

    ``again``: a claim that was made is forgotten, and the name may be claimed once more, that of a deleted device too.
    """
    item: Item = {"ThingName": name, **({"CertificateId": certificate_id} if certificate_id else {})}
    if not again:
        return {**item, **{each: known[each] for each in (*CLAIM, GIVEN_AGAIN) if each in known}}
    is_free = GIVEN_AGAIN in known and "ClaimedBy" not in known
    return {**item, GIVEN_AGAIN: known[GIVEN_AGAIN] if is_free else timestamp(now)}


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
    table: str
    threads: int
    report: Callable[[str], None]

    def read(self, names: Sequence[str]) -> dict[str, Item]:
        """The items of those of the names that are on the list, by name."""
        pieces = list(parts(names, 100))
        return {
            str(item["ThingName"]): item
            for found in self._each("read", pieces, lambda piece: existing(self.client, self.table, "ThingName", piece))
            for item in found
        }

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


__all__ = ["AllowList", "Entries", "every", "listed", "parse", "shown", "wanted"]
