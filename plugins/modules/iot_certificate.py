#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_certificate
version_added: 0.3.0
short_description: Have AWS IoT sign a certificate, or register one, with its policies and things
description:
  - Manages one client certificate of AWS IoT in one region.
  - With O(csr_path) AWS IoT signs the request and the certificate is stored as O(certificate_path). A certificate that
    is there already is the one that is meant, in every region, since AWS makes another one each time it is asked.
  - A certificate that is not registered in the region is registered with its CA where AWS IoT knows it, and without
    where it does not, which is how a certificate that AWS signed in one region comes into another.
  - A certificate is INACTIVE until it is stored and has its policies and things, so that a run that is killed leaves
    nothing behind that could connect.
  - Of a device of the fleet the registry decides. Use M(iotops.fleet.fleet_device) for its certificates.
author: The iotops.fleet maintainers
options:
  state:
    description:
      - Whether the certificate is registered. V(absent) makes it INACTIVE, detaches it from things and policies, and
        deletes it. The file stays.
    type: str
    choices: [present, absent]
    default: present
  csr_path:
    description:
      - Path of a certificate signing request in PEM form, which AWS IoT signs when O(certificate_path) is not there.
      - A certificate that is there must be of the same key.
    type: path
  certificate_path:
    description:
      - Path of the certificate in PEM form. Exactly one of O(certificate_path) and O(certificate) is needed.
      - In check mode a file that is not there yet counts as a certificate that would be registered.
    type: path
  certificate:
    description: The certificate itself, in PEM form.
    type: str
  status:
    description: Its status. V(REVOKED) cannot be undone.
    type: str
    choices: [ACTIVE, INACTIVE, REVOKED]
    default: ACTIVE
  policies:
    description: Names of the policies that are attached to it. Without this option they stay as they are.
    type: list
    elements: str
  purge_policies:
    description: Whether policies that O(policies) does not name are detached.
    type: bool
    default: true
  things:
    description: Names of the things that it is attached to. Without this option they stay as they are.
    type: list
    elements: str
  purge_things:
    description: Whether it is detached from things that O(things) does not name.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait until AWS shows the change.
    type: int
    default: 60
requirements: [cryptography >= 43]
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Shows status, policies and things before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: iotops.fleet.iot_certificate_info
  - name: X.509 client certificates
    description: Certificates in AWS's words.
    link: https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html
"""

EXAMPLES = r"""
- name: Have AWS IoT sign a request
  iotops.fleet.iot_certificate:
    region: eu-west-1
    csr_path: pki/claims/lot-7/request.csr
    certificate_path: pki/claims/lot-7/cert.pem
    policies: [multi-region-iot-claim]

- name: Let the same certificate into another region
  iotops.fleet.iot_certificate:
    region: us-west-2
    certificate_path: pki/claims/lot-7/cert.pem
    policies: [multi-region-iot-claim]

- name: Remove it
  iotops.fleet.iot_certificate:
    region: us-west-2
    certificate_path: pki/claims/lot-7/cert.pem
    state: absent
"""

RETURN = r"""
certificate_id:
  description: SHA-256 of the certificate's DER; the same in every region. Null when AWS IoT has yet to make it.
  type: str
  returned: success
  sample: 4f3c0d...
certificate_arn:
  description: ARN in this region. Null when it is not registered.
  type: str
  returned: success
  sample: arn:aws:iot:eu-west-1:123456789012:cert/4f3c0d...
certificate_path:
  description: Where the certificate is. Null when it was given itself.
  type: str
  returned: success
  sample: pki/claims/lot-7/cert.pem
certificate:
  description: The certificate as AWS describes it; in check mode as it would be. Null when it is absent.
  type: dict
  returned: success
  contains:
    certificate_id: {description: Its id., type: str, sample: 4f3c0d...}
    certificate_arn: {description: "Its ARN, once it is registered.", type: str, sample: arn:aws:iot:...}
    status: {description: Its status., type: str, sample: ACTIVE}
    certificate_mode:
      description: V(DEFAULT), or V(SNI_ONLY) where it was registered without its CA or its CA has that mode.
      type: str
      sample: DEFAULT
    ca_certificate_id: {description: "Id of the CA, where it was registered with one.", type: str, sample: 77ab1e...}
    certificate_pem: {description: The certificate., type: str, sample: "-----BEGIN CERTIFICATE-----..."}
    creation_date: {description: When it was registered., type: str, sample: "2026-01-31T12:00:00Z"}
    not_after: {description: When it expires., type: str, sample: "2049-12-31T23:59:59Z"}
    policies: {description: Names of its policies., type: list, elements: str, sample: [multi-region-iot-claim]}
    things: {description: Names of its things., type: list, elements: str, sample: []}
"""

from pathlib import Path
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot import requests
from ansible_collections.iotops.fleet.plugins.module_utils._iot.certificates import (
    Wanted,
    create_from_request,
    ensure_absent,
    ensure_present,
    predicted,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import one_line
from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import write_atomic
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import (
    certificates,
    fingerprint,
    is_missing,
    read_text,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

SHOWN = ("certificate_id", "certificate_mode", "status", "policies", "things")


def shown(certificate: dict[str, Any] | None) -> dict[str, Any]:
    """The part of a certificate that a diff shows."""
    return {key: certificate[key] for key in SHOWN if key in certificate} if certificate else {}


def result(path: str | None, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    """The module's result from what was and what is."""
    diff = {"before": shown(before), "after": shown(after)}
    known = after or before or {}
    return {
        "changed": diff["before"] != diff["after"],
        "certificate_id": known.get("certificate_id"),
        "certificate_arn": known.get("certificate_arn"),
        "certificate_path": path,
        "certificate": after,
        "diff": diff,
    }


def one_certificate(pem: str) -> str:
    """The PEM text, which has to hold exactly one certificate."""
    count = len(certificates(pem, option="certificate"))
    if count > 1:
        raise FleetError(f"certificate: holds {count} certificates; give only the one of the client")
    return pem


def signed(iot: Any, request: str, path: str) -> str:
    """Have the request signed and the certificate stored."""
    if not Path(path).parent.is_dir():
        raise FleetError(f"certificate_path: there is no folder {Path(path).parent}; make it first")
    pem = create_from_request(iot, request)
    try:
        write_atomic(Path(path), pem.encode())
    except OSError as error:
        ensure_absent(iot, fingerprint(pem), check_mode=False, timeout=30)
        raise FleetError(f"certificate_path: {one_line(error)}") from error
    return pem


def present(module: AnsibleAWSModule) -> dict[str, Any]:
    """Have the certificate made, register it, or bring it to what is wanted."""
    params, iot = module.params, module.client("iot")
    path, csr_path = params["certificate_path"], params["csr_path"]
    wanted = Wanted(**{key: params[key] for key in ("status", "policies", "purge_policies", "things", "purge_things")})
    if csr_path and module.check_mode and is_missing(csr_path) and is_missing(path):
        return result(path, None, predicted(None, wanted, None))
    text = read_text(csr_path, option="csr_path") if csr_path else ""
    request = requests.load(text, where=f"csr_path: {csr_path}") if csr_path else None
    was_made = bool(path) and is_missing(path) and (request is not None or module.check_mode)
    if was_made and module.check_mode:
        return result(path, None, predicted(None, wanted, None))
    if was_made:
        pem = signed(iot, text, path)
    else:
        pem = one_certificate(read_text(path, option="certificate_path") if path else params["certificate"])
    if request is not None:
        requests.require_same_key(
            certificates(pem, option="certificate")[0], request, where=f"certificate_path: {path}"
        )
    before, after = ensure_present(iot, pem, wanted, check_mode=module.check_mode, timeout=params["wait_timeout"])
    return result(path, None if was_made else before, after)


def absent(module: AnsibleAWSModule) -> dict[str, Any]:
    """Remove the certificate from AWS IoT."""
    params, path = module.params, module.params["certificate_path"]
    if path and is_missing(path):
        module.warn(f"certificate_path: {path} does not exist, so no certificate is known that could be removed")
        return result(path, None, None)
    pem = one_certificate(read_text(path, option="certificate_path") if path else params["certificate"])
    before = ensure_absent(
        module.client("iot"), fingerprint(pem), check_mode=module.check_mode, timeout=params["wait_timeout"]
    )
    return result(path, before, None)


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    return absent(module) if module.params["state"] == "absent" else present(module)


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "csr_path": {"type": "path"},
            "certificate_path": {"type": "path"},
            "certificate": {"type": "str"},
            "status": {"choices": ["ACTIVE", "INACTIVE", "REVOKED"], "default": "ACTIVE"},
            "policies": {"type": "list", "elements": "str"},
            "purge_policies": {"type": "bool", "default": True},
            "things": {"type": "list", "elements": "str"},
            "purge_things": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 60},
        },
        mutually_exclusive=[("certificate_path", "certificate")],
        required_one_of=[("certificate_path", "certificate")],
        required_by={"csr_path": ("certificate_path",)},
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
