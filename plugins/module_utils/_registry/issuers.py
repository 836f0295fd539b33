# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which issuing CA the devices depend on, by the rows of one region's replica. Private to the collection."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils._registry.ends import end_of
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp

ROW = ("ThingName", "State", "Version", "WriteId", "CertificateId", "Certificates")
# What a certificate that is registered, and that no row names, may still do.
MAY_CONNECT = ("ACTIVE", "PENDING_ACTIVATION")


@dataclass(frozen=True, slots=True)
class Use:
    """A device, the end of the certificate that it uses, and what of its row the region has to have applied."""

    not_after: datetime
    row: Item


@dataclass
class Dependents:
    """What depends on one CA: devices that ``uses`` it by name; ``certificate_ids`` that any row names.

    ``retiring``: devices that use another CA's certificate and have one of this CA that is not out of use yet.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    certificate_ids: set[str] = field(default_factory=set)
    retiring: int = 0


class Census:
    """Rows by the CA (SHA-256 of its DER) of the certificate that each device uses. Rows may come from many threads."""

    def __init__(self, now: datetime) -> None:
        self.names: set[str] = set()
        self.late: dict[str, str] = {}
        self._now = now
        self._by_issuer: defaultdict[str, Dependents] = defaultdict(Dependents)
        self._lock = threading.Lock()

    def of(self, issuer: str) -> Dependents:
        """What depends on this CA."""
        return self._by_issuer[issuer]

    def take(self, row: Item) -> None:
        """Count a row with the attributes ``ROW``."""
        used = end_of(row, self._now)
        with self._lock:
            self.names.add(row["ThingName"])
            for certificate_id, certificate in row["Certificates"].items():
                dependents = self._by_issuer[certificate["IssuerFingerprint"]]
                dependents.certificate_ids.add(certificate_id)
                if used is None or used.not_after <= self._now:
                    continue
                if certificate_id == used.certificate_id:
                    kept = {name: row.get(name) for name in ("Version", "WriteId")}
                    dependents.uses[row["ThingName"]] = Use(used.not_after, kept)
                elif not self._is_out(certificate):
                    dependents.retiring += 1

    def take_status(self, status: Item) -> None:
        """Note why the region has not applied the row of a device, if so; every row has been taken before."""
        name = status["ThingName"]
        for dependents in self._by_issuer.values():
            if name in dependents.uses:
                self.late[name] = lag(dependents.uses[name].row, status)

    def _is_out(self, certificate: Mapping[str, Any]) -> bool:
        names = ["NotAfter", "RetireAt", "RevokeAt", *(["PresentBy"] if "PresentedAt" not in certificate else [])]
        ends = (certificate.get(name) for name in names)
        return certificate["Status"] != "ACTIVE" or any(
            end is not None and datetime.fromisoformat(end) <= self._now for end in ends
        )

    def waiting(self, issuer: str, *, issued: Iterable[str], registered: Mapping[str, str]) -> dict[str, str]:
        """What stands in the way of retiring a CA, and why: devices by name, certificates that no device has by id.

        ``issued``: common names of the CA's valid certificates; one that is no thing name is a server's.
        ``registered``: certificates that this region registered through the CA, with their status.
        """
        dependents = self.of(issuer)
        found = {
            name: f"registered here as {status}, and no device has it"
            for name, status in registered.items()
            if status in MAY_CONNECT and name not in dependents.certificate_ids
        }
        for name in issued:
            if name not in self.names and THING_NAME.fullmatch(name):
                found[name] = "has a certificate of it, and has never connected"
        for name, use in dependents.uses.items():
            late = self.late.get(name, "nothing is applied")
            found[name] = f"uses it until {timestamp(use.not_after)}" + (f"; in this region {late}" if late else "")
        return found

    def late_count(self, issuer: str) -> int:
        """How many of the CA's devices this region has not made what their row says."""
        return sum(1 for name in self.of(issuer).uses if self.late.get(name, "none"))


__all__ = ["MAY_CONNECT", "ROW", "Census", "Dependents", "Use"]
