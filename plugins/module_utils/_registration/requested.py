# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of certificate requests, and the certificates that AWS IoT made of them. Private to the collection.

The name of a device is that of its request. What AWS writes into a certificate is AWS's affair, so which certificate is
whose is known from the name of its file and from the row.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._iot import requests
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import time_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import Issued
from ansible_collections.iotops.fleet.plugins.module_utils._registration.rows import DeviceCertificate
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import AWS_ISSUER
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

SUFFIXES = (".csr", ".pem", ".req")
CERTIFICATE_SUFFIX = ".cert.pem"
_REQUEST = re.compile(
    r"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----.+?-----END (?:NEW )?CERTIFICATE REQUEST-----", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request (PEM) that may be signed: the file, the name in it, its public key."""

    file: str
    name: str
    pem: str
    key: Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is left alone: its file, its name ("" where it cannot be read) and why."""

    file: str
    name: str
    why: str


@dataclass
class RequestFolder:
    """The requests of a folder's files ``*.csr``, ``*.pem`` and ``*.req`` in order, and those that cannot be signed.

    ``found`` counts both.
    """

    path: Path
    requests: list[Request] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    found: int = 0

    def __post_init__(self) -> None:
        """Read all; raise FleetError where there is no folder, or nothing in it."""
        if not self.path.is_dir():
            raise FleetError(f"requests: there is no folder {self.path}; name the folder of the certificate requests")
        files = [file for file in sorted(self.path.iterdir()) if _is_request(file)]
        if not files:
            raise FleetError(f"requests: {self.path} holds no certificate request; name them *{', *'.join(SUFFIXES)}")
        by_name = defaultdict(list)
        for file in files:
            for request in self._read(file):
                by_name[request.name].append(request)
        for name, found in by_name.items():
            if len(found) == 1:
                self.requests += found
            else:
                where = ", ".join(each.file for each in found)
                why = f"{len(found)} requests are of this name: {where}; leave only that of the device"
                self.refused += [Refusal(each.file, name, why) for each in found]
        self.found = len(self.requests) + len(self.refused)

    def _read(self, file: Path) -> Iterator[Request]:
        try:
            pems = [match.group() for match in _REQUEST.finditer(file.read_text("ascii"))]
        except (UnicodeDecodeError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not PEM"
            self.refused.append(Refusal(file.name, "", f"cannot be read: {why}"))
            return
        if not pems:
            self.refused.append(Refusal(file.name, "", "there is no certificate request in PEM in it"))
        for pem in pems:
            found = _request(file.name, f"{pem}\n")
            if isinstance(found, Refusal):
                self.refused.append(found)
            else:
                yield found


def _is_request(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.endswith((CERTIFICATE_SUFFIX, ".key.pem"))


def _request(file: str, pem: str) -> Request | Refusal:
    try:
        request = requests.load(pem, where=file)
        names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except FleetError as error:
        return Refusal(file, "", str(error).removeprefix(f"{file}: "))
    except ValueError:
        return Refusal(file, "", "its subject cannot be read")
    if len(names) != 1:
        return Refusal(file, "", f"it has {len(names)} common names; it has to have one, the thing name")
    if not THING_NAME.fullmatch(names[0]):
        return Refusal(file, names[0], f"its common name is no thing name ({THING_NAME.pattern})")
    return Request(file, names[0], pem, request.public_key())


@dataclass
class Certificates:
    """The certificates in a folder, ``<name>.cert.pem`` each; what :class:`Registrar` registers."""

    path: Path
    found: dict[str, DeviceCertificate] = field(default_factory=dict)

    @property
    def devices(self) -> list[Issued]:
        """The devices, in order of their names."""
        return [Issued(name, self.found[name].serial) for name in sorted(self.found)]

    def read(self, device: Issued) -> DeviceCertificate:
        """Return a device's certificate."""
        return self.found[device.name]

    def take(self, request: Request) -> bool:
        """Whether there is a certificate of this request; raise PkiError when the file holds another one."""
        file = self.file(request.name)
        if not file.exists():
            return False
        try:
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
        except ValueError as error:
            raise PkiError(f"{file} is not a certificate; move it away") from error
        if certificate.public_key() != request.key:
            raise PkiError(f"{file} has another key than the request; move it away, or give the device another name")
        self.found[request.name] = _of_aws(request.name, certificate)
        return True

    def hold(self, name: str, pem: str) -> None:
        """Have a device's certificate (PEM), whatever the folder has of it."""
        self.found[name] = _of_aws(name, x509.load_pem_x509_certificate(pem.encode()))

    def store(self, name: str, pem: str) -> None:
        """Keep a device's certificate (PEM)."""
        write_atomic(self.file(name), pem.encode())
        self.hold(name, pem)

    def forget(self, name: str) -> None:
        """Not register a certificate; its file stays."""
        self.found.pop(name, None)

    def drop(self, name: str) -> None:
        """Forget a certificate and its file."""
        self.file(name).unlink(missing_ok=True)
        self.forget(name)

    def file(self, name: str) -> Path:
        """Where the certificate of a device is."""
        return self.path / f"{name}{CERTIFICATE_SUFFIX}"


def _of_aws(name: str, certificate: x509.Certificate) -> DeviceCertificate:
    return DeviceCertificate(
        name=name,
        certificate_id=certificate.fingerprint(hashes.SHA256()).hex(),
        pem=certificate.public_bytes(Encoding.PEM).decode(),
        serial=f"{certificate.serial_number:x}",
        not_after=time_text(certificate.not_valid_after_utc),
        issuer=AWS_ISSUER,
    )


__all__ = ["Certificates", "Refusal", "Request", "RequestFolder"]
