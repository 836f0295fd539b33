# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuing CA on the controller, for devices that rotate. Private to the collection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import Authority, open_authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Request as CertificateRequest
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name, organization_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import lifetime_of
from ansible_collections.iotops.fleet.plugins.module_utils._pki.tree import AuthorityTree
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError


@dataclass(frozen=True, kw_only=True)
class Issuing:
    """The controller's issuing CA, and what it makes for devices that rotate."""

    directory: str
    passphrase: str | None
    days: int
    present_within: timedelta

    @contextlib.contextmanager
    def opened(self) -> Iterator[Authority]:
        """The CA, for nobody else meanwhile.

        Raises:
            FleetError: it cannot sign.

        """
        try:
            tree = AuthorityTree(Path(self.directory), "issuing")
            with open_authority(tree, passphrase=self.passphrase) as authority:
                authority.require_key()
                yield authority
        except PkiError as error:
            raise FleetError(str(error)) from error

    def issue(self, authority: Authority, thing_name: str, key: bytes) -> x509.Certificate:
        """The live certificate that the ledger has of this key, or a new one; the ledger is written first."""
        name = distinguished_name(common_name=thing_name, organization=organization_of(authority.signer.name))
        public_key = serialization.load_der_public_key(key)
        lifetime = lifetime_of(self.days)
        return authority.issue(
            CertificateRequest(purpose="device", subject=name, public_key=public_key, lifetime=lifetime)
        )
