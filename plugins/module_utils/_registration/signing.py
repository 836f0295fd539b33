# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Having AWS IoT sign the requests of a folder, each once. Private to the collection.

AWS makes another certificate each time it is asked. So a certificate is INACTIVE until it is stored and the device has
a row: whoever is killed in between leaves nothing behind that could connect. What is stored and in no row may be what
such a run has left, or anybody's; AWS knows which certificates it signed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import (
    create_from_request,
    describe,
    ensure_absent,
    summary,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError, one_line
from ansible_collections.iotops.fleet.plugins.module_utils._registration.requested import (
    Certificates,
    Refusal,
    Request,
    RequestFolder,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import DeviceCertificate
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, error_code

SIGNING, LOOKING = "CreateCertificateFromCsr", "DescribeCertificate"
REPORT_EVERY = 100  # certificates
REMOVAL_SECONDS = 60.0


@dataclass
class Signing:
    """What is to be done with the requests of a folder.

    ``dynamodb`` and ``iot``: boto3's clients of the region that signs. ``allow_list``: whether a name has to be on it.
    ``new`` are to be signed. ``lost`` were, and are in the row and not in the folder: certificates (PEM) by name.
    ``spare`` are certificates (ids) by name that AWS IoT signed and no row has, ``removed`` those of them that an
    earlier run has left and no row takes.
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
    spare: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, pace: Pace, report: Callable[[str], None]) -> None:
        """Look at every request, and within ``pace`` at each certificate that is in no row; nothing is written."""
        requests = [request for request in self.folder.requests if self._is_readable(request)]
        names = [request.name for request in requests]
        keys = {key for each in self.certificates.found.values() for key in each.revocation_keys}
        keys |= {f"thing:{name}" for name in names}
        revoked = {item["Key"] for item in self._existing("revocations", "Key", sorted(keys))}
        rows, allowed = self._rows(names), self._allowed(names) if self.allow_list else None
        for request in requests:
            name, row = request.name, rows.get(request.name, {})
            held = self.certificates.found.get(name)
            if held and held.certificate_id in row.get("Certificates", {}):
                continue
            if held and (why := self._look(held, revoked, pace, report)):
                self.certificates.forget(name)
                self._refuse(request, why)
            elif pem := _own(row, request):
                self.lost[name] = pem
                self.certificates.hold(name, pem)
                self.removed += [name] if name in self.spare else []
            elif held:
                continue
            elif why := _refusal(name, row, revoked, allowed):
                self._refuse(request, why)
            else:
                self.new.append(request)

    def _is_readable(self, request: Request) -> bool:
        """Whether the folder has a certificate of the request or none, and not another one."""
        try:
            self.certificates.take(request)
        except PkiError as error:
            self._refuse(request, str(error))
            return False
        return True

    def _look(self, held: DeviceCertificate, revoked: Container[str], pace: Pace, report: Callable[[str], None]) -> str:
        """Why a certificate is none that AWS IoT signed here; one that is, and is in use by nobody, is spare."""
        pace.wait()
        if pace.calls % REPORT_EVERY == 0:
            report(f"{pace.calls} certificates that are in no row looked up")
        described = describe(self.iot, held.certificate_id)
        if described is None:
            why = "it is not registered there"
        elif authority := described.get("caCertificateId"):
            why = f"it is of the CA {authority}"
        elif described["certificateMode"] != "DEFAULT":
            why = "it was registered there without its CA"
        else:
            used = summary(self.iot, described)
            is_spare = used["status"] == "INACTIVE" and not used["things"] and not used["policies"]
            if is_spare and not any(key in revoked for key in held.revocation_keys[1:]):
                self.spare[held.name] = held.certificate_id
            return ""
        return (
            f"{self.certificates.file(held.name)} is none that AWS IoT signed in {self.iot.meta.region_name}: {why}; "
            "move it away, or run this in the region that signed it"
        )

    def _rows(self, names: list[str]) -> dict[str, Row]:
        return {row["ThingName"]: row for row in self._existing("device-inventory", "ThingName", names)}

    def _existing(self, table: str, key: str, keys: list[str]) -> list[dict[str, Any]]:
        return existing(self.dynamodb, f"{self.application}-{table}", key, keys)

    def _allowed(self, names: list[str]) -> dict[str, str]:
        items = self._existing("allow-list", "ThingName", names)
        return {item["ThingName"]: item.get("CertificateId", "") for item in items}

    def _refuse(self, request: Request, why: str) -> None:
        self.folder.refused.append(Refusal(request.file, request.name, why))

    def sign(self, pace: Pace, threads: int, report: Callable[[str], None]) -> None:
        """Put back what was lost, and have the others signed; one that AWS refuses is left alone."""
        for name, pem in self.lost.items():
            self.certificates.store(name, pem)
            if certificate_id := self.spare.pop(name, ""):
                self._remove(certificate_id)

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
                self.certificates.store(request.name, pem)
                self.signed.append(request.name)
                self.spare[request.name] = fingerprint(pem)
        except OSError as error:
            self._remove(fingerprint(pem))
            raise FleetError(f"certificates: {one_line(error)}") from error

    def _remove(self, certificate_id: str) -> None:
        ensure_absent(self.iot, certificate_id, check_mode=False, timeout=REMOVAL_SECONDS)

    def settle(self, refused: Mapping[str, str], *, check_mode: bool) -> None:
        """Name those that the registry did not take; what was signed for them, now or earlier, is nobody's, and goes.

        One whose row got another certificate of its key meanwhile has that.
        """
        requests = {request.name: request for request in self.folder.requests}
        rows = self._rows(list(refused))
        for name, why in refused.items():
            certificate_id = self.spare.pop(name, "")
            if name in self.signed:
                self.signed.remove(name)
            elif certificate_id:
                self.removed.append(name)
            if certificate_id and not check_mode:
                self.certificates.drop(name)
                self._remove(certificate_id)
            if certificate_id and (pem := _own(rows.get(name, {}), requests[name])):
                self.lost[name] = pem
                if not check_mode:
                    self.certificates.store(name, pem)
            else:
                self._refuse(requests[name], why)


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


__all__ = ["LOOKING", "SIGNING", "Signing"]
