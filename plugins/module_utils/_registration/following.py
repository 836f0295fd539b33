# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region that follows the rows, watched by what it writes into ``device-status``. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag_behind
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import READ_AT_ONCE, existing, parts
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# Errors of converge-device, which has tried for two minutes by then.
THROTTLED = re.compile(r"\w+\.(Throttling|ProvisionedThroughputExceeded|RequestLimitExceeded)Exception\b")
Written = tuple[str, int]  # WriteId and Version of a row: there may be a million
TABLES = {"inventory": "device-inventory", "status": "device-status"}


@dataclass
class Follower:
    """A region and boto3's DynamoDB client of it; ``threads`` reads at a time.

    ``pending``: rows that it is expected to apply and has not yet, by name. ``failed``: the errors of those that it
    could not apply, which its sweep tries again.
    """

    region: str
    client: Any
    application: str
    threads: int
    pending: dict[str, Written] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def behind(self) -> int:
        """Rows that it still has to apply, without those that it could not."""
        return len(self.pending) - len(self.failed)

    def expect(self, rows: Mapping[str, Written]) -> None:
        """Wait for these rows, by name, or what descends from them."""
        self.pending.update(rows)

    def require(self) -> None:
        """Ask it once.

        Raises:
            FleetError: it does not answer, or has no such table.

        """
        self._statuses([f"region/{self.region}"])

    def look(self) -> tuple[int, bool]:
        """See what it has applied; how many more, and whether AWS has refused it calls since the last look.

        Raises:
            FleetError: it does not answer.

        """
        before = len(self.pending)
        throttled = False
        with ThreadPoolExecutor(self.threads) as pool:
            for statuses in pool.map(self._statuses, list(parts(list(self.pending), READ_AT_ONCE))):
                for status in statuses:
                    throttled |= self._take(status)
        return before - len(self.pending), throttled

    def _statuses(self, names: Sequence[str]) -> list[Item]:
        try:
            return existing(self.client, f"{self.application}-device-status", "ThingName", names)
        except AnsibleAWSError as error:
            raise FleetError(
                f"{self.region} does not tell what it has applied: {error}; "
                "run this again when it does, or without it (--limit)"
            ) from error

    def _take(self, status: Item) -> bool:
        name, error = status["ThingName"], status.get("Error", "")
        is_new = self.failed.get(name) != error
        if error:
            self.failed[name] = error
        elif self._is_applied(status):
            del self.pending[name]
            self.failed.pop(name, None)
        else:
            self.failed.pop(name, None)
        return bool(error) and is_new and THROTTLED.match(error) is not None

    def _is_applied(self, status: Item) -> bool:
        name = status["ThingName"]
        write_id, version = self.pending[name]
        if status.get("AppliedWriteId") == write_id:
            return True
        if status.get("AppliedVersion", 0) <= version:
            return False  # what descends from it would be later
        # Somebody changed the row since it was expected, or the region is at one of an earlier life.
        tables = {f"{kind}_table": f"{self.application}-{table}" for kind, table in TABLES.items()}
        return not lag_behind(self.client, {"ThingName": name, "WriteId": write_id, "Version": version}, **tables)

    def missing(self) -> list[str]:
        """What is pending, and why, a line for each device."""
        return [
            f"{name} in {self.region}: {f'failed: {self.failed[name]}' if name in self.failed else 'not applied'}"
            for name in sorted(self.pending)
        ]


def written(row: Row) -> Written:
    """What a region is expected to apply of a row."""
    return row["WriteId"], row["Version"]


__all__ = ["Follower", "Written", "written"]
