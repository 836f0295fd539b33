# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All devices of one region, counted: whole tables in parallel segments, few attributes of each item. Private."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing

ROW = ("ThingName", "State", "Version", "WriteId", "UpdatedAt", "UpdatedRegion")
STATUS = ("ThingName", "AppliedWriteId", "AppliedVersion", "AppliedAt", "Error", "ErrorAt")


@dataclass
class Scan:
    """A reader of whole tables: ``segments`` pages at a time, ``report`` told of the count from time to time."""

    client: Any
    segments: int
    report: Callable[[str], None]
    report_every_seconds: float = 10.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: int = 0
    _reported_at: float = field(default_factory=time.monotonic)

    def items(self, table: str, attributes: Iterable[str]) -> Iterator[Item]:
        """Every item with these attributes, in no order; none where there is no table."""
        found: list[Item] = []
        self.each(table, attributes, found.append)
        yield from found

    def each(self, table: str, attributes: Iterable[str], take: Callable[[Item], None]) -> None:
        """Hand every item to ``take``, from several threads; no more than a page of each is held."""
        names = {f"#{number}": name for number, name in enumerate(attributes)}
        arguments = {
            "TableName": table,
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
            "TotalSegments": self.segments,
        }
        self._read = 0
        with ThreadPoolExecutor(self.segments) as pool:
            list(pool.map(partial(self._segment, arguments, take), range(self.segments)))
        self.report(f"{table} {self._read}")

    def _segment(self, arguments: dict[str, Any], take: Callable[[Item], None], segment: int) -> None:
        start: dict[str, Any] = {}
        while page := _page(self.client, **arguments, Segment=segment, **start):
            for item in page["Items"]:
                take(plain_item(item))
            self._count(arguments["TableName"], len(page["Items"]))
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _count(self, table: str, number: int) -> None:
        with self._lock:
            self._read += number
            if time.monotonic() - self._reported_at >= self.report_every_seconds:
                self._reported_at = time.monotonic()
                self.report(f"{table} {self._read}")


@none_if_missing
@api_call("read a page of a table")
def _page(client: Any, **arguments: Any) -> dict[str, Any] | None:
    return dict(client.scan(**arguments))


def count(rows: Iterable[Item], statuses: Iterable[Item], *, listed: int) -> dict[str, Any]:
    """Return the counts, and the first ``listed`` devices by name that have not applied their row.

    ``rows`` by ``states``; ``applied``; ``failed``; ``behind`` (neither); ``unfinished_certificates``: registrations
    that failed. ``statuses`` were read after ``rows``: one that is ahead of its row is of a write in between.
    """
    by_thing = {status.pop("ThingName"): status for status in statuses}
    states: Counter[str] = Counter()
    late: list[dict[str, str]] = []
    failed = 0
    for row in rows:
        states[row["State"]] += 1
        status = by_thing.get(row["ThingName"])
        why = lag(row, status)
        if why and not _is_ahead(status or {}, row):
            failed += bool(status and status.get("Error"))
            late.append({"thing_name": row["ThingName"], "since": row.get("UpdatedAt", ""), "lag": why})
    total = sum(states.values())
    return {
        "rows": total,
        "states": dict(sorted(states.items())),
        "applied": total - len(late),
        "failed": failed,
        "behind": len(late) - failed,
        "unfinished_certificates": sum(
            1 for thing, status in by_thing.items() if thing.startswith("certificate/") and status.get("Error")
        ),
        "late": sorted(late, key=lambda each: each["thing_name"])[:listed],
    }


def _is_ahead(status: Item, row: Item) -> bool:
    return "Error" not in status and status.get("AppliedVersion", 0) > row.get("Version", 0)


__all__ = ["ROW", "STATUS", "Scan", "count"]
