#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_device_certificates
version_added: 0.1.0
short_description: Issue device certificates, many in one pass
description:
  - Issues a client certificate and key for each device that has none, from an issuing CA on the controller, in parallel
    processes when that pays.
  - A device has no two live certificates unless O(renew) is set. Expired certificates are replaced.
  - The module changes nothing and fails when a device's certificate is revoked in the CA's C(index.txt), is from
    another CA, or is live there while its files are missing.
  - A run that was killed is finished by the next one.
options:
  path:
    description: Directory in which each device gets a directory of its name, mode 0700, its private key 0600.
    type: path
    required: true
  authority:
    description: Directory of the issuing CA, made by M(iotops.fleet.x509_authority).
    type: path
    required: true
  names:
    description:
      - Names of the devices, which are their thing names and the common names of their certificates.
      - Letters, digits, colon, underscore and hyphen; at most 64 characters, the limit of a common name.
    type: list
    elements: str
    required: true
  days:
    description: Lifetime of a new certificate in days. It ends no later than the CA.
    type: int
    default: 365
  renew:
    description:
      - Issue a new certificate to each of the devices now and put it in the place of the former one.
      - The former ones stay valid until they expire or are revoked; copies are in the CA's C(newcerts).
    type: bool
    default: false
  passphrase:
    description: Passphrase of the CA's private key, needed only when certificates are issued.
    type: str
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing; works before there is a CA.
    support: full
  diff_mode:
    description: Lists the devices that get a certificate.
    support: full
  idempotent:
    description: A second run changes nothing, unless O(renew) is set.
    support: partial
seealso:
  - module: iotops.fleet.x509_authority
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Issue certificates to two devices
  iotops.fleet.x509_device_certificates:
    path: /srv/pki/clients
    authority: /srv/pki/intermediateCA
    names: [dev-1, dev-2]
"""

RETURN = r"""
certificates:
  description: The certificates, in the order of O(names). Where check mode predicts one, only its name and paths.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the device., type: str, returned: always, sample: dev-1}
    certificate:
      description: Path of the certificate.
      type: str
      returned: always
      sample: /srv/pki/clients/dev-1/dev-1.cert.pem
    private_key:
      description: Path of the private key.
      type: str
      returned: always
      sample: /srv/pki/clients/dev-1/dev-1.key.pem
    subject: {description: RFC 4514 text., type: str, returned: when it exists, sample: "CN=dev-1,O=Example"}
    serial: {description: Serial number in hexadecimal., type: str, returned: when it exists, sample: 5F3A}
    not_before: {description: Start (RFC 3339)., type: str, returned: when it exists, sample: "2026-01-01T00:00:00Z"}
    not_after: {description: End (RFC 3339)., type: str, returned: when it exists, sample: "2027-01-01T00:00:00Z"}
    key_type: {description: Algorithm and size., type: str, returned: when it exists, sample: EC P-256}
    certificate_id:
      description: SHA-256 of the DER in lower-case hexadecimal, which is the certificateId of AWS IoT in every region.
      type: str
      returned: when it exists
    fingerprint_sha256: {description: The same in the style of openssl., type: str, returned: when it exists}
issued:
  description: Names of the devices that got a certificate in this run, or would get one.
  returned: success
  type: list
  elements: str
  sample: [dev-2]
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_device_certificates, run_module


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "days": {"type": "int", "default": 365},
            "renew": {"type": "bool", "default": False},
            "passphrase": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_device_certificates(
            path=params["path"],
            authority_path=params["authority"],
            names=params["names"],
            days=params["days"],
            renew=params["renew"],
            passphrase=params["passphrase"],
            check_mode=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
