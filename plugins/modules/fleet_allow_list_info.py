#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_allow_list_info
version_added: 0.2.0
short_description: List the new devices that may come in
description:
  - Reads this region's replica of the table C(allow-list).
author:
  - The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read the list
  iotops.fleet.fleet_allow_list_info:
    region: eu-west-1
    application: multi-region-iot
  register: allowed
"""

RETURN = r"""
devices:
  description: The names in alphabetical order; C(certificate_id) is empty where any certificate may come in.
  returned: always
  type: list
  elements: dict
  sample: [{thing_name: dev-1, certificate_id: ""}]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.allow_list import listed
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    entries = listed(module.client("dynamodb"), f"{module.params['application']}-allow-list") or {}
    devices = [{"thing_name": name, "certificate_id": entries[name]} for name in sorted(entries)]
    return {"changed": False, "devices": devices}


def main() -> None:
    """Run the module."""
    spec: dict[str, Any] = {"application": {"type": "str", "required": True}}
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
