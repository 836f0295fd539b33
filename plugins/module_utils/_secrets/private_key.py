# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that holds a private key with its certificate, and what may be said of it. Private to the collection."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._secrets import calls
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprint,
    load_private_key,
    require_key_pair,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, tags_diff, tags_to_dict

__all__ = ["Outcome", "Wanted", "ensure_absent", "ensure_present"]

Secret = dict[str, Any]


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The secret before and after, without its value, and what differed."""

    before: Secret | None
    after: Secret | None
    reasons: list[str]


def ensure_present(
    secrets: Any, name: str, wanted: Wanted, *, tags: Mapping[str, Any] | None, purge_tags: bool, check_mode: bool
) -> Outcome:
    """Make the secret hold the key and carry the tags.

    Raises:
        FleetError: key and certificate cannot be read, or do not fit.

    """
    value = wanted.value()
    found = calls.describe(secrets, name)
    if found is None:
        texts = {key: str(each) for key, each in (tags or {}).items()}
        after = {"arn": None, "name": name, **_facts(value), "tags": texts}
        if not check_mode:
            after["arn"] = calls.create(secrets, name, value, description=_DESCRIPTION, tags=texts)
        return Outcome(before=None, after=after, reasons=["created"])
    is_leaving = "DeletedDate" in found
    if is_leaving and not check_mode:
        calls.restore(secrets, name)
    held = "" if is_leaving and check_mode else calls.read(secrets, name) or ""
    before = _shown(found, held)
    to_set, to_remove = tags_diff(before["tags"], tags, purge=purge_tags)
    kept = {key: each for key, each in before["tags"].items() if key not in to_remove}
    reasons = {"restored": is_leaving, "value changed": held != value, "tags changed": bool(to_set or to_remove)}
    if not check_mode:
        if reasons["value changed"]:
            calls.write(secrets, name, value)
        if to_set:
            calls.add_tags(secrets, name, to_set)
        if to_remove:
            calls.remove_tags(secrets, name, to_remove)
    after = {**before, **_facts(value), "tags": {**kept, **to_set}}
    return Outcome(before=before, after=after, reasons=[reason for reason, is_so in reasons.items() if is_so])


def ensure_absent(secrets: Any, name: str, *, check_mode: bool) -> Outcome:
    """Delete the secret at once."""
    found = calls.describe(secrets, name)
    if found is None:
        return Outcome(before=None, after=None, reasons=[])
    if not check_mode:
        calls.delete(secrets, name)
    return Outcome(before=_shown(found, ""), after=None, reasons=["deleted"])


_DESCRIPTION = "A private key with its certificate."


def _shown(found: Mapping[str, Any], value: str) -> Secret:
    return {"arn": found["ARN"], "name": found["Name"], **_facts(value), "tags": tags_to_dict(found.get("Tags"))}


def _facts(value: str) -> Secret:
    """What tells one value from another one, and gives nothing away: public halves only."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        public_key = load_private_key(value, option="secret").public_key()
    except FleetError:
        return {"public_key_sha256": None, "certificate_sha256": fingerprint(value) or None}
    spki = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"public_key_sha256": hashlib.sha256(spki).hexdigest(), "certificate_sha256": fingerprint(value) or None}
