# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done about a region's faults. Plain values in, plain values out; all devices are never in memory."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TextIO

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import (
    ADMIT,
    CONVERGE,
    EXACT,
    KINDS,
    REMOVE,
    ROLE,
    SHADOW,
    WRITE,
    Fault,
)

__all__ = [
    "BY_MACHINE", "OPERATIONS", "REPAIRED", "Plan", "Work", "at_a_time", "calls", "in_turn", "items", "rows", "run_id",
    "shadows", "write_list",
]  # fmt: skip

Item = dict[str, Any]

BY_MACHINE = (CONVERGE, EXACT, ADMIT, REMOVE)
# All but those of the region itself, which roles repair.
REPAIRED = tuple(name for name, kind in KINDS.items() if kind.repair != ROLE)
MISSING = "certificate_missing"  # is registered with its status, and then needs no UpdateCertificate
LISTED = ("ListThingPrincipals", "ListThingGroupsForThing", "ListAttachedPolicies", "CreateThing", "UpdateThing")
# Calls of AWS IoT for one device with one certificate, at most: nobody knows before what is missing.
CALLS = {
    CONVERGE: ("CreateThing", "RegisterCertificate", "AttachThingPrincipal", "AttachPolicy"),
    EXACT: (*LISTED, "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate"),
    MISSING: (*LISTED, "RegisterCertificate", "AttachThingPrincipal", "AttachPolicy"),
    ADMIT: ("DescribeCertificate", "CreateThing", "AttachThingPrincipal", "AttachPolicy", "UpdateCertificate"),
}
OPERATIONS = tuple(sorted({operation for made in CALLS.values() for operation in made}))
LONGEST_WAIT = 20.0  # seconds that a device, once begun, waits for its turn; an EXPRESS execution has 300 in all


@dataclass(frozen=True)
class Plan:
    """Which faults are to be repaired, and how; ``faults`` reads them anew each time, in order of the devices."""

    faults: Callable[[], Iterator[Fault]]
    kinds: tuple[str, ...]
    remove_orphans: bool

    def wanted(self) -> Iterator[Fault]:
        """The faults that are repaired."""
        return (fault for fault in self.faults() if self._is_wanted(fault))

    def left(self) -> dict[str, int]:
        """How many there are of those that are not, by name."""
        return dict(Counter(fault.name for fault in self.faults() if not self._is_wanted(fault)))

    def _is_wanted(self, fault: Fault) -> bool:
        by = KINDS[fault.name].repair
        return fault.name in self.kinds and by != ROLE and (by != REMOVE or self.remove_orphans)


class Work(NamedTuple):
    """What the state machine repair-devices does once: with whom, and the calls of AWS IoT that it makes at most."""

    device: Item
    calls: tuple[str, ...]


def items(faults: Iterable[Fault]) -> Iterator[Work]:
    """What the state machine repair-devices is to do: once a device, and once for each certificate without a row."""
    for thing_name, of_one in groupby(faults, key=lambda fault: fault.thing_name):
        found = [(KINDS[fault.name].repair, fault) for fault in of_one]
        if thing_name and any(by in (EXACT, REMOVE) for by, _ in found):
            settled = all(fault.name == MISSING for _, fault in found)
            yield Work({"ThingName": thing_name, "Exact": True}, CALLS[MISSING if settled else EXACT])
        elif thing_name and any(by == CONVERGE for by, _ in found):
            yield Work({"ThingName": thing_name}, CALLS[CONVERGE])
        certificates = [fault.certificate_id for by, fault in found if by == ADMIT]
        yield from (Work({"CertificateId": each}, CALLS[ADMIT]) for each in dict.fromkeys(certificates))


def rows(faults: Iterable[Fault]) -> Iterator[str]:
    """The devices whose rows are to be written again."""
    names = (fault.thing_name for fault in faults if KINDS[fault.name].repair == WRITE)
    return (name for name, _ in groupby(names))


def shadows(faults: Iterable[Fault]) -> Iterator[tuple[str, str]]:
    """Device and name of the shadows that record-shadow is to look at."""
    return (
        (fault.thing_name, fault.detail.partition(": ")[0]) for fault in faults if KINDS[fault.name].repair == SHADOW
    )


def in_turn(made: Iterable[Work], rates: Mapping[str, float]) -> Iterator[Item]:
    """Devices with the seconds after the start at which their calls fit into ``rates``, calls a second by operation."""
    used = dict.fromkeys(rates, 0.0)  # seconds that the calls so far take
    after = 0.0
    for work in made:
        operations = [each for each in work.calls if each in rates]
        after = max([after, *(used[operation] for operation in operations)])
        yield {"Device": work.device, "After": round(after, 3)}
        for operation in operations:
            used[operation] += 1 / rates[operation]


def at_a_time(concurrency: int, made: Mapping[str, int], rates: Mapping[str, float]) -> int:
    """How many devices to begin at a time, so that none of them waits long for its turn; ``made``: all their calls."""
    slowest = min((rates[each] for each in made if each in rates), default=concurrency)
    return max(1, min(concurrency, int(slowest * LONGEST_WAIT)))


def write_list(file: TextIO, made: Iterable[Item]) -> int:
    """Write items as a JSON list, one a line; how many there are."""
    count = 0
    file.write("[")
    for item in made:
        file.write((",\n" if count else "\n") + json.dumps(item))
        count += 1
    file.write("\n]\n")
    return count


def calls(made: Iterable[Work]) -> tuple[int, dict[str, int]]:
    """How many devices and certificates there are, and the calls of AWS IoT by operation, at most."""
    kinds = Counter(work.calls for work in made)
    found: Counter[str] = Counter()
    for operations, count in kinds.items():
        found.update(dict.fromkeys(operations, count))
    return kinds.total(), dict(sorted(found.items()))


def run_id(finished_at: str, kinds: Iterable[str], *, remove_orphans: bool) -> str:
    """A name for the repair of what one check found: the same for the same repair, so that it is made once."""
    scope = hashlib.sha256(json.dumps([finished_at, sorted(kinds), remove_orphans]).encode()).hexdigest()
    return f"{finished_at.replace('-', '').replace(':', '')}-{scope[:8]}"
