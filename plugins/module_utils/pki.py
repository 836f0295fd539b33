# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PKI of a fleet on the controller's disk; needs ``cryptography``, which the modules look for first.

The files are laid out as `openssl ca` knows them; the README of the role pki lists them.
"""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._pki.authority import ensure_authority
from ansible_collections.iotops.fleet.plugins.module_utils._pki.devices import ensure_device_certificates
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.server import ensure_server_certificate

__all__ = ["PkiError", "ensure_authority", "ensure_device_certificates", "ensure_server_certificate"]
