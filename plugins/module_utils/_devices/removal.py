# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices are the fleet's, and how they are removed so that a killed run can be repeated. Private.

Order of a device's removal: https://docs.aws.amazon.com/iot/latest/apireference/API_DeleteCertificate.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._devices import calls
from ansible_collections.iotops.fleet.plugins.module_utils.aws import error_code, poll

DETACHING_CODES = frozenset({"DeleteConflictException", "InvalidRequestException"})


@dataclass(frozen=True)
class Devices:
    """What there is of the fleet's devices in one region: names of things, and certificates."""

    things: list[str] = field(default_factory=list)
    certificates: list[calls.Certificate] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """``{"things": 2, "certificates": 3}``."""
        return {"things": len(self.things), "certificates": len(self.certificates)}

    @property
    def removal_calls(self) -> dict[str, int]:
        """Calls of AWS IoT by operation that their removal takes, a thing having one certificate."""
        things, certificates = len(self.things), len(self.certificates)
        calls = {
            "ListThingPrincipals": things,
            "DetachThingPrincipal": things,
            "DeleteThing": things,
            "UpdateCertificate": sum(each.status == "ACTIVE" for each in self.certificates),
            "DeleteCertificate": certificates,
        }
        return {operation: count for operation, count in calls.items() if count}


def find_devices(iot: Any, *, name: str, ca_certificate_id: str | None, known_ids: set[str]) -> Devices:
    """Return the things of type ``name`` and every certificate that is a device's.

    A certificate is a device's when the fleet's CA registered it, when the registry knows it (``known_ids``), or when
    it carries the policy ``name``.
    """
    wanted = known_ids | (calls.certificates_with_policy(iot, name) or set())
    if ca_certificate_id:
        wanted |= calls.certificates_of_ca(iot, ca_certificate_id)
    registered = calls.all_certificates(iot) if wanted else []
    return Devices(
        things=calls.things_of_type(iot, name),
        certificates=[each for each in registered if each.certificate_id in wanted],
    )


@dataclass
class Removal:
    """A removal at work: at most ``threads`` devices at once, ``report`` told of the count from time to time.

    ``timeout`` is the number of seconds that AWS may take to detach one certificate.
    """

    iot: Any
    threads: int
    timeout: float
    report: Callable[[str], None]
    report_every_seconds: float = 10.0
    _done: int = 0
    _reported_at: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def remove(self, devices: Devices) -> None:
        """Remove all things, then all certificates.

        Raises:
            FleetError: AWS did not detach a certificate in time.

        """
        self._in_threads("things", self._remove_thing, devices.things)
        self._in_threads("certificates", self._remove_certificate, devices.certificates)

    def _remove_thing(self, name: str) -> None:
        def detach() -> None:
            for principal in calls.principals_of_thing(self.iot, name) or []:
                calls.detach(self.iot, name, principal)

        detach()
        self._delete_detached(lambda: calls.delete_thing(self.iot, name), detach, f"thing {name}")

    def _remove_certificate(self, certificate: calls.Certificate) -> None:
        def detach() -> None:
            for thing in calls.things_of_certificate(self.iot, certificate.arn) or []:
                calls.detach(self.iot, thing, certificate.arn)

        if certificate.status == "ACTIVE":
            calls.deactivate(self.iot, certificate.certificate_id)
        self._delete_detached(
            lambda: calls.delete_certificate(self.iot, certificate.certificate_id),
            detach,
            f"certificate {certificate.certificate_id}",
        )

    def _delete_detached(self, delete: Callable[[], None], detach: Callable[[], None], what: str) -> None:
        """Delete; while AWS refuses, detach and try again: it answers a detachment seconds before it is done."""

        def deleted() -> str:
            try:
                delete()
            except AnsibleAWSError as error:
                if error_code(error) not in DETACHING_CODES:
                    raise
                detach()
                return str(error)
            return ""

        poll(
            deleted,
            lambda refusal: not refusal,
            timeout=self.timeout,
            describe=lambda refusal: f"{what} to be detached: {refusal}",
        )

    def _in_threads(self, kind: str, remove: Callable[[Any], None], items: list[Any]) -> None:
        self._done = 0

        def one(item: Any) -> None:
            remove(item)
            self._count(kind, len(items))

        with ThreadPoolExecutor(max_workers=self.threads) as pool:
            for _removed in pool.map(one, items):
                pass

    def _count(self, kind: str, total: int) -> None:
        with self._lock:
            self._done += 1
            if self._done == total or time.monotonic() - self._reported_at >= self.report_every_seconds:
                self._reported_at = time.monotonic()
                self.report(f"{kind} {self._done}/{total}")


__all__ = ["Devices", "Removal", "find_devices"]
