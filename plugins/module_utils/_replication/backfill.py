# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check has found that a region has still to apply, in calls of AWS IoT."""

from __future__ import annotations

from collections import Counter

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import backfill_calls
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store

__all__ = ["BACKFILLED", "needed"]

BACKFILLED = ("not_applied", "failed")

# Devices that are alike: an expired certificate is registered nowhere anew.
ALIKE = """
    SELECT live, kept, revoked, policies, groups, count(*) FROM (
      SELECT live,
        (SELECT count(*) FROM row_certificate AS each
         WHERE each.thing = row.thing AND each.status != 'REVOKED' AND NOT each.expired) AS kept,
        (SELECT count(*) FROM row_certificate AS each
         WHERE each.thing = row.thing AND each.status = 'REVOKED' AND NOT each.expired) AS revoked,
        (SELECT count(*) FROM row_policy WHERE row_policy.thing = row.thing) AS policies,
        (SELECT count(*) FROM row_group WHERE row_group.thing = row.thing) AS groups
      FROM row WHERE thing IN (SELECT thing FROM fault WHERE name IN (?, ?)))
    GROUP BY live, kept, revoked, policies, groups"""


def needed(store: Store) -> tuple[Counter[str], dict[str, int]]:
    """How many devices there are, ``live`` and ``ended``, and the calls by operation that a region without them makes.

    One that has some of it already makes fewer.
    """
    devices: Counter[str] = Counter(live=0, ended=0)
    calls: Counter[str] = Counter()
    for live, kept, revoked, policies, groups, count in store.select(ALIKE, BACKFILLED):
        devices["live" if live else "ended"] += count
        calls.update(backfill_calls(0, count * revoked))
        if live:
            calls.update(backfill_calls(count, certificates=kept, policies=policies, groups=groups))
    return devices, dict(sorted(calls.items()))
