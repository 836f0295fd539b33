#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: x509_expiry_info
version_added: 0.3.0
short_description: When the certificates and revocation lists of a PKI's directory end
description:
  - Reads the roots (C(*/certs/root.cert.pem)), issuing CAs (C(*/certs/issuing.cert.pem)), server certificates
    (C(*/certs/server.cert.pem)) and, of each authority, the last revocation list (C(*/crl/*.pem)).
  - A file that cannot be read is an entry that says so.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  path:
    description: Directory of the PKI.
    type: path
    required: true
requirements:
  - cryptography >= 42
seealso:
  - module: iotops.fleet.fleet_certificates_info
extends_documentation_fragment:
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read when the PKI's certificates end
  iotops.fleet.x509_expiry_info:
    path: pki
  register: found
"""

RETURN = r"""
certificates:
  description: One entry for each file, in no order.
  returned: always
  type: list
  elements: dict
  contains:
    kind: {description: "V(root), V(issuing), V(server) or V(crl).", type: str, sample: root}
    name: {description: "Common name of the subject, or the path of a bad file.", type: str, sample: Root CA}
    place: {description: "Always V(controller).", type: str, sample: controller}
    not_after: {description: "RFC 3339; null when unknown.", type: str, sample: "2036-01-31T12:00:00Z"}
    note: {description: "What else there is to say.", type: str, sample: ""}
    severity: {description: "How bad the note is: empty, V(warn) or V(error).", type: str, sample: ""}
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.iotops.fleet.plugins.module_utils._expiry.files import entries
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

CRYPTOGRAPHY_ERROR = ""
try:
    import cryptography  # noqa: F401
except ImportError:
    CRYPTOGRAPHY_ERROR = traceback.format_exc()


def read(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's answer.

    Raises:
        FleetError: no such directory.

    """
    pki = Path(module.params["path"])
    if not pki.is_dir():
        raise FleetError(f"path={pki} is no directory: name the one that the role pki made")
    return {"changed": False, "certificates": entries(pki)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    if CRYPTOGRAPHY_ERROR:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=CRYPTOGRAPHY_ERROR)
    run_module(module, read)


if __name__ == "__main__":
    main()
