#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_event_configurations_info
version_added: 0.1.0
short_description: Read which registry changes AWS IoT publishes as events
description:
  - Reads the event configurations of AWS IoT in one region.
author: The iotops.fleet maintainers
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.iot_event_configurations
"""

EXAMPLES = r"""
- name: Read the event configurations
  iotops.fleet.iot_event_configurations_info:
    region: eu-west-1
  register: __events
"""

RETURN = r"""
event_configurations:
  description: Every event type and whether it is on.
  type: dict
  returned: success
  sample: {"CA_CERTIFICATE": true, "JOB": false}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot.event_configurations import describe
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    return {"changed": False, "event_configurations": describe(module.client("iot"))}


def main() -> None:
    """Entry point."""
    run_module(AnsibleAWSModule(argument_spec={}, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
