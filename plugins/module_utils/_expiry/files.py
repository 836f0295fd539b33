# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can expire in the PKI's directory on the controller. Private to this collection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ansible_collections.iotops.fleet.plugins.module_utils._expiry.entries import (
    CONTROLLER,
    Entry,
    common_name,
    entry,
)
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import certificates, fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# Where certificates lie below the PKI's directory; an authority more is a directory more.
PATTERNS = {
    "root": "*/certs/root.cert.pem",
    "issuing": "*/certs/issuing.cert.pem",
    "server": "*/certs/server.cert.pem",
}
REVOCATION_LISTS = "*/crl/*.pem"


def root_path(pki: Path) -> Path:
    """The certificate that devices trust."""
    return pki / "rootCA/certs/root.cert.pem"


def authority_paths(pki: Path) -> list[Path]:
    """The certificates of the issuing CAs."""
    return sorted(pki.glob(PATTERNS["issuing"]))


def server_paths(pki: Path) -> list[Path]:
    """The server certificates."""
    return sorted(pki.glob(PATTERNS["server"]))


def fingerprints(paths: list[Path]) -> dict[str, str]:
    """Fingerprint -> path; without those that hold no certificate, of which ``entries`` tells."""
    found = {fingerprint(read_text(str(path), option="pki_dir")): str(path) for path in paths}
    return {key: path for key, path in found.items() if key}


def entries(pki: Path) -> list[Entry]:
    """A line for each root, issuing CA, server certificate, and the last revocation list of each CA.

    A file that cannot be read is a line that says so.
    """
    found = [_certificate(kind, path) for kind, pattern in PATTERNS.items() for path in sorted(pki.glob(pattern))]
    return found + list(_revocation_lists(pki))


def _certificate(kind: str, path: Path) -> Entry:
    try:
        certificate = certificates(read_text(str(path), option=path.name), option=str(path))[0]
    except FleetError as error:
        return entry(kind, str(path), CONTROLLER, note=str(error), severity="error")
    return entry(kind, common_name(certificate.subject), CONTROLLER, not_after=certificate.not_valid_after_utc)


def _revocation_lists(pki: Path) -> Iterator[Entry]:
    from cryptography import x509

    last: dict[Path, x509.CertificateRevocationList] = {}  # by the CA's directory
    for path in sorted(pki.glob(REVOCATION_LISTS)):
        try:
            read = x509.load_pem_x509_crl(path.read_bytes())
        except (OSError, ValueError) as error:
            note = f"{path} is no readable revocation list ({error}); make it anew"
            yield entry("crl", path.name, CONTROLLER, note=note, severity="error")
            continue
        authority = path.parents[1]
        if authority not in last or last[authority].last_update_utc <= read.last_update_utc:
            last[authority] = read
    for read in last.values():
        name = f"revocation list of {common_name(read.issuer)}"
        endless = {} if read.next_update_utc else {"note": "says no time of its next update", "severity": "warn"}
        yield entry("crl", name, CONTROLLER, not_after=read.next_update_utc, **endless)


__all__ = ["authority_paths", "entries", "fingerprints", "root_path", "server_paths"]
