#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_recorded_certificates
version_added: 0.3.0
short_description: Record certificates that a CA's key has signed elsewhere
description:
  - Adds certificates to an issuing CA's C(index.txt) and C(newcerts) that were signed with its key by something else, a
    signing function in AWS for instance, so that they can be found, revoked and watched like all others.
  - Needs no key. Checks the signature of each, and changes nothing when one is not the CA's.
  - Waits for a run that issues from the same CA. A run that was killed is finished by the next one.
options:
  authority:
    description: Directory of the issuing CA, made by M(iotops.fleet.x509_authority).
    type: path
    required: true
  certificates:
    description: Certificates in PEM; a text may hold several.
    type: list
    elements: str
  certificates_file:
    description: File of certificates in PEM, one or many.
    type: path
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Lists the serial numbers that are added.
    support: full
  idempotent:
    description: What is in the ledger, valid or revoked, stays as it is.
    support: full
seealso:
  - module: iotops.fleet.x509_device_certificates
  - module: iotops.fleet.x509_revocation
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Record what the signing function has issued
  iotops.fleet.x509_recorded_certificates:
    authority: /srv/pki/intermediateCA
    certificates: "{{ signed.results | map(attribute='certificate_pem') }}"
"""

RETURN = r"""
count: {description: How many certificates were given., type: int, returned: success, sample: 2}
recorded:
  description: Serial numbers in hexadecimal of those that were added to the ledger, or would be.
  returned: success
  type: list
  elements: str
  sample: [5F3A]
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_recorded, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "authority": {"type": "path", "required": True},
            "certificates": {"type": "list", "elements": "str"},
            "certificates_file": {"type": "path"},
        },
        required_one_of=[("certificates", "certificates_file")],
        supports_check_mode=True,
    )
    run_module(module, lambda: ensure_recorded(**module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
