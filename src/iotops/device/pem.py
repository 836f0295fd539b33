# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device that only connects has to know of its certificates, by the standard library."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from iotops.device.errors import DeviceError

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def certificate_id(path: Path) -> str:
    """Return AWS IoT's certificateId of the first certificate in a file: the SHA-256 of the DER in hexadecimal.

    Raises:
        DeviceError: the file is missing or none.

    """
    try:
        found = _CERTIFICATE.search(path.read_text(encoding="ascii", errors="replace"))
        if not found:
            raise ValueError
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}: put the certificate (PEM) there") from error
    except ValueError as error:
        raise DeviceError(f"{path} is not a PEM certificate: restore it") from error


def fits(root: Path, certificate: Path, key: str) -> bool:
    """Whether OpenSSL takes the three files to connect with; a file's name may be anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=root)
        # A passphrase would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError):
        return False
    return True
