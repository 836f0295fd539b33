#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_revocations
version_added: 0.3.0
short_description: Revoke devices and certificates in every region
description:
  - Writes the keys of the table C(revocations), which nothing takes back, and then the rows of the devices, through the
    replica of this region. Every region follows by itself; M(iotops.fleet.fleet_revocations_info) waits for that.
  - A certificate that no region has seen gets its keys only; any region, also one that is added later, refuses it.
  - Of a device whose certificates are not all named the others go on working.
  - Rows are looked for by the name in O(certificates), by the certificate's id, and at last by reading all of them.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  devices:
    description: Devices that are revoked with all their certificates and their name.
    type: list
    elements: str
    default: []
  certificates:
    description:
      - Certificates that are revoked, as M(iotops.fleet.x509_revocation) returns them.
      - One that is not RV(ignore:certificates[].named) and revoked everywhere already takes no part.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: The device., type: str, default: ""}
      certificate_id: {description: AWS IoT's id., type: str, default: ""}
      key: {description: "C(serial:<issuer>:<serial>).", type: str, default: ""}
      reason: {description: Why., type: str, default: revoked}
      named: {description: Whether somebody asked for it., type: bool, default: true}
      serial: {description: Not used., type: str}
      revoked_at: {description: Not used., type: str}
  reason:
    description: Why the devices are revoked.
    type: str
    default: ""
  threads:
    description: Calls to DynamoDB at a time.
    type: int
    default: 8
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Returns what would be revoked.
  diff_mode:
    support: full
    description: Lists what is not revoked yet.
  idempotent:
    support: full
    description: What is revoked is not written.
"""

EXAMPLES = r"""
- name: Revoke a device, and one certificate of another one
  iotops.fleet.fleet_revocations:
    region: eu-west-1
    application: multi-region-iot
    devices: [dev-1]
    certificates:
      - certificate_id: 3a3e0a0f0b8c4d1f9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb0
    reason: stolen from the depot
"""

RETURN = r"""
revocations:
  description: Every certificate that is meant, devices first. A device without certificates has one entry.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The device; empty when nobody knows., type: str, sample: dev-1}
    certificate_id: {description: The certificate; empty when nobody knows., type: str, sample: 3a3e0a}
    key: {description: "C(serial:<issuer>:<serial>), or empty.", type: str, sample: "serial:9f:5f3a"}
    reason: {description: Why., type: str, sample: stolen from the depot}
    named: {description: Whether somebody asked for it., type: bool, sample: true}
    device: {description: Whether the whole device is revoked., type: bool, sample: true}
    seen: {description: Whether a row has it., type: bool, sample: true}
    pending: {description: Whether it was not revoked before., type: bool, sample: true}
began_at:
  description: When the module began, in seconds since 1970.
  returned: always
  type: float
  sample: 1767225600.25
"""

import time
from dataclasses import asdict
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._registry.revoking import Certificate, Revoker, Target
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

CERTIFICATE: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "default": ""},
    "certificate_id": {"type": "str", "default": ""},
    "key": {"type": "str", "default": "", "no_log": False},
    "reason": {"type": "str", "default": "revoked"},
    "named": {"type": "bool", "default": True},
    "serial": {"type": "str"},
    "revoked_at": {"type": "str"},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "devices": {"type": "list", "elements": "str", "default": []},
    "certificates": {"type": "list", "elements": "dict", "options": CERTIFICATE, "default": []},
    "reason": {"type": "str", "default": ""},
    "threads": {"type": "int", "default": 8},
}


def certificates_of(params: dict[str, Any]) -> list[Certificate]:
    """Return the certificates that are meant.

    Raises:
        FleetError: one has neither an id nor a key.

    """
    if any(not (each["certificate_id"] or each["key"]) for each in params["certificates"]):
        raise FleetError("certificates: each one needs a certificate_id or a key")
    return [
        Certificate(
            thing_name=each["name"], **{name: each[name] for name in ("certificate_id", "key", "reason", "named")}
        )
        for each in params["certificates"]
    ]


def text(target: Target) -> str:
    """Return a target as a line of the diff."""
    what = target.certificate_id or target.key or "no certificate"
    return (
        f"{target.thing_name or 'unknown device'} {what}{' and the device' if target.device else ''}: {target.reason}"
    )


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Revoke what is meant and return the module's result."""
    params, began_at = module.params, time.time()
    replica = Replica(module.client("dynamodb"), params["application"], str(module.region))
    revoker = Revoker(replica, params["threads"])
    devices = list(dict.fromkeys(params["devices"]))
    targets = revoker.targets(devices, certificates_of(params), params["reason"])
    if not module.check_mode:
        revoker.revoke(targets, params["reason"])
    pending = [each for each in targets if each.pending]
    return {
        "changed": bool(pending),
        "revocations": [asdict(each) for each in targets if each.pending or each.named],
        "began_at": began_at,
        "diff": {"before": "", "after": "".join(f"{text(each)}\n" for each in pending)},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), ensure)


if __name__ == "__main__":
    main()
