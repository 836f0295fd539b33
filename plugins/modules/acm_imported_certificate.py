#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: acm_imported_certificate
version_added: 0.1.0
short_description: Keep a certificate of one's own in AWS Certificate Manager
description:
  - Imports a certificate with its key and its chain into AWS Certificate Manager of one region, tags included, in one
    call.
  - When leaf or chain changed it is imported anew under the same ARN, so that whatever uses it goes on using it. What
    AWS would not take up under that ARN is refused before any call.
  - The certificate is found by O(certificate_arn), else by the tag C(Name) among the imported ones; else an imported
    one without that tag and with exactly the same names is adopted.
  - A certificate is deleted with O(state=absent) only.
author: The iotops.fleet maintainers
options:
  state:
    description: Whether the certificate is there.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Value of the tag C(Name), which tells our certificate from others.
    type: str
  certificate_arn:
    description: ARN of a certificate that exists. One of O(name) and O(certificate_arn) is needed.
    type: str
  certificate_path:
    description:
      - Path of the certificate in PEM form, without its chain. Needed for O(state=present).
      - In check mode files that are not there yet count as a certificate that would be imported.
    type: path
  private_key_path:
    description: Path of its private key in PEM form, without passphrase. Needed for O(state=present).
    type: path
  chain_path:
    description: Path of the chain in PEM form, the issuing CA first and the root last. Needed unless self-signed.
    type: path
  tags:
    description: Further tags. Without this option they stay as they are; C(Name) is set from O(name).
    type: dict
  purge_tags:
    description: Whether tags that O(tags) does not name are removed.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait until AWS shows the change, or until nothing uses a certificate to delete.
    type: int
    default: 120
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Shows names, validity, key, fingerprints and tags before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: iotops.fleet.acm_imported_certificate_info
  - name: Reimport a certificate
    description: What AWS keeps and what it refuses.
    link: https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html
"""

EXAMPLES = r"""
- name: Import the server certificate, or the renewed one under the same ARN
  iotops.fleet.acm_imported_certificate:
    region: eu-west-1
    name: multi-region-iot-server
    certificate_path: pki/server/certs/server.cert.pem
    private_key_path: pki/server/private/server.key.pem
    chain_path: pki/intermediateCA/certs/ca-chain.cert.pem
    tags:
      Application: multi-region-iot

- name: Delete it once nothing uses it
  iotops.fleet.acm_imported_certificate:
    region: eu-west-1
    name: multi-region-iot-server
    state: absent
"""

RETURN = r"""
certificate:
  description:
    - The certificate as AWS describes it, snake-cased; in check mode as it would be. Null when it is absent.
    - The private key is never part of it.
  type: dict
  returned: success
  contains:
    certificate_arn:
      description: ARN; absent in the prediction of a first import.
      type: str
      sample: arn:aws:acm:eu-west-1:123456789012:certificate/0f0e...
    certificate:
      description: The certificate.
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    certificate_chain:
      description: Its chain.
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    domain_name:
      description: First name.
      type: str
      sample: iot.example.com
    subject_alternative_names:
      description: All names.
      type: list
      elements: str
      sample: [iot.example.com]
    serial:
      description: Serial number.
      type: str
      sample: "10:00"
    not_after:
      description: When it expires.
      type: str
      sample: "2027-02-10T12:00:00+00:00"
    key_algorithm:
      description: Type and size of the key.
      type: str
      sample: EC_prime256v1
    in_use_by:
      description: ARNs of what uses it.
      type: list
      elements: str
      sample: []
    tags:
      description: Its tags.
      type: dict
      sample: {"Name": "multi-region-iot-server"}
reasons:
  description: What differed, any of V(imported), V(leaf changed), V(chain changed), V(tags changed), V(deleted).
  type: list
  elements: str
  returned: success
  sample: [leaf changed]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._acm.imported import (
    Identity,
    ensure_absent,
    ensure_present,
)
from ansible_collections.iotops.fleet.plugins.module_utils._acm.material import Material
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprints, is_missing, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

SHOWN = ("certificate_arn", "key_algorithm", "not_after", "subject_alternative_names", "tags")


def shown(certificate: dict[str, Any] | None) -> dict[str, Any]:
    """The part of a certificate that a diff shows."""
    if not certificate:
        return {}
    fitting = {key: certificate[key] for key in SHOWN if key in certificate}
    return {
        **fitting,
        "fingerprint": fingerprints(certificate.get("certificate", "")),
        "chain_fingerprints": fingerprints(certificate.get("certificate_chain", "")),
    }


def result(before: dict[str, Any] | None, after: dict[str, Any] | None, reasons: list[str]) -> dict[str, Any]:
    """The module's result."""
    return {
        "changed": bool(reasons),
        "certificate": after,
        "reasons": reasons,
        "diff": {"before": shown(before), "after": shown(after)},
    }


def present(module: AnsibleAWSModule, identity: Identity) -> dict[str, Any]:
    """Import what is not there, or not as it is in the files."""
    params = module.params
    paths = [params[option] for option in ("certificate_path", "private_key_path", "chain_path") if params[option]]
    if module.check_mode and any(is_missing(path) for path in paths):
        tags = {**(params["tags"] or {}), **({"Name": identity.name} if identity.name else {})}
        return result(None, {"tags": tags, "type": "IMPORTED"}, ["imported"])
    material = Material(
        certificate=read_text(params["certificate_path"], option="certificate_path"),
        private_key=read_text(params["private_key_path"], option="private_key_path"),
        chain=read_text(params["chain_path"], option="chain_path") if params["chain_path"] else "",
    )
    outcome = ensure_present(
        module.client("acm"),
        identity,
        material,
        # botocore would repeat an import that was carried out, which makes a second certificate.
        importer=lambda: module.client("acm", config={"retries": {"total_max_attempts": 1}}),
        tags=params["tags"],
        purge_tags=params["purge_tags"],
        check_mode=module.check_mode,
        timeout=params["wait_timeout"],
    )
    return result(outcome.before, outcome.after, outcome.reasons)


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    identity = Identity(name=module.params["name"], arn=module.params["certificate_arn"])
    if module.params["state"] == "present":
        return present(module, identity)
    found = ensure_absent(
        module.client("acm"), identity, check_mode=module.check_mode, timeout=module.params["wait_timeout"]
    )
    return result(found[0] if found else None, None, ["deleted"] if found else [])


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str"},
            "certificate_arn": {"type": "str"},
            "certificate_path": {"type": "path"},
            "private_key_path": {"type": "path", "no_log": False},
            "chain_path": {"type": "path"},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
        },
        required_if=[("state", "present", ["certificate_path", "private_key_path"])],
        required_one_of=[("name", "certificate_arn")],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
