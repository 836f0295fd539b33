#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_ca_certificate
version_added: 0.1.0
short_description: Register a CA certificate in AWS IoT, so that devices it signed can register themselves
description:
  - Registers the CA that signs device certificates in one region, active and with automatic registration.
  - The CA is known by its certificate and not by its id, since ids belong to a region. One that was registered by hand
    is adopted.
  - Removing it first stops new registrations, then deactivates it, then deletes it. Devices that are registered
    already go on working.
author: The iotops.fleet maintainers
options:
  state:
    description: Whether the CA is registered.
    type: str
    choices: [present, absent]
    default: present
  certificate_path:
    description:
      - Path of the CA certificate in PEM form. Exactly one of O(certificate_path) and O(certificate) is needed.
      - In check mode a file that is not there yet counts as a CA that would be registered.
    type: path
  certificate:
    description: The CA certificate itself, in PEM form.
    type: str
  mode:
    description:
      - V(SNI_ONLY) needs no proof of possession and lets many accounts of a region share the CA; devices must send
        the server name.
      - V(DEFAULT) signs AWS's registration code with the CA's key; the CA then belongs to one account per region.
      - AWS cannot change the mode of a registered CA.
    type: str
    choices: [SNI_ONLY, DEFAULT]
    default: SNI_ONLY
  private_key_path:
    description:
      - Path of the CA's private key in PEM form, or of a file with its PKCS#11 URI where it is in a token.
      - Needed for O(mode=DEFAULT); it never leaves the controller.
    type: path
  private_key_passphrase:
    description: Passphrase of the private key, or PIN of its token.
    type: str
  status:
    description: Whether AWS IoT accepts the CA.
    type: str
    choices: [ACTIVE, INACTIVE]
    default: ACTIVE
  auto_registration:
    description: Whether a device with an unknown certificate of this CA is registered when it connects.
    type: bool
    default: true
  provisioning_template:
    description:
      - Name of the provisioning template of type JITP that makes thing and attachments of an unknown device of this CA,
        and activates its certificate, when it connects. It needs O(auto_registration).
      - An empty name removes the template. Without this option it stays as it is.
    type: str
    version_added: 0.3.0
  adopt_template:
    description:
      - Whether a CA that has a provisioning template is touched. With V(false) here and without
        O(provisioning_template) such a CA is refused before anything is changed.
    type: bool
    default: true
    version_added: 0.3.0
  tags:
    description: Tags of the CA. Without this option they stay as they are.
    type: dict
  purge_tags:
    description: Whether tags that O(tags) does not name are removed.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait until AWS shows the change.
    type: int
    default: 60
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Shows status, automatic registration, mode, provisioning template and tags before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: iotops.fleet.iot_ca_certificate_info
  - name: Register your CA certificate
    description: The two modes in AWS's words.
    link: https://docs.aws.amazon.com/iot/latest/developerguide/register-CA-cert.html
"""

EXAMPLES = r"""
- name: Let the devices of our issuing CA register themselves
  iotops.fleet.iot_ca_certificate:
    region: eu-west-1
    certificate_path: pki/intermediateCA/certs/issuing.cert.pem
    tags:
      Application: multi-region-iot

- name: Register a CA for this account alone
  iotops.fleet.iot_ca_certificate:
    region: eu-west-1
    certificate_path: pki/intermediateCA/certs/issuing.cert.pem
    mode: DEFAULT
    private_key_path: pki/intermediateCA/private/issuing.key.pem

- name: Let AWS IoT provision the devices of a CA by a template
  iotops.fleet.iot_ca_certificate:
    region: eu-west-1
    certificate_path: pki/jitpCA/certs/issuing.cert.pem
    provisioning_template: multi-region-iot-jitp

- name: Remove the CA
  iotops.fleet.iot_ca_certificate:
    region: eu-west-1
    certificate_path: pki/intermediateCA/certs/issuing.cert.pem
    state: absent
"""

RETURN = r"""
ca_certificate:
  description: The CA as AWS describes it; in check mode as it would be. Null when it is absent.
  type: dict
  returned: success
  contains:
    certificate_id:
      description: Id in this region; absent in the prediction of a first registration.
      type: str
      sample: 4f3c0d...
    certificate_arn:
      description: ARN in this region; absent in the prediction of a first registration.
      type: str
      sample: arn:aws:iot:eu-west-1:123456789012:cacert/4f3c0d...
    status:
      description: V(ACTIVE) or V(INACTIVE).
      type: str
      sample: ACTIVE
    auto_registration_status:
      description: V(ENABLE) or V(DISABLE).
      type: str
      sample: ENABLE
    certificate_mode:
      description: V(SNI_ONLY) or V(DEFAULT).
      type: str
      sample: SNI_ONLY
    provisioning_template:
      description:
        - Name of the template that provisions its devices.
        - Empty when there is none, V((inline\)) for one that was given with the CA and has no name.
      type: str
      sample: multi-region-iot-jitp
    certificate_pem:
      description: The certificate.
      type: str
      sample: "-----BEGIN CERTIFICATE-----..."
    creation_date:
      description: When it was registered.
      type: str
      sample: "2026-01-31T12:00:00+00:00"
    fingerprint:
      description: SHA-256 of the certificate's DER, lower-case hex; the same in every region.
      type: str
      sample: 4f3c0d...
    not_after:
      description: When the CA expires.
      type: str
      sample: "2036-01-29T12:00:00Z"
    tags:
      description: Its tags.
      type: dict
      sample: {"Application": "multi-region-iot"}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_certificates import (
    ensure_absent,
    ensure_present,
)
from ansible_collections.iotops.fleet.plugins.module_utils._iot.registration import Registration
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import is_missing, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

SHOWN = (
    "certificate_id", "certificate_mode", "status", "auto_registration_status", "provisioning_template", "fingerprint",
    "tags",
)  # fmt: skip


def shown(ca: dict[str, Any] | None) -> dict[str, Any]:
    """The part of a CA that a diff shows."""
    return {key: ca[key] for key in SHOWN if key in ca} if ca else {}


def result(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    """The module's result from what was and what is."""
    diff = {"before": shown(before), "after": shown(after)}
    return {"changed": diff["before"] != diff["after"], "ca_certificate": after, "diff": diff}


def present(module: AnsibleAWSModule, certificate: str) -> dict[str, Any]:
    """Register the CA or bring it to what is wanted."""
    params = module.params
    key_path = params["private_key_path"] if params["mode"] == "DEFAULT" else None
    wanted = Registration(
        certificate=certificate,
        mode=params["mode"],
        status=params["status"],
        auto_registration=params["auto_registration"],
        provisioning_template=params["provisioning_template"],
        adopts_template=params["adopt_template"] or params["provisioning_template"] is not None,
        private_key=read_text(key_path, option="private_key_path") if key_path else None,
        passphrase=params["private_key_passphrase"],
        tags=params["tags"],
        purge_tags=params["purge_tags"],
    )
    before, after = ensure_present(
        module.client("iot"), wanted, check_mode=module.check_mode, timeout=params["wait_timeout"]
    )
    return result(before, after)


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    params = module.params
    absent = params["state"] == "absent"
    path = params["certificate_path"]
    if path and is_missing(path) and (absent or module.check_mode):
        if absent:
            module.warn(f"certificate_path: {path} does not exist, so no CA is known that could be removed")
            return result(None, None)
        predicted = {"status": params["status"], "certificate_mode": params["mode"], "tags": params["tags"] or {}}
        return result(None, predicted)
    certificate = read_text(path, option="certificate_path") if path else params["certificate"]
    if not absent:
        return present(module, certificate)
    before = ensure_absent(
        module.client("iot"), certificate, check_mode=module.check_mode, timeout=params["wait_timeout"]
    )
    return result(before, None)


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "certificate_path": {"type": "path"},
            "certificate": {"type": "str"},
            "mode": {"choices": ["SNI_ONLY", "DEFAULT"], "default": "SNI_ONLY"},
            "private_key_path": {"type": "path", "no_log": False},
            "private_key_passphrase": {"type": "str", "no_log": True},
            "status": {"choices": ["ACTIVE", "INACTIVE"], "default": "ACTIVE"},
            "auto_registration": {"type": "bool", "default": True},
            "provisioning_template": {"type": "str"},
            "adopt_template": {"type": "bool", "default": True},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 60},
        },
        mutually_exclusive=[("certificate_path", "certificate")],
        required_one_of=[("certificate_path", "certificate")],
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
