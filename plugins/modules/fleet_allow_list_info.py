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
  description: The names in alphabetical order. Texts are empty where there is nothing to tell.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The name., type: str, sample: dev-1}
    certificate_id: {description: The one certificate that may come in; empty for any., type: str, sample: ""}
    claimed_by: {description: The certificate that took the name with a claim., type: str, sample: ""}
    claimed_at: {description: When., type: str, sample: "2026-07-01T12:00:00Z"}
    claimed_in: {description: In which region., type: str, sample: us-west-2}
    given_again_at: {description: When the name was given again for a claim., type: str, sample: ""}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.allow_list import every, shown
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    items = every(module.client("dynamodb"), f"{module.params['application']}-allow-list") or []
    return {"changed": False, "devices": sorted(map(shown, items), key=lambda each: each["thing_name"])}


def main() -> None:
    """Run the module."""
    spec: dict[str, Any] = {"application": {"type": "str", "required": True}}
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
