# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a canary's steps over all regions, and what has to agree afterwards. Private to the collection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from ansible_collections.iotops.fleet.plugins.module_utils._canary.visit import Visit, visit
from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import (
    newest_messages,
    read_row,
    read_status,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, poll

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Place:
    """A region: where its devices dial, and the boto3 DynamoDB client that reads its tables."""

    region: str
    endpoint: Endpoint
    tables: Any


@dataclass(frozen=True)
class Canary:
    """One device on its way through the fleet; the tables are names, ``timeout`` is seconds for each step."""

    identity: Identity
    places: tuple[Place, ...]
    simultaneous: bool
    impostor: bool
    inventory_table: str
    status_table: str
    data_table: str
    timeout: float

    def run(self) -> dict[str, Any]:
        """Visit all regions, the first place first unless simultaneous, then compare the tables of all of them.

        Raises:
            FleetError: what failed, where, what was seen last and where to look.

        """
        first, *others = self.places
        known = self._row(first) is not None
        if self.simultaneous:
            visits = in_each(self._visit_patiently, self.places)
        else:
            visits = [
                self._visit_patiently(first),
                *in_each(lambda place: self._visit_elsewhere(place, known=known), others),
            ]
        in_each(lambda place: self._await_messages(place, visits), self.places)
        statuses = in_each(self._await_converged, self.places)
        row = self._row(first) or {}
        return {
            "thing_name": self.identity.thing_name,
            "known": known,
            "write_id": row.get("WriteId"),
            "regions": [summary(each, row, status) for each, status in zip(visits, statuses, strict=True)],
        }

    def _visit_patiently(self, place: Place) -> Visit:
        return self._visit(place, patience=self.timeout)

    def _visit_elsewhere(self, place: Place, *, known: bool) -> Visit:
        """Visit with one attempt once the region has converged.

        A region that was added after a device became known hears of it when it connects: there patience is right.
        """
        if known and self._status(place) is None:
            return self._visit_patiently(place)
        self._await_converged(place)
        return self._visit(place, patience=0)

    def _visit(self, place: Place, *, patience: float) -> Visit:
        try:
            seen = visit(
                region=place.region,
                identity=self.identity,
                endpoint=place.endpoint,
                patience=patience,
                impostor=self.impostor,
            )
        except FleetError as error:
            raise FleetError(f"{error}. {self._evidence(place)}", **error.context) from error
        self._await_messages(place, [seen])
        seen.stored_seconds = time.monotonic() - seen.published_at
        return seen

    def _await_messages(self, place: Place, visits: Iterable[Visit]) -> None:
        """Wait until the region's data table holds the message of each visit, with the region it was sent in."""
        wanted = {each.nonce: each.region for each in visits}

        def missing(found: dict[str, str]) -> str:
            sources = ", ".join(sorted(wanted[nonce] for nonce in wanted if nonce not in found))
            return (
                f"the message sent in {sources} to be in {self.data_table} of {place.region}. {self._evidence(place)}"
            )

        found = poll(
            lambda: self._messages(place),
            lambda found: wanted.keys() <= found.keys(),
            timeout=self.timeout,
            describe=missing,
        )
        for nonce, region in wanted.items():
            if found[nonce] != region:
                raise FleetError(
                    f"{self.data_table} of {place.region} says that a message sent in {region} came from "
                    f"{found[nonce]!r}: look at the topic rule of stack messages in {region}",
                    region=place.region,
                )

    def _await_converged(self, place: Place) -> Item:
        """Wait until the region's status shows the write that all replicas hold, without error; return the status."""

        def agrees(seen: tuple[set[Any], Item | None]) -> bool:
            writes, status = seen
            return status is not None and "Error" not in status and writes == {status.get("AppliedWriteId")} != {None}

        def disagreement(seen: tuple[set[Any], Item | None]) -> str:
            writes = ", ".join(sorted(str(each) for each in seen[0]))
            return f"{self.status_table} of {place.region} to show the row's write ({writes}). {self._evidence(place)}"

        _writes, status = poll(
            lambda: (self._writes(place), self._status(place)), agrees, timeout=self.timeout, describe=disagreement
        )
        return status or {}

    def _writes(self, place: Place) -> set[Any]:
        return {(self._row(each) or {}).get("WriteId") for each in (self.places[0], place)}

    def _row(self, place: Place) -> Item | None:
        return read_row(place.tables, self.inventory_table, self.identity.thing_name)

    def _status(self, place: Place) -> Item | None:
        return read_status(place.tables, self.status_table, self.identity.thing_name)

    def _messages(self, place: Place) -> dict[str, str]:
        items = newest_messages(place.tables, self.data_table, self.identity.thing_name)
        return {
            item["message"]["nonce"]: str(item.get("region"))
            for item in items
            if isinstance(item.get("message"), dict) and "nonce" in item["message"]
        }

    def _evidence(self, place: Place) -> str:
        """What the tables of a region say about the device, and where the rest is to be found."""
        row, status = self._row(place) or {}, self._status(place) or {}
        seen = f"row State={row.get('State')} WriteId={row.get('WriteId')}; status "
        seen += f"AppliedWriteId={status.get('AppliedWriteId')} Error={status.get('Error')}"
        return f"Seen last in {place.region}: {seen}. Look at its dead letters queue and its log of state machines"


def in_each(function: Callable[[T], R], places: Iterable[T]) -> list[R]:
    """Call ``function`` for all places at once; the results are in their order, the first error is raised."""
    places = list(places)
    if not places:
        return []
    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        return list(pool.map(function, places))


def summary(seen: Visit, row: Item, status: Item) -> dict[str, Any]:
    """Return one region's line of the result; seconds are rounded to milliseconds."""
    return {
        "region": seen.region,
        "attempts": seen.attempts,
        "refused": seen.attempts - 1,
        "last_refusal": seen.last_refusal,
        "accepted_seconds": round(seen.accepted_seconds, 3),
        "acknowledged_seconds": round(seen.acknowledged_seconds, 3),
        "stored_seconds": round(seen.stored_seconds, 3),
        "converged_seconds": seconds_between(row.get("UpdatedAt"), status.get("AppliedAt")),
        "applied_write_id": status.get("AppliedWriteId"),
    }


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Return the seconds from one RFC 3339 time to another; None when either is absent."""
    if earlier is None or later is None:
        return None
    return round((datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds(), 3)


__all__ = ["Canary", "Place", "in_each", "seconds_between", "summary"]
