#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_revocation
version_added: 0.3.0
short_description: Revoke certificates in the ledgers of issuing CAs
description:
  - Marks certificates as revoked in C(index.txt), in the words of C(openssl ca -revoke), many in one pass and without
    the CA's key. The revocation lists are made by M(iotops.fleet.x509_crl).
  - Returns every certificate that is revoked there and has not expired, also what somebody revoked by hand.
  - Waits for a run that issues from the same CA.
options:
  authorities:
    description: Directories of the issuing CAs, made by M(iotops.fleet.x509_authority).
    type: list
    elements: path
    required: true
  names:
    description: Common names of which every live certificate is meant.
    type: list
    elements: str
    default: []
  serials:
    description:
      - Serial numbers in hexadecimal, with or without colons.
      - One that no ledger has is taken for a certificate of the CA, if there is only one.
    type: list
    elements: str
    default: []
  certificate_ids:
    description: AWS IoT's certificate ids, the SHA-256 of the certificates.
    type: list
    elements: str
    default: []
  keys:
    description: Certificates as the table C(revocations) calls them; what no ledger has of them is left out.
    type: list
    elements: str
    default: []
  crl:
    description:
      - A revocation list, PEM or DER, that one of O(authorities) signed. Its entries are revoked as of their time.
      - What is only on hold there is left alone, since nothing here can be lifted.
    type: path
  reason:
    description:
      - Words, or V(keyCompromise), V(affiliationChanged), V(superseded), V(cessationOfOperation) or V(unspecified), or
        one of these with a colon and words. The ledger keeps the code, the words are returned.
    type: str
    default: ""
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Lists the entries that are marked.
    support: full
  idempotent:
    description: What is revoked stays as it is.
    support: full
seealso:
  - module: iotops.fleet.x509_crl
  - module: iotops.fleet.fleet_revocations
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Revoke all certificates of a device
  iotops.fleet.x509_revocation:
    authorities: [/srv/pki/intermediateCA]
    names: [dev-1]
    reason: "keyCompromise: stolen from the depot"
"""

RETURN = r"""
certificates:
  description: What is revoked now, or would be.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Common name; empty for one that no ledger has., type: str, sample: dev-1}
    serial: {description: Serial number in hexadecimal; empty when not known., type: str, sample: 5F3A}
    key:
      description: Its key in the table C(revocations); empty when not known.
      type: str
      sample: "serial:3a3e:5f3a"
    certificate_id: {description: AWS IoT's id; empty when the certificate is not in C(newcerts)., type: str}
    reason: {description: Why., type: str, sample: "keyCompromise: stolen from the depot"}
    revoked_at: {description: When (RFC 3339)., type: str, sample: "2026-01-01T00:00:00Z"}
    named: {description: "Whether a name, a serial number or an id asked for it.", type: bool}
held:
  description: Serial numbers that are on hold in O(crl) or in a ledger, and not revoked.
  returned: success
  type: list
  elements: str
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_revoked, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "authorities": {"type": "list", "elements": "path", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "serials": {"type": "list", "elements": "str", "default": []},
            "certificate_ids": {"type": "list", "elements": "str", "default": []},
            "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "crl": {"type": "path"},
            "reason": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda: ensure_revoked(**module.params, check_mode=module.check_mode))


if __name__ == "__main__":
    main()
