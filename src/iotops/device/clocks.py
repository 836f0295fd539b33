# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wrong clock does to TLS, said so that its owner understands it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL
NOT_YET_VALID, _EXPIRED = 9, 10


def trouble(error: ssl.SSLCertVerificationError) -> str:
    """Return why a server's certificate was not accepted; with this device's time if that may be the reason."""
    if error.verify_code not in (NOT_YET_VALID, _EXPIRED):
        return str(error.verify_message)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return f"{error.verify_message}; the clock of this device says {now}: set it if that is wrong"
