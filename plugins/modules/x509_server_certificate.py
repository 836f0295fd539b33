#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_server_certificate
version_added: 0.1.0
short_description: Issue the server certificate of a fleet's domain
description:
  - Issues a server certificate from an issuing CA on the controller, with the names as subject alternative names.
  - A certificate in place is kept while it is good. It is replaced, with a new key, when its names are others, another
    CA issued it, it is revoked in the CA's C(index.txt), its key is missing, or it is about to expire.
  - Replacing does not revoke the former certificate, a copy of which stays in the CA's C(newcerts).
options:
  path:
    description: Directory of the server's files. It and the directories in it get mode 0700, the private key 0600.
    type: path
    required: true
  authority:
    description: Directory of the issuing CA, made by M(iotops.fleet.x509_authority).
    type: path
    required: true
  names:
    description:
      - DNS names of the server; the first one is the common name too when it has at most 64 characters.
      - AWS IoT takes at most four names in a server certificate.
    type: list
    elements: str
    required: true
  days:
    description: Lifetime of a new certificate in days. It ends no later than the CA.
    type: int
    default: 375
  renew_before:
    description: Replace a certificate that expires within this many days.
    type: int
    default: 30
  renew:
    description: Replace the certificate now.
    type: bool
    default: false
  passphrase:
    description: Passphrase of the CA's private key, needed only when a certificate is issued.
    type: str
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing; works before there is a CA.
    support: full
  diff_mode:
    description: Says what is issued and why.
    support: full
  idempotent:
    description: A second run changes nothing, unless O(renew) is set.
    support: partial
seealso:
  - module: iotops.fleet.x509_authority
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Issue the server certificate
  iotops.fleet.x509_server_certificate:
    path: /srv/pki/server
    authority: /srv/pki/intermediateCA
    names: [iot.example.com]
"""

RETURN = r"""
server:
  description: The certificate. Where check mode predicts a new one, only the paths.
  returned: success
  type: dict
  contains:
    certificate:
      description: Path of the certificate.
      type: str
      returned: always
      sample: /srv/pki/server/certs/server.cert.pem
    private_key:
      description: Path of the private key.
      type: str
      returned: always
      sample: /srv/pki/server/private/server.key.pem
    chain:
      description: Path of the chain, issuing CA first.
      type: str
      returned: always
      sample: /srv/pki/intermediateCA/certs/ca-chain.cert.pem
    names: {description: DNS names., type: list, elements: str, returned: when it exists, sample: [iot.example.com]}
    subject: {description: RFC 4514 text., type: str, returned: when it exists, sample: "CN=iot.example.com,O=Example"}
    serial: {description: Serial number in hexadecimal., type: str, returned: when it exists, sample: 5F3A}
    not_before: {description: Start (RFC 3339)., type: str, returned: when it exists, sample: "2026-01-01T00:00:00Z"}
    not_after: {description: End (RFC 3339)., type: str, returned: when it exists, sample: "2027-01-11T00:00:00Z"}
    key_type: {description: Algorithm and size., type: str, returned: when it exists, sample: EC P-256}
    certificate_id: {description: SHA-256 of the DER in lower-case hexadecimal., type: str, returned: when it exists}
    fingerprint_sha256: {description: The same in the style of openssl., type: str, returned: when it exists}
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_server_certificate, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "default": 375},
            "renew_before": {"type": "int", "default": 30},
            "renew": {"type": "bool", "default": False},
            "passphrase": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_server_certificate(
            path=params["path"],
            authority_path=params["authority"],
            names=params["names"],
            days=params["days"],
            renew_before=params["renew_before"],
            renew=params["renew"],
            passphrase=params["passphrase"],
            check_mode=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
