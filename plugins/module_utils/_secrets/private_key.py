# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that holds a private key with its certificate, and what may be said of it. Private to the collection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._secrets.secret import Outcome, Secret, Text, ensure_text
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprint,
    load_private_key,
    require_key_pair,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

__all__ = ["Wanted", "ensure_present"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A private key (PEM, encrypted or not) and its certificate (PEM; the first one of the text counts)."""

    private_key: str = field(repr=False)
    certificate: str
    passphrase: str | None = field(default=None, repr=False)

    def value(self) -> str:
        """What the secret is to hold: the key as PKCS #8 PEM that is not encrypted, then the certificate.

        Raises:
            FleetError: one of them cannot be read, or the key is another one's.

        """
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        key = load_private_key(self.private_key, option="private_key_path", passphrase=self.passphrase)
        certificate = certificates(self.certificate, option="certificate_path")[0]
        require_key_pair(certificate, key, option="private_key_path")
        key_pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (key_pem + certificate.public_bytes(Encoding.PEM)).decode("ascii")


def ensure_present(
    secrets: Any, name: str, wanted: Wanted, *, tags: Mapping[str, Any] | None, purge_tags: bool, check_mode: bool
) -> Outcome:
    """Make the secret hold the key and carry the tags.

    Raises:
        FleetError: key and certificate cannot be read, or do not fit.

    """
    text = Text(value=wanted.value(), description="A private key with its certificate.", facts=_facts)
    return ensure_text(secrets, name, text, tags=tags, purge_tags=purge_tags, check_mode=check_mode)


def _facts(value: str) -> Secret:
    """What tells one value from another one, and gives nothing away: public halves only."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public_key = load_private_key(value, option="secret").public_key()
    except FleetError:
        return {"public_key_sha256": None, "certificate_sha256": fingerprint(value) or None}
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"public_key_sha256": hashlib.sha256(spki).hexdigest(), "certificate_sha256": fingerprint(value) or None}
