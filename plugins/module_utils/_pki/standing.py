# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the certificate of a device is neither kept nor replaced without a word of the operator."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import time_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import common_name_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import Device


def problem_of(
    authority: Authority, device: Device, certificate: x509.Certificate | None, now: datetime, *, renew: bool
) -> str | None:
    """Return why this device must not silently keep its certificate or get another, None when it may."""
    if certificate is None:
        return None if renew else _problem_of_another(authority, device.name, now)
    if common_name_of(certificate.subject) != device.name:
        return f"the certificate in place is that of {common_name_of(certificate.subject)!r}"
    if not authority.has_signed(certificate):
        return "the certificate in place is from another CA"
    if device.public_key and device.public_key != public_bytes(certificate.public_key()):
        return "the certificate in place is for another key than the request"
    entry = authority.ledger.find(serial_text(certificate.serial_number))
    if entry is None:
        return f"its certificate (serial {serial_text(certificate.serial_number)}) is not in {authority.tree.ledger}"
    return f"its certificate (serial {entry.serial}) is revoked" if entry.status == "R" else None


def _problem_of_another(authority: Authority, name: str, now: datetime) -> str | None:
    live = authority.ledger.live(name, now)
    if not live:
        return None
    newest = f"serial {live[-1].serial}, until {time_text(live[-1].expires)}"
    return f"the ledger has a live certificate ({newest}) whose files are not in place: restore them, or revoke it"


__all__ = ["problem_of"]
