# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a CA certificate in AWS IoT. Private to the collection."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    load_private_key,
    require_key_pair,
    require_valid_now,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# https://docs.aws.amazon.com/iot/latest/apireference/API_RegistrationConfig.html
_TEMPLATE_NAME = re.compile(r"[0-9A-Za-z_-]{1,36}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registration:
    """How a CA certificate is wanted in one region.

    ``private_key`` (PEM) and ``passphrase`` serve mode DEFAULT alone. ``tags`` None leaves tags alone,
    ``provisioning_template`` None the template that provisions its devices; "" is none. Without ``adopts_template`` a
    CA that has a template is refused.
    """

    certificate: str
    mode: str = "SNI_ONLY"
    status: str = "ACTIVE"
    auto_registration: bool = True
    provisioning_template: str | None = None
    adopts_template: bool = True
    private_key: str | None = dataclasses.field(default=None, repr=False)
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    tags: Mapping[str, str] | None = None
    purge_tags: bool = True

    @property
    def auto_registration_status(self) -> str:
        """In AWS's words."""
        return "ENABLE" if self.auto_registration else "DISABLE"

    def check(self) -> None:
        """Check all that can be known before a call.

        Raises:
            FleetError: not exactly one valid CA certificate, no name of a template, or the key of mode DEFAULT is
                missing or another one's.

        """
        from cryptography import x509

        if self.provisioning_template and not _TEMPLATE_NAME.fullmatch(self.provisioning_template):
            raise FleetError(
                f"provisioning_template: {self.provisioning_template!r} is no name of a template; use letters, digits,"
                " hyphen and underscore, at most 36"
            )
        found = certificates(self.certificate, option="certificate")
        if len(found) > 1:
            raise FleetError(f"certificate: holds {len(found)} certificates; give only the CA that signs the devices'")
        try:
            is_ca = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            raise FleetError("certificate: not a CA certificate (basicConstraints CA:TRUE); give the issuing CA's")
        require_valid_now(found[0], option="certificate")
        if self.mode == "DEFAULT":
            if self.private_key is None:
                raise FleetError("private_key_path: mode DEFAULT needs the CA's key to sign AWS's registration code")
            key = load_private_key(self.private_key, option="private_key_path", passphrase=self.passphrase)
            require_key_pair(found[0], key, option="private_key_path")


__all__ = ["Registration"]
