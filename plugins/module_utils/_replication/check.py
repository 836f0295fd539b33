# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of one region: read, compare, read again what seems wrong, compare again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import moment, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._replication import comparisons
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.reading import Reader
from ansible_collections.iotops.fleet.plugins.module_utils._replication.sample import CONFIDENCE, mark, most_faulty
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store

__all__ = ["Check", "begin", "run", "summary"]

LIVE = "FROM row JOIN thing USING (thing) WHERE row.live"


@dataclass(frozen=True)
class Check:
    """What is asked.

    ``sample`` devices are looked at one by one at depth full, 0: all. A change has to be everywhere in ``settling``
    seconds: who changed later is in motion.
    """

    application: str
    region: str
    depth: str
    sample: int
    settling: int

    def lately(self, began: datetime) -> int:
        """Who changed since then (epoch seconds) is in motion."""
        return int(began.timestamp()) - self.settling

    def scope(self) -> dict[str, str]:
        """What another check must have in common to be the same one."""
        return {
            "application": self.application,
            "region": self.region,
            "depth": self.depth,
            "sample": str(self.sample),
            "settling": str(self.settling),
            "policy": f"{self.application}-device",
        }


def begin(check: Check, store: Store) -> tuple[datetime, bool]:
    """Begin the check, or go on with one that was interrupted; when it began, and whether it goes on."""
    resumed = store.begin(check.scope())
    if not resumed:
        store.remember({"began_at": timestamp(datetime.now(UTC))})
    return moment(store.scope()["began_at"]), resumed


def run(
    check: Check,
    store: Store,
    reading: Reader,
    *,
    policies: Iterable[str],
    groups: Iterable[str],
    region_faults: Iterable[Fault],
) -> None:
    """Do what is left of a check.

    ``policies`` and ``groups`` are looked into beside those of the rows; ``region_faults`` are those that were found of
    the region itself.
    """
    began = reading.now
    reading.read(registry=check.depth != "rows", policies=policies, groups=groups)
    if check.depth == "full":
        reading.look_at(_chosen(store, check.sample))
    times = {"began": int(began.timestamp()), "lately": check.lately(began)}
    comparisons.compare(store, depth=check.depth, **times)
    _read_again(store, reading)
    comparisons.compare(store, depth=check.depth, **times)
    store.run("DELETE FROM fault WHERE thing = '' AND name != 'orphan_certificate'")
    store.take("fault", [(each.thing_name, each.name, each.certificate_id, each.detail) for each in region_faults])
    store.remember({"finished_at": timestamp(datetime.now(UTC))})


def summary(store: Store, *, listed: int) -> dict[str, Any]:
    """What a finished check found: counts, and the first faults."""
    scope = store.scope()
    looked = store.number("SELECT count(*) FROM looked")
    live = store.number(f"SELECT count(*) {LIVE}")
    faults = store.faults()
    sampled = scope["depth"] == "full" and looked < live
    return {
        **{name: scope[name] for name in ("region", "depth", "began_at", "finished_at")},
        "devices": store.number("SELECT count(*) FROM row"),
        "in_motion": store.number("SELECT count(*) FROM moving"),
        "faulty_devices": store.number("SELECT count(DISTINCT thing) FROM fault WHERE thing != ''"),
        "faults": dict(store.select("SELECT name, count(*) FROM fault GROUP BY name ORDER BY name")),
        "listed": [each._asdict() for each, _number in zip(faults, range(listed), strict=False)],
        "looked_at": looked,
        "confidence": _confidence(store, looked) if sampled else None,
        "store": store.path,
    }


def _confidence(store: Store, looked: int) -> dict[str, float]:
    faulty = store.number("SELECT count(DISTINCT thing) FROM fault JOIN looked USING (thing)")
    return {"confidence": CONFIDENCE, "at_most_faulty": round(most_faulty(faulty, looked), 6) if looked else 1.0}


def _chosen(store: Store, sample: int) -> list[str]:
    things = [thing for (thing,) in store.select(f"SELECT thing {LIVE}")]
    if sample and sample < len(things):
        things = sorted(things, key=mark(store.scope()["began_at"]))[:sample]
    looked = {thing for (thing,) in store.select("SELECT thing FROM looked")}
    return [thing for thing in things if thing not in looked]


def _read_again(store: Store, reading: Reader) -> None:
    """A row that was not applied then is in motion, or is not applied: there is nothing to read again."""
    things = "SELECT DISTINCT thing FROM fault WHERE thing != '' AND name != 'not_applied'"
    certificates = "SELECT id FROM fault WHERE name = 'orphan_certificate'"
    missing = "SELECT thing FROM fault WHERE name = 'thing_missing'"
    reading.read_again(*([each for (each,) in store.select(query)] for query in (things, certificates, missing)))
