# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of what was issued: a JSON object a line, fit for bulk registration with AWS IoT.

ThingName, CertificatePem and CACertificatePem are the parameters of AWS's provisioning templates
(https://docs.aws.amazon.com/iot/latest/developerguide/bulk-provisioning.html); CertificateId, NotAfter, Serial and
IssuerFingerprint are those of the registry's rows. What the file of devices says of a device comes after them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import (
    encode_certificate,
    entry_of,
    time_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_lines
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Entry
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import Device

COLUMNS = (
    "ThingName", "CertificatePem", "CACertificatePem", "CertificateId", "Serial", "NotAfter", "IssuerFingerprint",
)  # fmt: skip


class Manifest:
    """Writes the lines for certificates of one issuing CA."""

    def __init__(self, issuer: x509.Certificate) -> None:
        self.issuer_fingerprint = issuer.fingerprint(hashes.SHA256()).hex()
        pem = issuer.public_bytes(serialization.Encoding.PEM).decode("ascii")
        of_issuer = {"CACertificatePem": pem, "IssuerFingerprint": self.issuer_fingerprint}
        self._of_issuer = json.dumps(of_issuer).encode()[1:]  # the same in all lines

    def line(self, device: Device, entry: Entry, certificate: bytes, pem: str) -> bytes:
        """Return the line of a certificate (DER and PEM)."""
        columns = {
            "ThingName": device.name,
            "CertificatePem": pem,
            "CertificateId": hashlib.sha256(certificate).hexdigest(),
            "Serial": f"{int(entry.serial, 16):x}",
            "NotAfter": _time_text(entry.expires),
            **device.attributes,
        }
        return json.dumps(columns).encode()[:-1] + b", " + self._of_issuer + b"\n"


@lru_cache  # those of one run end at the same time
def _time_text(moment: datetime) -> str:
    return time_text(moment)


def require_free_columns(devices: Iterable[Device]) -> None:
    """Raise PkiError when a device's attribute has the name of a column of the manifest."""
    taken = {column.lower() for column in COLUMNS}
    for device in devices:
        for attribute in device.attributes:
            if attribute.lower() in taken:
                raise PkiError(
                    f"device {device.name!r} has a column {attribute!r}, which the manifest has too: rename it"
                )


def ensure_manifest(
    path: Path,
    issuer: x509.Certificate,
    certificates: Callable[[], Iterable[tuple[Device, x509.Certificate]]],
    *,
    check_mode: bool,
) -> list[str]:
    """Make a manifest say what there is; return what was (or would be) changed."""

    def lines() -> Iterator[bytes]:
        manifest = Manifest(issuer)
        for device, certificate in certificates():
            der = certificate.public_bytes(serialization.Encoding.DER)
            yield manifest.line(device, entry_of(certificate), der, encode_certificate(certificate).decode("ascii"))

    if not _differs(path, lines()):
        return []
    if not check_mode:
        write_lines(path, lines())
    return [f"{path}: written"]


def _differs(path: Path, lines: Iterable[bytes]) -> bool:
    if not path.exists():
        return True
    with path.open("rb") as file:
        return any(line != file.readline() for line in lines) or bool(file.readline())


__all__ = ["COLUMNS", "Manifest", "ensure_manifest", "require_free_columns"]
