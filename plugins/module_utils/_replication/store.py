# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check has read and found, in one SQLite file a region: bounded memory, and a check that was killed goes on.

A page and the token that follows it are written in one transaction, so that a page counts once.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["Store"]

FORMAT = "2"
Arguments = tuple[Any, ...] | dict[str, Any]
# Times are epoch seconds. What a row wants is computed as its page is taken in; the rest is as it was listed.
TABLES = {
    "revoked": "key TEXT PRIMARY KEY",
    "row": "thing TEXT PRIMARY KEY, write_id TEXT, version INTEGER, updated_at INTEGER, state TEXT, "
    "live INTEGER, type TEXT, attributes TEXT",
    "row_certificate": "id TEXT PRIMARY KEY, thing TEXT, status TEXT, status_before TEXT, expired INTEGER, "
    "of_aws INTEGER",
    "row_policy": "thing TEXT, policy TEXT, PRIMARY KEY (thing, policy)",
    "row_group": "thing TEXT, grp TEXT, PRIMARY KEY (thing, grp)",
    "status": "thing TEXT PRIMARY KEY, write_id TEXT, applied_at INTEGER, error TEXT, lease_until INTEGER",
    "thing": "thing TEXT PRIMARY KEY, type TEXT, attributes TEXT",
    "certificate": "id TEXT PRIMARY KEY, status TEXT, registered_at INTEGER",
    "target": "id TEXT, policy TEXT, PRIMARY KEY (id, policy)",
    "member": "thing TEXT, grp TEXT, PRIMARY KEY (thing, grp)",
    "principal": "thing TEXT, id TEXT, PRIMARY KEY (thing, id)",
    "looked": "thing TEXT PRIMARY KEY",  # whose principals were listed
    "shadow": "thing TEXT, name TEXT, differs TEXT, PRIMARY KEY (thing, name)",
    "moving": "thing TEXT PRIMARY KEY",
    "fault": "thing TEXT, name TEXT, id TEXT, detail TEXT, PRIMARY KEY (thing, name, id, detail)",
    "source": "name TEXT PRIMARY KEY, token TEXT, done INTEGER",
    "scope": "name TEXT PRIMARY KEY, value TEXT",
}


class Store:
    """The file of one region's check."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._create()
        except (OSError, sqlite3.Error) as error:
            raise FleetError(f"store={path} cannot be used: {error}; give a path that can be written") from None

    def close(self) -> None:
        """Leave one file that is whole."""
        with self._lock:
            self._base.close()

    def begin(self, scope: Mapping[str, str]) -> bool:
        """Begin a check, or go on with one that was not finished; whether it goes on.

        Another scope (depth, region, sample and so on) is another check.
        """
        known = self.scope()
        if known and "finished_at" not in known and scope.items() <= known.items() and known.get("format") == FORMAT:
            return True
        with self._lock:
            for table in TABLES:
                self._base.execute(f"DROP TABLE IF EXISTS {table}")
            self._create()
        self.remember({**scope, "format": FORMAT})
        return False

    def scope(self) -> dict[str, str]:
        """What is remembered of the check: application, region, depth, began_at, finished_at and so on."""
        return dict(self.select("SELECT name, value FROM scope"))

    def remember(self, values: Mapping[str, str]) -> None:
        """Add to the scope."""
        self.take("scope", values.items())

    def token(self, source: str) -> tuple[str, bool]:
        """Where a source is to be read on ("" for its beginning), and whether it was read to its end."""
        found = list(self.select("SELECT token, done FROM source WHERE name = ?", (source,)))
        return (found[0][0], bool(found[0][1])) if found else ("", False)

    def page(self, source: str, token: str, tables: Mapping[str, Iterable[tuple[Any, ...]]]) -> None:
        """Write a page of a source, by table, and the token that follows it ("" after the last)."""
        with self._lock, self._transaction():
            for table, rows in tables.items():
                self.take(table, rows)
            self._base.execute("INSERT OR REPLACE INTO source VALUES (?, ?, ?)", (source, token, not token))

    def take(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows; what is there under the same key is replaced."""
        places = ", ".join("?" * (TABLES[table].split(", PRIMARY KEY (")[0].count(",") + 1))
        with self._lock:
            self._base.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608  # ours

    def run(self, statement: str, arguments: Arguments = ()) -> None:
        """Execute a statement that changes tables."""
        with self._lock:
            self._base.execute(statement, arguments)

    @contextmanager
    def beside(self, path: str) -> Iterator[None]:
        """Have another store's tables as those of ``other`` in statements that :meth:`run` executes."""
        self.run("ATTACH DATABASE ? AS other", (path,))
        try:
            yield
        finally:
            self.run("DETACH DATABASE other")

    def select(self, statement: str, arguments: Arguments = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, over a connection of its own, so that others may write meanwhile."""
        with closing(sqlite3.connect(self.path)) as reader:
            yield from reader.execute(statement, arguments)

    def number(self, statement: str, arguments: Arguments = ()) -> int:
        """The one number that a query answers."""
        return int(next(self.select(statement, arguments))[0])

    def faults(self, names: Iterable[str] | None = None) -> Iterator[Fault]:
        """The faults that were found, those of the region first, then device by device."""
        wanted = None if names is None else set(names)
        for thing, name, certificate_id, detail in self.select("SELECT * FROM fault ORDER BY thing, name, id, detail"):
            if wanted is None or name in wanted:
                yield Fault(name, thing, certificate_id, detail)

    def _create(self) -> None:
        for table, columns in TABLES.items():
            self._base.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITHOUT ROWID")
        self._base.execute("CREATE INDEX IF NOT EXISTS row_certificate_of ON row_certificate (thing)")

    def _transaction(self) -> sqlite3.Connection:
        self._base.execute("BEGIN IMMEDIATE")
        return self._base  # commits, or rolls back where a page cannot be written
