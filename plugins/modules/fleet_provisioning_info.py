#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_provisioning_info
version_added: 0.2.0
short_description: List the devices that may ask the provisioning API, and what they were given
description:
  - Reads the table of the provisioning API, all of it unless O(names) says which devices.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  table:
    description: Name of the table, in the region of the call.
    type: str
    required: true
  names:
    description: The devices to read; default is all.
    type: list
    elements: str
  status:
    description: Only devices of this status.
    type: str
    choices: [unprovisioned, provisioning, provisioned]
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read which devices have not come yet
  iotops.fleet.fleet_provisioning_info:
    region: eu-west-1
    table: iot-global-provisioning
    status: unprovisioned
  register: awaited
"""

RETURN = r"""
devices:
  description: The devices in alphabetical order; empty where there is no such table.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: Name., type: str, sample: dev-1}
    status: {description: "V(unprovisioned), V(provisioning) or V(provisioned).", type: str, sample: provisioned}
    region: {description: Region that the device was sent to; empty before., type: str, sample: us-east-1}
    provisioned_at:
      description: When it was given its certificate (UTC); empty before.
      type: str
      sample: "2026-07-01T12:00:00"
    public_key_sha256: {description: Fingerprint of its key; empty without one., type: str, sample: 9f86d0...}
    certificate_id: {description: Certificate that it was given; empty before., type: str, sample: 3a3e0a...}
    claimed_until: {description: Epoch seconds until its request is being granted; else 0., type: int, sample: 0}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._provisioning.table import STATUSES, listed, shown
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import existing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import none_if_missing, run_module


@none_if_missing
def items(client: Any, table: str, names: list[str] | None) -> list[Item] | None:
    """The items of the names, or all; None when there is no table."""
    return listed(client, table) if names is None else existing(client, table, "thing_name", sorted(set(names)))


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    found = items(module.client("dynamodb"), module.params["table"], module.params["names"]) or []
    devices = [each for item in found if (each := shown(item))]
    wanted = module.params["status"]
    chosen = [each for each in devices if wanted in (None, each["status"])]
    return {"changed": False, "devices": sorted(chosen, key=lambda each: str(each["thing_name"]))}


def main() -> None:
    """Run the module."""
    spec: dict[str, Any] = {
        "table": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str"},
        "status": {"type": "str", "choices": list(STATUSES)},
    }
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
