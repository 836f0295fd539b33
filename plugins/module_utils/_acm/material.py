# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is imported: a certificate, its key and its chain, and the checks that need no call.

https://docs.aws.amazon.com/acm/latest/userguide/import-certificate-prerequisites.html and
https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprints,
    key_description,
    load_private_key,
    names,
    require_key_pair,
    require_valid_now,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Material", "require_reimportable"]

KEY_BYTES_MAX = 5120
CERTIFICATE_BYTES_MAX = 32768


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """PEM texts of a leaf certificate, its private key, and the chain from its issuer upwards (may be empty)."""

    certificate: str
    private_key: str = dataclasses.field(repr=False)
    chain: str = ""

    @property
    def leaf(self) -> Certificate:
        """The parsed certificate."""
        return certificates(self.certificate, option="certificate_path")[0]

    def check(self) -> None:
        """Check everything that ACM would refuse, or accept and a client then refuse.

        Raises:
            FleetError: a part is unreadable, too large, not valid now, or does not belong to the others.

        """
        found = certificates(self.certificate, option="certificate_path")
        if len(found) > 1:
            raise FleetError(
                f"certificate_path: holds {len(found)} certificates; leave only the server's and put the others"
                " into chain_path"
            )
        leaf = found[0]
        require_valid_now(leaf, option="certificate_path")
        key = load_private_key(self.private_key, option="private_key_path")
        require_key_pair(leaf, key, option="private_key_path")
        for option, text, limit in (
            ("private_key_path", self.private_key, KEY_BYTES_MAX),
            ("certificate_path", self.certificate, CERTIFICATE_BYTES_MAX),
        ):
            if len(text.encode()) > limit:
                raise FleetError(f"{option}: {len(text.encode())} bytes, but ACM takes at most {limit}; shorten it")
        _require_chain(leaf, certificates(self.chain, option="chain_path") if self.chain else [])

    def changes(self, *, certificate: str, chain: str) -> list[str]:
        """Which parts differ from what ACM has: ``leaf``, ``chain``, both or none."""
        pairs = {"leaf": (self.certificate, certificate), "chain": (self.chain, chain)}
        return [part for part, (ours, theirs) in pairs.items() if fingerprints(ours) != fingerprints(theirs)]


def _require_chain(leaf: Certificate, chain: list[Certificate]) -> None:
    """Each certificate is signed by the next one; all are valid now; leaf and signer are of one algorithm."""
    if not chain and leaf.issuer != leaf.subject:
        raise FleetError(
            f"chain_path: needed, since the certificate was issued by {leaf.issuer.rfc4514_string()};"
            " give a file with the issuing CA first and the root last"
        )
    below = leaf
    for issuer in chain:
        require_valid_now(issuer, option="chain_path")
        if not _issued(below, issuer):
            raise FleetError(
                f"chain_path: {issuer.subject.rfc4514_string()} did not sign {below.subject.rfc4514_string()};"
                " give the chain in order, the issuing CA first and the root last"
            )
        below = issuer
    if chain and _family(leaf) != _family(chain[0]):
        raise FleetError(
            f"certificate_path: ACM takes a certificate of its signer's algorithm only, but this one is"
            f" {key_description(leaf)} and its CA is {key_description(chain[0])}; issue it with a key of the CA's kind"
        )


def _issued(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _family(certificate: Certificate) -> str:
    return key_description(certificate).split("_")[0]


def require_reimportable(current: str, new: Certificate, *, arn: str) -> None:
    """Check that ``new`` may take the place of ``current`` (PEM) under the same ARN.

    ACM keeps key type and size; AWS IoT takes up a certificate of the same names and signature algorithm only
    (https://docs.aws.amazon.com/iot/latest/developerguide/iot-custom-endpoints-managing.html).

    Raises:
        FleetError: it may not; the remedy is in the message.

    """
    old = certificates(current, option="certificate")[0]
    remedy = "replace it region after region (playbooks/replace_server_certificate.yml)"
    if key_description(old) != key_description(new):
        raise FleetError(
            f"certificate_path: the key is {key_description(new)}, but {arn} has {key_description(old)} and ACM cannot"
            f" change that; issue the certificate with a {key_description(old)} key, or {remedy}"
        )
    if names(old) != names(new):
        raise FleetError(
            f"certificate_path: the names are {', '.join(names(new))}, but {arn} has {', '.join(names(old))} and AWS"
            f" IoT would go on serving the old one; issue it for the same names, or {remedy}"
        )
    if old.signature_algorithm_oid != new.signature_algorithm_oid:
        raise FleetError(
            f"certificate_path: signed with {_digest(new)}, but {arn} with {_digest(old)} and AWS IoT would go on"
            f" serving the old one; have it signed by a CA of the same kind, or {remedy}"
        )
    lost = _purposes(old) - _purposes(new)
    if lost:
        raise FleetError(
            f"certificate_path: lacks the extended key usage {', '.join(sorted(lost))} that {arn} has and ACM cannot"
            f" take away; issue the certificate with it, or {remedy}"
        )


def _digest(certificate: Certificate) -> str:
    digest = certificate.signature_hash_algorithm
    return digest.name if digest else certificate.signature_algorithm_oid.dotted_string


def _purposes(certificate: Certificate) -> set[str]:
    from cryptography import x509

    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return set()
    return {oid.dotted_string for oid in usage}
