#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: x509_authority
version_added: 0.1.0
short_description: Make a root or issuing CA on the controller
description:
  - Makes the directory of a certificate authority as C(openssl ca) knows it, its private key and its certificate.
  - What is there already is kept. A CA is never changed in place, nor is its key made again.
  - What an operator does with C(openssl ca -config <path>/openssl.cnf) is read back.
options:
  path:
    description: Directory of the authority. It and all directories in it get mode 0700, the private key 0600.
    type: path
    required: true
  type:
    description:
      - V(root) signs itself. V(issuing) is signed by the root in O(issuer_path) and may sign no further CA.
    type: str
    choices: [root, issuing]
    required: true
  common_name:
    description:
      - Common name of the CA, at most 64 characters.
      - AWS IoT tells registered CAs apart by their subject, so let the name of an issuing CA end in its generation.
    type: str
    required: true
  organization:
    description: Organization in the subject, at most 64 characters. Certificates issued by the CA get it too.
    type: str
  subject:
    description:
      - What the subject has beside O(common_name) and O(organization).
      - Certificates of devices that the CA issues get it too.
    type: dict
    suboptions:
      country: {description: "C(C), the two capital letters of ISO 3166.", type: str}
      state: {description: "C(ST), a state or province.", type: str}
      locality: {description: "C(L).", type: str}
      organizational_unit: {description: "C(OU).", type: str}
      dn_qualifier: {description: "C(dnQualifier).", type: str}
    version_added: 0.3.0
  key_profile:
    description:
      - V(ec) makes a P-384 root and a P-256 issuing CA, V(rsa) makes both RSA 4096.
      - Certificates issued by the CA follow, since ACM wants the algorithm of a certificate to be that of its CA.
    type: str
    choices: [ec, rsa]
    default: ec
  days:
    description: Lifetime of a new CA in days; 7300 for a root and 3650 for an issuing CA by default.
    type: int
  serial:
    description:
      - How the CA chooses serial numbers, also when C(openssl ca) issues.
      - V(random) takes 159 random bits, V(sequential) counts up from hexadecimal 1000.
    type: str
    choices: [random, sequential]
    default: random
  passphrase:
    description: Passphrase of the CA's private key; without one the key is not encrypted.
    type: str
  issuer_path:
    description: Directory of the root. Required for O(type=issuing).
    type: path
  issuer_passphrase:
    description: Passphrase of the root's private key, needed only while the issuing CA is made.
    type: str
  key_uri:
    description:
      - PKCS#11 URI (RFC 7512) of the private key where that is to be in a token instead of a file, with C(token),
        C(object) or C(id), and C(module-path). O(passphrase) is the token's PIN; a URI that holds one is refused.
      - The key is made in the token, never to leave it, unless it is there. Its public key has to be beside it.
      - It is kept in C(private/issuing.key.uri), so that whatever signs later needs the PIN only.
    type: str
requirements:
  - cryptography >= 43
  - python-pkcs11, for a key in a token
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Lists the files that are made or whose mode changes.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
seealso:
  - module: iotops.fleet.x509_server_certificate
  - module: iotops.fleet.x509_device_certificates
author: The iotops.fleet maintainers
"""

EXAMPLES = r"""
- name: Make the root
  iotops.fleet.x509_authority:
    path: /srv/pki/rootCA
    type: root
    common_name: Example Root CA
    organization: Example

- name: Make the issuing CA
  iotops.fleet.x509_authority:
    path: /srv/pki/intermediateCA
    type: issuing
    issuer_path: /srv/pki/rootCA
    common_name: Example Issuing CA G1
    organization: Example
    passphrase: "{{ vault_ca_passphrase }}"

- name: Make an issuing CA whose key is in a token
  iotops.fleet.x509_authority:
    path: /srv/pki/intermediateCA-G2
    type: issuing
    issuer_path: /srv/pki/rootCA
    common_name: Example Issuing CA G2
    organization: Example
    key_uri: pkcs11:token=Fleet;object=issuing-G2?module-path=/usr/lib/softhsm/libsofthsm2.so
    passphrase: "{{ vault_token_pin }}"
"""

RETURN = r"""
authority:
  description: The CA. Where check mode predicts a new one, only the paths.
  returned: success
  type: dict
  contains:
    path: {description: Directory of the authority., type: str, returned: always, sample: /srv/pki/intermediateCA}
    type: {description: The type., type: str, returned: always, sample: issuing}
    certificate:
      description: Path of the certificate.
      type: str
      returned: always
      sample: /srv/pki/intermediateCA/certs/issuing.cert.pem
    chain:
      description: Path of the file with the issuing CA's certificate, then the root's.
      type: str
      returned: for an issuing CA
      sample: /srv/pki/intermediateCA/certs/ca-chain.cert.pem
    private_key:
      description: Path of the private key, or its URI where that is in a token.
      type: str
      returned: always
      sample: /srv/pki/intermediateCA/private/issuing.key.pem
    openssl_config:
      description: What to give to C(openssl ca -config).
      type: str
      returned: always
      sample: /srv/pki/intermediateCA/openssl.cnf
    subject: {description: RFC 4514 text., type: str, returned: when it exists, sample: "CN=Example Root CA,O=Example"}
    serial: {description: Serial number in hexadecimal., type: str, returned: when it exists, sample: 5F3A}
    not_before: {description: Start (RFC 3339)., type: str, returned: when it exists, sample: "2026-01-01T00:00:00Z"}
    not_after: {description: End (RFC 3339)., type: str, returned: when it exists, sample: "2035-12-30T00:00:00Z"}
    key_type: {description: Algorithm and size., type: str, returned: when it exists, sample: EC P-256}
    certificate_id: {description: SHA-256 of the DER in lower-case hexadecimal., type: str, returned: when it exists}
    fingerprint_sha256: {description: The same in the style of openssl., type: str, returned: when it exists}
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_authority, run_module

SUBJECT_PARTS = ("country", "state", "locality", "organizational_unit", "dn_qualifier")
DEFAULT_DAYS = {"root": 7300, "issuing": 3650}


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "type": {"type": "str", "choices": ["root", "issuing"], "required": True},
            "common_name": {"type": "str", "required": True},
            "organization": {"type": "str"},
            "subject": {"type": "dict", "options": {part: {"type": "str"} for part in SUBJECT_PARTS}},
            "key_profile": {"type": "str", "choices": ["ec", "rsa"], "default": "ec"},
            "days": {"type": "int"},
            "serial": {"type": "str", "choices": ["random", "sequential"], "default": "random"},
            "passphrase": {"type": "str", "no_log": True},
            "issuer_path": {"type": "path"},
            "issuer_passphrase": {"type": "str", "no_log": True},
            "key_uri": {"type": "str", "no_log": False},
        },
        required_if=[("type", "issuing", ["issuer_path"])],
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_authority(
            path=params["path"],
            authority_type=params["type"],
            common_name=params["common_name"],
            organization=params["organization"],
            subject=params["subject"],
            key_profile=params["key_profile"],
            days=params["days"] or DEFAULT_DAYS[params["type"]],
            serial_policy=params["serial"],
            passphrase=params["passphrase"],
            issuer_path=params["issuer_path"],
            issuer_passphrase=params["issuer_passphrase"],
            key_uri=params["key_uri"],
            check_mode=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
