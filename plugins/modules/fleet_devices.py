#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_devices
version_added: 0.1.0
short_description: Remove all devices of a fleet from one region
description:
  - Stops the fleet's CA from registering devices, so that none comes back while others are removed. Then removes
    every thing of the fleet's thing type and every device certificate.
  - A certificate is a device's when the fleet's CA registered it, when a row of the registry names it, or when it
    carries the fleet's device policy.
  - The rows of the registry stay; they are the fleet's and not the region's.
  - A run that was killed is finished by running it again.
author:
  - The iotops.fleet maintainers
options:
  state:
    description: V(absent) removes the devices.
    type: str
    choices: [absent]
    required: true
  confirm:
    description: Must be equal to O(application), or nothing is removed. Not needed in check mode, which only counts.
    type: str
  ca_certificate_path:
    description: PEM file of the issuing CA. A file that does not exist stands for a CA that never was.
    type: path
  inventory_table:
    description: Name of the global table C(device-inventory), read in this region when it is there.
    type: str
  threads:
    description: Devices removed at the same time. AWS allows 10 certificate calls a second by default.
    type: int
    default: 8
  progress_path:
    description: File to which a line is added every ten seconds, for those who watch a large removal.
    type: path
  timeout:
    description: Seconds that AWS may take to detach one certificate.
    type: int
    default: 120
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Counts what would be removed.
  diff_mode:
    support: full
    description: Shows the counts before and after.
  idempotent:
    support: full
    description: A region without devices is left as it is.
"""

EXAMPLES = r"""
- name: Remove every device from this region
  iotops.fleet.fleet_devices:
    region: us-west-2
    state: absent
    application: multi-region-iot
    confirm: multi-region-iot
    ca_certificate_path: pki/intermediateCA/certs/issuing.cert.pem
    inventory_table: multi-region-iot-device-inventory
"""

RETURN = r"""
devices:
  description: What was found, and removed unless in check mode.
  returned: always
  type: dict
  contains:
    things: {description: Number of things., type: int, returned: always, sample: 2}
    certificates: {description: Number of certificates., type: int, returned: always, sample: 2}
estimate:
  description: What it takes.
  returned: in check mode
  type: dict
  contains:
    calls: {description: Calls of AWS IoT by operation., type: dict, sample: {DeleteThing: 2}}
    seconds: {description: How long the quotas let them take., type: float, sample: 0.2}
    binding: {description: The operation that takes longest; none without calls., type: str, sample: DeleteCertificate}
    quotas: {description: Where the quotas are known from., type: str, sample: Service Quotas}
auto_registration_stopped:
  description: Whether the CA registered devices by itself until now.
  returned: always
  type: bool
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import stop_auto_registration
from ansible_collections.iotops.fleet.plugins.module_utils._devices.removal import Devices, Removal, find_devices
from ansible_collections.iotops.fleet.plugins.module_utils._iot import ca_certificates
from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import seconds
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import certificate_ids
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, is_missing, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["absent"], "required": True},
    "application": {"type": "str", "required": True},
    "confirm": {"type": "str"},
    "ca_certificate_path": {"type": "path"},
    "inventory_table": {"type": "str"},
    "threads": {"type": "int", "default": 8},
    "progress_path": {"type": "path"},
    "timeout": {"type": "int", "default": 120},
}


def require_sense(params: dict[str, Any], *, check_mode: bool) -> None:
    """Check the inputs that a wrong value makes dangerous.

    Raises:
        FleetError: not confirmed, or no threads.

    """
    application, confirm = params["application"], params["confirm"]
    if not check_mode and confirm != application:
        raise FleetError(
            f"confirm={confirm or ''} is not {application}: nothing was removed; set it to remove all devices"
        )
    if params["threads"] < 1:
        raise FleetError(f"threads={params['threads']} is less than 1: set 1 or more")


def registered_ca(iot: Any, path: str | None) -> dict[str, Any] | None:
    """Return AWS's description of the CA in the file, or None where it is not registered or there is no file."""
    if path is None or is_missing(path):
        return None
    return ca_certificates.find(iot, fingerprint(read_text(path, option="ca_certificate_path")))


def known_certificates(module: AnsibleAWSModule) -> set[str]:
    """Return the certificate ids that the registry's rows name, none where there is no table."""
    table = module.params["inventory_table"]
    return (certificate_ids(module.client("dynamodb"), table) or set()) if table else set()


def estimated(module: AnsibleAWSModule, devices: Devices) -> dict[str, Any]:
    """Return what the removal calls, and how long the quotas let that take."""
    quotas = read_quotas(module.client("service-quotas"), str(module.region), devices.removal_calls)
    taken, binding = seconds(devices.removal_calls, quotas)
    return {
        "calls": devices.removal_calls,
        "seconds": round(taken, 1),
        "binding": binding,
        "quotas": quotas.source,
    }


def remove_all(module: AnsibleAWSModule) -> dict[str, Any]:
    """Remove all devices and return the module's result."""
    params = module.params
    require_sense(params, check_mode=module.check_mode)
    iot = module.client("iot")
    ca = registered_ca(iot, params["ca_certificate_path"]) or {}
    auto_registration = ca.get("autoRegistrationStatus") == "ENABLE"
    if auto_registration and not module.check_mode:
        stop_auto_registration(iot, ca["certificateId"])
    devices = find_devices(
        iot,
        name=f"{params['application']}-device",
        ca_certificate_id=ca.get("certificateId"),
        known_ids=known_certificates(module),
    )
    if not module.check_mode:
        Removal(
            iot=iot,
            threads=params["threads"],
            timeout=params["timeout"],
            report=lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
        ).remove(devices)
    return {
        "changed": auto_registration or devices != Devices(),
        "devices": devices.counts,
        "auto_registration_stopped": auto_registration,
        "diff": {"before": devices.counts, "after": Devices().counts},
        **({"estimate": estimated(module, devices)} if module.check_mode else {}),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    run_module(module, remove_all)


if __name__ == "__main__":
    main()
