# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One region is watched until it refuses every certificate that was revoked. Private to the collection.

A certificate is asked for at AWS IoT only after the region's own tables say that it was dealt with: AWS answers ten
such questions a second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._device.errors import (
    Denied,
    DeviceError,
    Dropped,
)
from ansible_collections.iotops.fleet.plugins.module_utils._device.session import Endpoint, Session
from ansible_collections.iotops.fleet.plugins.module_utils._device.tls import Identity
from ansible_collections.iotops.fleet.plugins.module_utils._devices.seen import describe_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.revoking import Target
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import effective_status
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, poll

ANSWER_SECONDS = 10.0
# AWS accepts one CONNECT a second of one client ID, and would refuse a second one for that:
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html
BETWEEN_ATTEMPTS = 1.2


@dataclass
class Outcome:
    """What a region was seen to do with one certificate; ``why`` is empty once it refuses it.

    ``seconds`` run from the command to the evidence.
    """

    target: Target
    state: str = ""
    status: str = ""
    attempt: str = "no key here"
    why: str = "not looked at"
    seconds: float | None = None
    connect_at: float = 0.0


@dataclass
class Watch:
    """A region, the boto3 clients of its DynamoDB and IoT, and who has a key to try with (by certificate id)."""

    region: str
    endpoint: Endpoint
    tables: Any
    iot: Any
    application: str
    identities: Mapping[str, Identity]
    began_at: float
    threads: int
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self, targets: Sequence[Target], timeout: float) -> list[Outcome]:
        """Watch until all are refused, or for ``timeout`` seconds; who is not says why."""
        self.outcomes = [Outcome(each) for each in targets]
        with contextlib.suppress(FleetError):  # the time is over; the outcomes say what is missing
            poll(self._look, lambda left: not left, timeout=timeout, describe=self.region, delay=0.2, max_delay=2)
        return self.outcomes

    def _look(self) -> list[Outcome]:
        """Look again at those that are not refused; those that still are not."""
        left = [each for each in self.outcomes if each.why]
        settled = self._settled([each for each in left if not each.status])
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._ask, settled))
            list(pool.map(self._try, [each for each in left if each.status and time.time() >= each.connect_at]))
        return [each for each in left if each.why]

    def _settled(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Those that the region's own tables say are dealt with."""
        names = list(dict.fromkeys(each.target.thing_name for each in outcomes if each.target.thing_name))
        rows, statuses = (self._items(table, "ThingName", names) for table in ("device-inventory", "device-status"))
        keys = list(dict.fromkeys(key for each in outcomes for key in _keys(each.target)))
        revoked = self._items("revocations", "Key", keys)
        for each in outcomes:
            row, status = rows.get(each.target.thing_name, {}), statuses.get(each.target.thing_name)
            each.state = row.get("State", "never seen")
            each.why = _delay(each.target, row, status, revoked)
        return [each for each in outcomes if not each.why]

    def _items(self, table: str, key: str, values: list[str]) -> dict[str, Item]:
        found = existing(self.tables, f"{self.application}-{table}", key, values) if values else []
        return {item[key]: item for item in found}

    def _ask(self, outcome: Outcome) -> None:
        certificate_id, seen = outcome.target.certificate_id, outcome.target.seen
        described = describe_certificate(self.iot, certificate_id) if certificate_id else None
        status = str(described["status"]) if described else "not registered"
        if status == "ACTIVE" or (seen and status not in ("REVOKED", "not registered")):
            outcome.why = f"its certificate is {status}"
            return
        outcome.status = status
        if certificate_id in self.identities:
            outcome.attempt = outcome.why = "not tried yet"
        else:
            self._refused(outcome)

    def _try(self, outcome: Outcome) -> None:
        """Connect as the device itself would."""
        identity = self.identities.get(outcome.target.certificate_id)
        if identity is None:
            return
        outcome.attempt, refused = attempt(identity, self.endpoint)
        if refused:
            self._refused(outcome)
        else:
            outcome.why, outcome.connect_at = outcome.attempt, time.time() + BETWEEN_ATTEMPTS

    def _refused(self, outcome: Outcome) -> None:
        outcome.why, outcome.seconds = "", round(time.time() - self.began_at, 2)


def _keys(target: Target) -> list[str]:
    return [*([f"thing:{target.thing_name}"] if target.device else []), *target.keys]


def _delay(target: Target, row: Item, status: Item | None, revoked: Mapping[str, Item]) -> str:
    """Why the region has not dealt with it; empty when it has."""
    if missing := [key for key in _keys(target) if key not in revoked]:
        return f"{missing[0]} has not arrived"
    if not target.seen:
        return ""
    if target.certificate_id not in row.get("Certificates", {}):
        if target.certificate_id or row.get("State") != "REVOKED":
            return "its row has not arrived"
    elif effective_status(row, target.certificate_id, (), datetime.now(UTC)) != "REVOKED":
        return "the change of its row has not arrived"
    return lag(row, status)


def attempt(identity: Identity, endpoint: Endpoint) -> tuple[str, bool]:
    """Connect once; what was seen, and whether that was a refusal."""
    try:
        with Session(identity=identity, endpoint=endpoint) as session:
            session.connect(timeout=ANSWER_SECONDS)
    except (Denied, Dropped) as error:
        return f"refused: {error}", True
    except (DeviceError, OSError) as error:
        return f"not tried: {error}", False
    return "it was let in", False


def watch_all(watches: Sequence[Watch], targets: Sequence[Target], timeout: float) -> list[tuple[str, Outcome]]:
    """Watch all regions at once; every outcome with its region."""
    with ThreadPoolExecutor(len(watches)) as pool:
        outcomes = pool.map(lambda watch: watch.run(targets, timeout), watches)
        return [(watch.region, each) for watch, found in zip(watches, outcomes, strict=True) for each in found]


__all__ = ["Outcome", "Watch", "attempt", "watch_all"]
