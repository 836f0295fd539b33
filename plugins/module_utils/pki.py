# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PKI of a fleet on the controller's disk, and how its modules end.

The files are laid out as `openssl ca` knows them; the README of the role pki lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError, one_line

MISSING_LIBRARY: str | None = None
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.crl import crl_info, ensure_crl
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.devices import ensure_device_certificates
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.hierarchy import ensure_authority
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.key_pair import ensure_key_pair
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.recording import ensure_recorded
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.revoking import ensure_revoked
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.server import ensure_server_certificate
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.successor import ensure_successor
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")
    if not TYPE_CHECKING:
        ensure_authority = ensure_device_certificates = ensure_server_certificate = ensure_successor = None
        crl_info = ensure_crl = ensure_key_pair = ensure_recorded = ensure_revoked = None


def run_module(module: AnsibleModule, ensure: Callable[[], dict[str, Any]]) -> NoReturn:
    """End `module` with the result of `ensure`, or with the one line that says what went wrong."""
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    try:
        result = ensure()
    except (PkiError, OSError) as error:
        module.fail_json(msg=one_line(error))
    module.exit_json(**result)


__all__ = [
    "PkiError", "crl_info", "ensure_authority", "ensure_crl", "ensure_device_certificates", "ensure_key_pair",
    "ensure_recorded", "ensure_revoked", "ensure_server_certificate", "ensure_successor", "run_module",
]  # fmt: skip
