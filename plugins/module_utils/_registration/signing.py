# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Having AWS IoT sign the requests of a folder, each once. Private to the collection.

AWS makes another certificate each time it is asked. So a certificate is INACTIVE until it is stored and the device has
a row: whoever is killed in between leaves nothing behind that could connect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import create_from_request, ensure_absent
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError, one_line
from ansible_collections.iotops.fleet.plugins.module_utils._registration.requested import (
    Certificates,
    Refusal,
    Request,
    RequestFolder,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, error_code

OPERATION = "CreateCertificateFromCsr"
REPORT_EVERY = 100  # certificates
REMOVAL_SECONDS = 60.0


@dataclass
class Signing:
    """What is to be done with the requests of a folder.

    ``dynamodb`` and ``iot``: boto3's clients of the region that signs. ``allow_list``: whether a name has to be on it.
    ``new`` are to be signed. ``lost`` were, and are in the row and not in the folder: certificates (PEM) by name.
    """

    dynamodb: Any
    iot: Any
    application: str
    folder: RequestFolder
    certificates: Certificates
    allow_list: bool
    new: list[Request] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self) -> None:
        """Look at every request; nothing is written."""
        names = [request.name for request in self.folder.requests]
        rows = {row["ThingName"]: row for row in self._existing("device-inventory", "ThingName", names)}
        revoked = {item["Key"] for item in self._existing("revocations", "Key", [f"thing:{name}" for name in names])}
        allowed = self._allowed(names) if self.allow_list else None
        for request in self.folder.requests:
            try:
                if self.certificates.take(request):
                    continue
            except PkiError as error:
                self._refuse(request, str(error))
                continue
            row = rows.get(request.name, {})
            if pem := _own(row, request):
                self.lost[request.name] = pem
            elif why := _refusal(request.name, row, revoked, allowed):
                self._refuse(request, why)
            else:
                self.new.append(request)

    def _existing(self, table: str, key: str, keys: list[str]) -> list[dict[str, Any]]:
        return existing(self.dynamodb, f"{self.application}-{table}", key, keys)

    def _allowed(self, names: list[str]) -> dict[str, str]:
        items = self._existing("allow-list", "ThingName", names)
        return {item["ThingName"]: item.get("CertificateId", "") for item in items}

    def _refuse(self, request: Request, why: str) -> None:
        self.folder.refused.append(Refusal(request.file, request.name, why))

    def sign(self, pace: Pace, threads: int, report: Callable[[str], None]) -> None:
        """Put back what was lost, and have the others signed; one that AWS refuses is left alone."""
        requests = {request.name: request for request in self.folder.requests}
        for name, pem in self.lost.items():
            self.certificates.store(requests[name], pem)

        stopped = threading.Event()

        def one(request: Request) -> None:
            pace.wait()
            if stopped.is_set():
                return
            try:
                self._sign(request)
            except Exception:
                stopped.set()
                raise
            with self._lock:
                if len(self.signed) % REPORT_EVERY == 0 or len(self.signed) == len(self.new):
                    report(f"{len(self.signed)} of {len(self.new)} certificates signed")

        with ThreadPoolExecutor(threads) as pool:
            for _done in pool.map(one, self.new):
                pass

    def _sign(self, request: Request) -> None:
        try:
            pem = create_from_request(self.iot, request.pem)
        except AnsibleAWSError as error:
            if error_code(error) != "InvalidRequestException":
                raise
            with self._lock:
                self._refuse(request, f"AWS IoT refuses it: {error}")
            return
        try:
            with self._lock:
                self.certificates.store(request, pem)
                self.signed.append(request.name)
        except OSError as error:
            ensure_absent(self.iot, fingerprint(pem), check_mode=False, timeout=REMOVAL_SECONDS)
            raise FleetError(f"certificates: {one_line(error)}") from error

    def settle(self, refused: Mapping[str, str]) -> None:
        """Name those that the registry did not take; what was signed for them just now is nobody's, and goes."""
        requests = {request.name: request for request in self.folder.requests}
        for name, why in refused.items():
            self._refuse(requests[name], why)
            if name in self.signed:
                certificate_id = self.certificates.found[name].certificate_id
                ensure_absent(self.iot, certificate_id, check_mode=False, timeout=REMOVAL_SECONDS)
                self.certificates.drop(name)
                self.signed.remove(name)


def _own(row: Row, request: Request) -> str:
    """The certificate (PEM) in the row that has the key of this request; "" when there is none."""
    for entry in row.get("Certificates", {}).values():
        if x509.load_pem_x509_certificate(entry["Pem"].encode()).public_key() == request.key:
            return str(entry["Pem"])
    return ""


def _refusal(name: str, row: Row, revoked: set[str], allowed: Mapping[str, str] | None) -> str:
    """Why a name gets no certificate; "" when it may have one."""
    if f"thing:{name}" in revoked:
        return "the device is REVOKED"
    if row:
        return f"the name is taken: the registry has a device of it, {row['State']}, with another key"
    if allowed is None:
        return ""
    if name not in allowed:
        return "it is not on the allow-list"
    return "the allow-list names a certificate of another issuer" if allowed[name] else ""


__all__ = ["OPERATION", "Signing"]
