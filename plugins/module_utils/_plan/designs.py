# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to let devices in: what each device costs the region that it enters through, and each other one. Private.

Units are those of the quotas and of the prices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.iotops.fleet.plugins.module_utils._registration.quotas import CALLS


@dataclass(frozen=True)
class Design:
    """Quotas that a device uses up: ``entry`` where it enters, ``other`` in each other region.

    ``lookups`` are calls that each other region makes to the region of entry. ``starts`` and ``transitions`` are those
    of state machines, where it enters and elsewhere.
    """

    means: str
    entry: Mapping[str, float]
    other: Mapping[str, float]
    starts: tuple[float, float]
    transitions: tuple[float, float]
    lookups: Mapping[str, float] = field(default_factory=dict)

    def machines(self, machine_type: str) -> tuple[dict[str, float], dict[str, float]]:
        """What the state machines use up where a device enters, and elsewhere."""
        if machine_type == "EXPRESS":
            here, there = ({"StartExecutionExpress": count} for count in self.starts)
            return here, there
        here, there = (
            {"StartExecutionStandard": start, "StateTransition": transition}
            for start, transition in zip(self.starts, self.transitions, strict=True)
        )
        return here, there


_IN = {"JustInTimeRegistration": 1, "DescribeCertificate": 1, "UpdateCertificate": 1}
_THING = {"CreateThing": 1, "AttachThingPrincipal": 1}
_EVENT = {"PutEvents": 1, "EventInvocations": 1}
_ROW = {"TableWrites": 2}  # of at most 2 KB, in every replica

DESIGNS = {
    "rows": Design(
        "the certificate is in the registry's row, from which every region registers it",
        entry={**_IN, **_THING, **_ROW, "AttachPolicy": 1},
        other={**CALLS, **_ROW, **_EVENT},
        starts=(2.1, 1.0),  # a tenth of the devices is refused twice
        transitions=(33.2, 24.0),  # docs/performance.md
    ),
    "group": Design(
        "the same, with the policy on a thing group",
        entry={**_IN, **_THING, **_ROW, "AddThingToThingGroup": 1},
        other={**_THING, **_ROW, **_EVENT, "RegisterCertificate": 1, "AddThingToThingGroup": 1},
        starts=(2.1, 1.0),
        transitions=(33.2, 24.0),
    ),
    "lookup": Design(
        "other regions ask the region of entry for the certificate, as earlier systems do",
        entry={**_IN, **_THING, "AttachPolicy": 1, "TableWrites": 3, **_EVENT},
        other={**CALLS, "UpdateCertificate": 1, "TableWrites": 3, **_EVENT},
        starts=(2.0, 1.0),
        transitions=(13.0, 9.0),  # of which 3 do nothing, since the pipe has no filter
        lookups={"DescribeCertificate": 1},
    ),
}

__all__ = ["DESIGNS", "Design"]
