#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_crl_info
version_added: 0.3.0
short_description: Read a revocation list
description:
  - Reads a revocation list on the controller, PEM or DER, and checks who signed it if asked to.
options:
  path:
    description: The list. One that does not exist is no error.
    type: path
    required: true
  authority:
    description: Directory of the issuing CA that must have signed it.
    type: path
requirements: [cryptography >= 43]
seealso:
  - module: iotops.fleet.x509_crl
author: The iotops.fleet maintainers
extends_documentation_fragment:
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read the revocation list
  iotops.fleet.x509_crl_info:
    path: /srv/pki/intermediateCA/crl/issuing.crl.pem
    authority: /srv/pki/intermediateCA
  register: revoked
"""

RETURN = r"""
crl:
  description: The list as M(iotops.fleet.x509_crl) returns it, without C(der_path); null when there is none.
  returned: success
  type: dict
  sample:
    path: /srv/pki/intermediateCA/crl/issuing.crl.pem
    issuer: CN=Example Issuing CA G1,O=Example
    number: 256
    this_update: "2026-01-01T00:00:00Z"
    next_update: "2026-01-31T00:00:00Z"
    revoked_count: 1
    revoked: [{serial: 5F3A, revoked_at: "2026-01-01T00:00:00Z", reason: keyCompromise}]
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import crl_info, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "authority": {"type": "path"}},
        supports_check_mode=True,
    )
    params = module.params
    run_module(module, lambda: crl_info(path=params["path"], authority_path=params["authority"]))


if __name__ == "__main__":
    main()
