# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS IoT has in one region, beside what the registry says of it. No AWS calls. Private to the collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._iot.things import Thing, certificate_id_of
from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item

ROW = ("ThingName", "State", "Reason", "Version", "WriteId", "CertificateId", "Certificates")
STATUS = ("ThingName", "AppliedWriteId", "AppliedVersion", "Error")


@dataclass
class Region:
    """All that was read of one region.

    ``principals``: :func:`principals_of` by thing. ``statuses`` by certificate id. ``rows`` and ``applied`` (of
    ``device-status``) by thing. ``sharing``: the things of a certificate by its id, of those that were asked for.
    ``claims``: ids of claim certificates, which no device has.
    """

    things: Sequence[Thing]
    principals: Mapping[str, Mapping[str, str]]
    statuses: Mapping[str, str]
    rows: Mapping[str, Item]
    applied: Mapping[str, Item]
    sharing: dict[str, list[str]] = field(default_factory=dict)
    claims: Collection[str] = ()

    def share(self) -> None:
        """Conclude which things have one certificate, where all things were read."""
        found: dict[str, list[str]] = defaultdict(list)
        for name, arns in self.principals.items():
            for arn in arns:
                found[certificate_id_of(arn)].append(name)
        self.sharing |= {each: sorted(names) for each, names in found.items()}

    def devices(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """Everything known of each of these, in their order."""
        things = {str(thing["thing_name"]): thing for thing in self.things}
        return [self._device(name, things.get(name)) for name in names]

    def loose(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The certificates that neither a thing nor the row of one of these has."""
        known = {certificate_id_of(arn) for arns in self.principals.values() for arn in arns}
        for name in names:
            known |= _certificates(self.rows.get(name)).keys()
        return [
            {"certificate_id": each, "status": self.statuses[each], "claim": each in self.claims}
            for each in sorted(self.statuses.keys() - known)
        ]

    def _device(self, name: str, thing: Thing | None) -> dict[str, Any]:
        row = self.rows.get(name)
        in_row = _certificates(row)
        attached = {certificate_id_of(arn) for arn in self.principals.get(name, {})} - {""}
        why = lag(row, self.applied.get(name)) if row else ""
        return {
            "thing_name": name,
            "state": row["State"] if row else "",
            "reason": (row or {}).get("Reason", ""),
            "lag": why,
            "thing": thing is not None,
            "thing_type_name": (thing or {}).get("thing_type_name", ""),
            "attributes": (thing or {}).get("attributes", {}),
            "certificates": [
                self._certificate(name, each, attached=each in attached, in_row=each in in_row)
                for each in sorted({*attached, *in_row})
            ],
        }

    def _certificate(self, name: str, certificate_id: str, *, attached: bool, in_row: bool) -> dict[str, Any]:
        return {
            "certificate_id": certificate_id,
            "status": self.statuses.get(certificate_id, ""),
            "attached": attached,
            "in_row": in_row,
            "other_things": [each for each in self.sharing.get(certificate_id, []) if each != name],
        }


def _certificates(row: Item | None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (row or {}).get("Certificates") or {}
    return found


__all__ = ["ROW", "STATUS", "Region"]
