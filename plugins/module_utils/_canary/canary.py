# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a canary's steps over all regions, and what has to agree afterwards. Private to the collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from .._device.session import Endpoint
from .._device.tls import Identity
from .._registry.items import Item
from .._registry.tables import newest_messages, read_row, read_status
from ..aws import FleetError, poll
from .visit import Visit, visit

T = TypeVar("T")


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
        """Visit all regions, the first place first unless simultaneous, and check the tables of all of them.

        Raises:
            FleetError: what failed, where, what was seen last and where to look.

        """
        first, *others = self.places
        known = self._row(first) is not None
        if self.simultaneous:
            visits = _each(lambda place: self._visit(place, patience=self.timeout), self.places)
        else:
            visits = [self._visit(first, patience=self.timeout)]
            visits += _each(self._visit_once_converged, others)
        _each(lambda place: self._all_stored(place, visits), self.places)
        row = self._row(first) or {}
        statuses = _each(self._converged, self.places)
        return {
            "known": known,
            "thing_name": self.identity.thing_name,
            "write_id": row.get("WriteId"),
            "regions": [
                self._summary(each, row, status) for each, status in zip(visits, statuses, strict=True)
            ],
        }

    def _visit_once_converged(self, place: Place) -> tuple[Visit, float]:
        self._converged(place)
        return self._visit(place, patience=0)

    def _visit(self, place: Place, *, patience: float) -> tuple[Visit, float]:
        try:
            seen = visit(
                region=place.region,
                identity=self.identity,
                endpoint=place.endpoint,
                patience=patience,
                impostor=self.impostor,
            )
        except FleetError as error:
            raise FleetError(f"{error}. {self._status_line(place)} {self._where_to_look(place)}") from error
        return seen, self._stored(place, seen)


__all__ = ["Canary", "Place"]
