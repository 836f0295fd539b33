#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_crl
version_added: 0.3.0
short_description: Make an issuing CA's revocation list
description:
  - Writes C(crl/issuing.crl.pem), and the same in DER as C(crl/issuing.crl), into the CA's directory, as
    C(openssl ca -gencrl) would, with the next number of C(crlnumber).
  - A list that says what the ledger says, and is not due, stays as it is.
options:
  authority:
    description: Directory of the issuing CA, made by M(iotops.fleet.x509_authority).
    type: path
    required: true
  days:
    description: Days until the next update that the list promises.
    type: int
    default: 30
  renew_before:
    description: Days before its next update at which the list is made anew.
    type: int
    default: 14
  renew:
    description: Make it anew now.
    type: bool
    default: false
  passphrase:
    description: Passphrase of the CA's private key, needed only when a list is made.
    type: str
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Says whether a list would be made; returns the one that is there.
    support: full
  diff_mode:
    description: Says why a list is made.
    support: full
  idempotent:
    description: A second run changes nothing, unless O(renew) is set.
    support: partial
seealso:
  - module: iotops.fleet.x509_crl_info
  - module: iotops.fleet.x509_revocation
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Make the revocation list
  iotops.fleet.x509_crl:
    authority: /srv/pki/intermediateCA
"""

RETURN = r"""
crl:
  description: The list; before there is one, check mode returns its paths only.
  returned: success
  type: dict
  contains:
    path: {description: The list in PEM., type: str, sample: /srv/pki/intermediateCA/crl/issuing.crl.pem}
    der_path: {description: The list in DER., type: str, sample: /srv/pki/intermediateCA/crl/issuing.crl}
    issuer: {description: RFC 4514 text., type: str, sample: "CN=Example Issuing CA G1,O=Example"}
    number: {description: Its number., type: int, sample: 256}
    this_update: {description: When it was made (RFC 3339)., type: str, sample: "2026-01-01T00:00:00Z"}
    next_update: {description: When the next one is due (RFC 3339)., type: str, sample: "2026-01-31T00:00:00Z"}
    revoked_count: {description: Number of entries., type: int, sample: 1}
    revoked:
      description: The entries, each with C(serial), C(revoked_at) and C(reason).
      type: list
      elements: dict
      sample: [{serial: 5F3A, revoked_at: "2026-01-01T00:00:00Z", reason: keyCompromise}]
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_crl, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "authority": {"type": "path", "required": True},
            "days": {"type": "int", "default": 30},
            "renew_before": {"type": "int", "default": 14},
            "renew": {"type": "bool", "default": False},
            "passphrase": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    params = {name: value for name, value in module.params.items() if name != "authority"}
    run_module(
        module, lambda: ensure_crl(authority_path=module.params["authority"], **params, check_mode=module.check_mode)
    )


if __name__ == "__main__":
    main()
