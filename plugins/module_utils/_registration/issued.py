# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device certificates that an issuing CA has issued, as they are to be registered. Private to the collection.

What the function certificate-identity of a region would not trust is refused here too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority, absolute
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    encode_certificate,
    read_certificate,
    time_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry, serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import common_name_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import devices_by_name, devices_in_file
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import DeviceCertificate
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME

# So many devices are named in an error; the rest is counted.
_NAMED = 5
_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


@dataclass(frozen=True, slots=True)
class Issued:
    """A device and its certificate: ``serial`` as in the ledger ("": none yet), ``at`` the octet of the manifest."""

    name: str
    serial: str
    at: int = 0


class IssuedDevices:
    """Certificates of one issuing CA: all valid ones, those of the devices named, or those in a manifest.

    There may be a million ``devices``; :meth:`read` fetches the certificate of one when it is its turn, in any thread.
    With ``to_be_issued`` a name without a certificate is a device that will have one.
    """

    def __init__(
        self,
        authority_path: str,
        *,
        names: Sequence[str] = (),
        devices_file: str | None = None,
        manifest: str | None = None,
        to_be_issued: bool = False,
    ) -> None:
        """Find the devices; raise PkiError for a name that has no certificate, or a file that cannot be used."""
        self._authority = Authority(AuthorityTree(absolute(authority_path), "issuing"))
        self._issuer = self._authority.certificate.fingerprint(hashes.SHA256()).hex()
        self._manifest = absolute(manifest) if manifest else None
        self._to_be_issued, self._lock = to_be_issued, threading.Lock()
        if self._manifest:
            self.devices = list(_listed(self._manifest))
        elif devices_file or names:
            wanted = devices_in_file(devices_file) if devices_file else devices_by_name(names)
            self.devices = self._named([device.name for device in wanted])
        else:
            self.devices = [Issued(name, each.serial) for name, each in self._newest().items() if _is_thing(name)]

    def _newest(self, *, valid: bool = True) -> dict[str, Entry]:
        """The newest valid entry of each common name, or the newest of any kind."""
        now = datetime.now(UTC)
        entries = self._authority.ledger.entries()
        return {each.common_name: each for each in entries if not valid or each.state(now) == "valid"}

    def _named(self, names: list[str]) -> list[Issued]:
        newest = self._newest(valid=False) | self._newest()
        missing = [name for name in names if name not in newest]
        if missing and not self._to_be_issued:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise PkiError(
                f"{', '.join(missing[:_NAMED])}{more}: no certificate in {self._authority.tree.ledger}; issue it first"
            )
        return [Issued(name, newest[name].serial if name in newest else "") for name in names]

    def read(self, device: Issued) -> DeviceCertificate:
        """Return a device's certificate; raise PkiError saying why it may not be registered."""
        if not device.serial:
            return self._not_issued(device.name)
        now = datetime.now(UTC)
        with self._lock:  # a ledger reads its file for one caller at a time
            entry = self._authority.ledger.find(device.serial)
        if entry is None:
            raise PkiError("its certificate is not in the ledger of the issuing CA")
        if entry.state(now) != "valid":
            raise PkiError(f"its certificate is {entry.state(now)}")
        certificate = _in_manifest(self._manifest, device) if self._manifest else self._in_newcerts(device)
        self._check(device, certificate, now)
        return DeviceCertificate(
            name=device.name,
            certificate_id=certificate.fingerprint(hashes.SHA256()).hex(),
            pem=encode_certificate(certificate).decode("ascii"),
            serial=f"{certificate.serial_number:x}",
            not_after=time_text(certificate.not_valid_after_utc),
            issuer=self._issuer,
        )

    def _not_issued(self, name: str) -> DeviceCertificate:
        """Nobody knows the certificate, and so it is that of no other device."""
        unknown = f"to be issued to {name}"
        return DeviceCertificate(
            name=name, certificate_id=unknown, pem="", serial=unknown, not_after="", issuer=self._issuer
        )

    def _in_newcerts(self, device: Issued) -> x509.Certificate:
        path = self._authority.tree.issued(device.serial)
        certificate = read_certificate(path)
        if certificate is None:
            raise PkiError(f"there is no {path}: of an archive, name the manifest beside it")
        return certificate

    def _check(self, device: Issued, certificate: x509.Certificate, now: datetime) -> None:
        if serial_text(certificate.serial_number) != device.serial:
            raise PkiError("its certificate has another serial number")
        if common_name_of(certificate.subject) != device.name or not _is_thing(device.name):
            raise PkiError(f"its certificate is that of {common_name_of(certificate.subject)!r}")
        try:
            certificate.verify_directly_issued_by(self._authority.certificate)
        except (InvalidSignature, TypeError, ValueError) as error:
            raise PkiError("the issuing CA did not sign its certificate") from error
        if now < certificate.not_valid_before_utc:
            raise PkiError(f"its certificate is not valid before {time_text(certificate.not_valid_before_utc)}")
        for extension in certificate.extensions:
            if isinstance(extension.value, x509.ExtendedKeyUsage) and _CLIENTS.isdisjoint(extension.value):
                raise PkiError("its certificate is not for clients")


def _is_thing(name: str) -> bool:
    """Whether a common name is a device's; that of a server has dots in it."""
    return THING_NAME.fullmatch(name) is not None


def _listed(path: Path) -> Iterator[Issued]:
    """The devices of a manifest."""
    at, seen = 0, set()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                columns = json.loads(line)
                name, serial, _pem = (str(columns[each]) for each in ("ThingName", "Serial", "CertificatePem"))
                device = Issued(name, serial_text(int(serial, 16)), at)
            except (ValueError, KeyError, TypeError) as error:
                raise PkiError(
                    f"{path}, line {number}: not a line of a manifest, with ThingName, Serial and CertificatePem; "
                    "name the file that issue_devices.yml wrote"
                ) from error
            if name in seen:
                raise PkiError(f"{path}, line {number}: {name} is there twice; leave one of them out")
            seen.add(name)
            yield device
            at += len(line)


def _in_manifest(path: Path, device: Issued) -> x509.Certificate:
    with path.open("rb") as lines:
        lines.seek(device.at)
        pem = str(json.loads(lines.readline())["CertificatePem"])
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise PkiError("what the manifest has of it is not a certificate") from error


__all__ = ["Issued", "IssuedDevices"]
