# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of several regions put together: rows that the replicas disagree about, and a report of all faults."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import moment
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import KINDS, Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["compare_rows", "finished", "write_csv", "write_json"]

COLUMNS = ("region", "fault", "thing_name", "certificate_id", "detail", "repaired_by", "found_at")
# Of a row that expires, one replica may have deleted it before the other one.
ROWS = (
    """
    SELECT row.thing, 'row_missing', '', 'not in ' || :other
    FROM row LEFT JOIN other.row AS theirs USING (thing)
    WHERE theirs.thing IS NULL AND row.state != 'DELETED' AND row.updated_at < :lately""",
    """
    SELECT row.thing, 'row_differs', '',
      'version ' || theirs.version || ' in ' || :other || ' and ' || row.version || ' here'
    FROM row JOIN other.row AS theirs USING (thing)
    WHERE row.write_id != theirs.write_id AND max(row.updated_at, theirs.updated_at) < :lately
      AND (row.version, row.updated_at, row.write_id) > (theirs.version, theirs.updated_at, theirs.write_id)""",
)


def finished(path: str, region: str) -> Store:
    """The store of a check that came to its end.

    Raises:
        FleetError: there is no such check.

    """
    if not Path(path).is_file():
        raise FleetError(f"stores={path} ({region}) is no file: run fleet_replication_info for the region first")
    store = Store(path)
    if "finished_at" not in store.scope():
        raise FleetError(f"stores={path} ({region}) is of a check that was interrupted: run it again, and it goes on")
    return store


def compare_rows(stores: Mapping[str, Store]) -> None:
    """Write into each store what other regions lack of its rows, or have an older version of.

    The fault is the newer row's, since a write of it, which every replica gets, is what puts it right.
    """
    for store in stores.values():
        store.run("DELETE FROM fault WHERE name IN ('row_missing', 'row_differs')")
    lately = min(_lately(store.scope()) for store in stores.values())
    for region, store in stores.items():
        for other, theirs in stores.items():
            if other != region:
                with store.beside(theirs.path):
                    for query in ROWS:
                        store.run(f"INSERT OR REPLACE INTO fault {query}", {"other": other, "lately": lately})


def write_csv(stores: Mapping[str, Store], path: str) -> None:
    """Write every fault as a line: region, fault, thing_name, certificate_id, detail, repaired_by, found_at."""
    with _open(path, "csv_path") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        for region, store in stores.items():
            lines.writerows(_line(region, fault, store.scope()["finished_at"]) for fault in store.faults())


def write_json(stores: Mapping[str, Store], summaries: Mapping[str, Any], path: str) -> None:
    """Write ``{"regions": {region: summary}, "faults": [{region, fault, ...}, ...]}``, a fault at a time."""
    with _open(path, "json_path") as file:
        file.write('{"regions": ' + json.dumps(summaries, indent=2) + ',\n"faults": [')
        for number, line in enumerate(_lines(stores)):
            file.write(("," if number else "") + "\n" + json.dumps(dict(zip(COLUMNS, line, strict=True))))
        file.write("]}\n")


def _lately(scope: Mapping[str, str]) -> int:
    return int(moment(scope["began_at"]).timestamp()) - int(scope["settling"])


def _lines(stores: Mapping[str, Store]) -> Iterator[tuple[str, ...]]:
    for region, store in stores.items():
        for fault in store.faults():
            yield _line(region, fault, store.scope()["finished_at"])


def _line(region: str, fault: Fault, found_at: str) -> tuple[str, ...]:
    return (
        region,
        fault.name,
        fault.thing_name,
        fault.certificate_id,
        fault.detail,
        KINDS[fault.name].repair,
        found_at,
    )


def _open(path: str, option: str) -> Any:
    try:
        return Path(path).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise FleetError(f"{option}={path} cannot be written: {error.strerror}; give another path") from None
