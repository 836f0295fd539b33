# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows for devices that have not connected yet, no faster than the regions follow. Private to the collection.

Rows are put one by one, several at a time, each on the condition that there is none: a transaction would cost twice the
write units, and one device that came in meanwhile would undo the other 99. AWS IoT's quotas allow less than either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.following import Follower, Written, written
from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import Issued
from ansible_collections.iotops.fleet.plugins.module_utils._registration.pacing import WritersPace, await_applied
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import (
    KNOWN,
    NEW,
    DeviceCertificate,
    Home,
    verdict,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import (
    READ_AT_ONCE,
    existing,
    parts,
    put_row,
)


class Source(Protocol):
    """Where certificates come from: the ``devices``, and the certificate of one; PkiError says why it has none."""

    @property
    def devices(self) -> Sequence[Issued]:
        """Those that are to be registered."""

    def read(self, device: Issued) -> DeviceCertificate:
        """The certificate of a device, from any thread."""


@dataclass
class Plan:
    """The devices that are ``new``, the rows of those ``known``, and why others are left alone, by name."""

    new: list[Issued] = field(default_factory=list)
    known: dict[str, Written] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, other: Plan) -> None:
        """Take in another plan."""
        self.new += other.new
        self.known |= other.known
        self.refused |= other.refused


@dataclass
class Registrar:
    """Writes through one replica (``client``: boto3's DynamoDB); ``threads`` calls at a time.

    ``allow_list``: whether a name has to be on it. ``report`` is told how far it is.
    """

    client: Any
    home: Home
    issued: Source
    allow_list: bool
    threads: int
    report: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def plan(self) -> Plan:
        """Look at every device; nothing is written."""
        found = Plan()
        with ThreadPoolExecutor(self.threads) as pool:
            for each in pool.map(self._sorted, list(parts(self.issued.devices, READ_AT_ONCE))):
                found.add(each)
        return found

    def _sorted(self, devices: Sequence[Issued]) -> Plan:
        return self._survey(devices)[0]

    def _survey(self, devices: Sequence[Issued]) -> tuple[Plan, list[DeviceCertificate]]:
        """What up to 100 devices are, as the replica has it now, and the certificates of the new ones."""
        plan = Plan()
        certificates: list[tuple[Issued, DeviceCertificate]] = []
        for device in devices:
            try:
                certificates.append((device, self.issued.read(device)))
            except PkiError as error:
                plan.refused[device.name] = str(error)
        names = [device.name for device, _certificate in certificates]
        rows = {row["ThingName"]: row for row in self._existing("device-inventory", "ThingName", names)}
        keys = [key for _device, certificate in certificates for key in certificate.revocation_keys]
        revoked = {item["Key"] for item in self._existing("revocations", "Key", keys)}
        allowed = self._allowed(names) if self.allow_list else None
        new = []
        for device, certificate in certificates:
            row = rows.get(device.name)
            why = verdict(certificate, row, revoked, allowed)
            if why == NEW:
                plan.new.append(device)
                new.append(certificate)
            elif why == KNOWN and row:
                plan.known[device.name] = written(row)
            else:
                plan.refused[device.name] = why
        return plan, new

    def _allowed(self, names: list[str]) -> dict[str, str]:
        items = self._existing("allow-list", "ThingName", names)
        return {item["ThingName"]: item.get("CertificateId", "") for item in items}

    def _existing(self, table: str, key: str, keys: list[str]) -> list[dict[str, Any]]:
        return existing(self.client, f"{self.home.application}-{table}", key, keys)

    def write(self, plan: Plan, budget: Budget, followers: Sequence[Follower], timeout: float) -> int:
        """Write the rows of those that are new, and return how many.

        Who came in or was shut out meanwhile is added to those known or refused.

        Raises:
            FleetError: a region does not answer, or none of its rows was applied for ``timeout`` seconds.

        """
        pace = WritersPace(self, budget, followers, timeout, total=len(plan.new))
        with ThreadPoolExecutor(self.threads) as pool:
            for batch in parts(plan.new, READ_AT_ONCE):
                now, certificates = self._survey(batch)
                for chunk in parts(certificates, max(1, min(self.threads, int(budget.rate)))):
                    pace.admit(len(chunk))
                    rows = {row["ThingName"]: written(row) for row in pool.map(self._put, chunk) if row}
                    pace.wrote(rows)
                    now.new = [device for device in now.new if device.name not in rows]
                for each in (now, self._sorted(now.new)):
                    plan.known |= each.known
                    plan.refused |= each.refused
                    pace.expect(each.known)
        return pace.written

    def _put(self, certificate: DeviceCertificate) -> Row | None:
        row = self.home.row(certificate, datetime.now(UTC))
        return row if put_row(self.client, f"{self.home.application}-device-inventory", row, {}) else None

    def wait(self, followers: Sequence[Follower], timeout: float) -> None:
        """Wait until every region has applied all that it was expected to, or nothing more for ``timeout`` seconds."""
        await_applied(self, followers, timeout)


__all__ = ["Plan", "Registrar", "Source"]
