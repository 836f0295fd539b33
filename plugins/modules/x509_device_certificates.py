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
    processes when that pays. Devices are named, listed in a file, or hand in certificate requests and keep their keys.
  - A device has no two live certificates unless O(renew) is set. Expired certificates are replaced.
  - The module changes nothing and fails when a device's certificate is revoked in the CA's C(index.txt), is from
    another CA, or is live there while its files are missing.
  - A run that was killed is finished by the next one. What is in C(index.txt) is not lost, and is not issued again.
options:
  path:
    description:
      - Directory of the devices' files, mode 0700; private keys are 0600.
      - With O(layout=archive) the tar file, mode 0600.
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
      - A range as in inventories stands for many names, C(dev-[000001:010000]) for ten thousand. At most a million.
    type: list
    elements: str
  devices_file:
    description:
      - File of the devices, by its suffix CSV with a header (C(.csv)), a JSON list (C(.json)) or JSON lines
        (C(.ndjson), C(.jsonl)). C(name) is the name of a device; all else goes into the manifest as it is.
    type: path
  requests:
    description:
      - Certificate requests in PEM, files of one or many, and directories of C(.csr), C(.pem) and C(.req) files.
      - The signature in a request has to be that of its key, RSA of 2048 bits or more, EC P-256 or P-384. The common
        name is the name of the device. Extensions that a request asks for are ignored.
    type: list
    elements: path
  key_type:
    description: Type of new keys. Without it EC P-256 from an EC CA, RSA 2048 from an RSA CA.
    type: str
    choices: [EC P-256, EC P-384, RSA 2048, RSA 3072, RSA 4096]
  subject:
    description:
      - Parts of the subject that new certificates have instead of the CA's.
      - The common name is the device's name, all else is as the CA has it.
    type: dict
    suboptions:
      country: {description: "C(C), the two capital letters of ISO 3166.", type: str}
      state: {description: "C(ST), a state or province.", type: str}
      locality: {description: "C(L).", type: str}
      organizational_unit: {description: "C(OU).", type: str}
      dn_qualifier: {description: "C(dnQualifier).", type: str}
    version_added: 0.3.0
  layout:
    description:
      - V(folders) makes a directory of its name, mode 0700, for each device. V(flat) puts all files into one directory.
      - V(archive) makes one tar. It is several times faster, and copies of the certificates are in the manifest instead
        of the CA's C(newcerts). More devices can be added to it, but none is replaced.
    type: str
    choices: [folders, flat, archive]
    default: folders
  manifest:
    description:
      - File with a line of JSON for each device, to register them in bulk, with C(ThingName), C(CertificatePem),
        C(CACertificatePem), C(CertificateId), C(Serial), C(NotAfter), C(IssuerFingerprint) and what O(devices_file)
        says.
      - With O(layout=archive) there always is one, by default O(path) with the suffix C(.ndjson). Keep it beside the
        tar, it tells what is in there.
    type: path
  days:
    description: Lifetime of a new certificate in days. It ends no later than the CA.
    type: int
    default: 365
  renew:
    description:
      - Issue a new certificate to each of the devices now and put it in the place of the former one. With
        O(layout=archive) to each of those that are not in the archive.
      - The former ones stay valid until they expire or are revoked; copies are in the CA's C(newcerts).
    type: bool
    default: false
  passphrase:
    description: Passphrase of the CA's private key, needed only when certificates are issued.
    type: str
  max_results:
    description: Describe at most so many devices in RV(certificates) and RV(issued). Of all there is O(manifest).
    type: int
    default: 100
  progress_path:
    description: File to which a line with the rate and the time left is added every ten seconds, and at the end.
    type: path
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

- name: Issue ten thousand certificates for a production line
  iotops.fleet.x509_device_certificates:
    path: /srv/lots/2026-11.tar
    authority: /srv/pki/intermediateCA
    names: ["dev-[000001:010000]"]
    layout: archive
    progress_path: /srv/lots/2026-11.log

- name: Sign what the factory hands in
  iotops.fleet.x509_device_certificates:
    path: /srv/pki/clients
    authority: /srv/pki/intermediateCA
    requests: [/srv/factory/requests]
    layout: flat
"""

RETURN = r"""
certificates:
  description:
    - The certificates of the first O(max_results) devices, in order. Where check mode predicts one, only its name and
      paths.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the device., type: str, returned: always, sample: dev-1}
    certificate:
      description: Path of the certificate. In an archive the name in it.
      type: str
      returned: always
      sample: /srv/pki/clients/dev-1/dev-1.cert.pem
    private_key:
      description: Path of the private key. In an archive the name in it.
      type: str
      returned: unless the device made a request
      sample: /srv/pki/clients/dev-1/dev-1.key.pem
    archive: {description: Path of the tar., type: str, returned: with O(layout=archive)}
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
count: {description: How many devices were asked for., type: int, returned: success, sample: 2}
issued_count: {description: How many got a certificate in this run or would get one., type: int, returned: success}
manifest: {description: Path of the manifest., type: str, returned: when there is one}
issued:
  description: Names of the first O(max_results) devices that got a certificate in this run, or would get one.
  returned: success
  type: list
  elements: str
  sample: [dev-2]
"""

from typing import NoReturn

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils.pki import ensure_device_certificates, run_module

SUBJECT_PARTS = ("country", "state", "locality", "organizational_unit", "dn_qualifier")


def main() -> NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "authority": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str"},
            "devices_file": {"type": "path"},
            "requests": {"type": "list", "elements": "path"},
            "key_type": {"choices": ["EC P-256", "EC P-384", "RSA 2048", "RSA 3072", "RSA 4096"]},
            "subject": {"type": "dict", "options": {part: {"type": "str"} for part in SUBJECT_PARTS}},
            "layout": {"choices": ["folders", "flat", "archive"], "default": "folders"},
            "manifest": {"type": "path"},
            "days": {"type": "int", "default": 365},
            "renew": {"type": "bool", "default": False},
            "passphrase": {"type": "str", "no_log": True},
            "max_results": {"type": "int", "default": 100},
            "progress_path": {"type": "path"},
        },
        mutually_exclusive=[("names", "devices_file", "requests")],
        required_one_of=[("names", "devices_file", "requests")],
        supports_check_mode=True,
    )
    params = module.params
    run_module(
        module,
        lambda: ensure_device_certificates(
            path=params["path"],
            authority_path=params["authority"],
            names=params["names"] or (),
            devices_file=params["devices_file"],
            requests=params["requests"] or (),
            key_type=params["key_type"],
            subject=params["subject"],
            layout=params["layout"],
            manifest=params["manifest"],
            days=params["days"],
            renew=params["renew"],
            passphrase=params["passphrase"],
            max_results=params["max_results"],
            progress_path=params["progress_path"],
            check_mode=module.check_mode,
        ),
    )


if __name__ == "__main__":
    main()
