#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_endpoint_info
version_added: 0.1.0
short_description: Read the endpoints of AWS IoT
description:
  - Reads the account's own addresses of AWS IoT in one region. They never change.
author: The iotops.fleet maintainers
options:
  endpoint_types:
    description: Which endpoints to read.
    type: list
    elements: str
    choices: ["iot:Data-ATS", "iot:Data", "iot:CredentialProvider", "iot:Jobs"]
    default: ["iot:Data-ATS"]
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - name: DescribeEndpoint
    description: What each endpoint is for.
    link: https://docs.aws.amazon.com/iot/latest/apireference/API_DescribeEndpoint.html
"""

EXAMPLES = r"""
- name: Where do devices connect?
  iotops.fleet.iot_endpoint_info:
    region: eu-west-1
  register: __endpoint

- name: Read two endpoints
  iotops.fleet.iot_endpoint_info:
    region: eu-west-1
    endpoint_types: ["iot:Data-ATS", "iot:CredentialProvider"]
"""

RETURN = r"""
endpoints:
  description: Endpoint type and its host name.
  type: dict
  returned: success
  sample: {"iot:Data-ATS": "a1b2c3d4e5f6g7-ats.iot.eu-west-1.amazonaws.com"}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, run_module

ENDPOINT_TYPES = ["iot:Data-ATS", "iot:Data", "iot:CredentialProvider", "iot:Jobs"]


@api_call("describe an endpoint of AWS IoT")
def describe_endpoint(iot: Any, endpoint_type: str) -> str:
    """The host name of one endpoint."""
    return iot.describe_endpoint(endpointType=endpoint_type)["endpointAddress"]


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    iot = module.client("iot")
    return {
        "changed": False,
        "endpoints": {kind: describe_endpoint(iot, kind) for kind in module.params["endpoint_types"]},
    }


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "endpoint_types": {
                "type": "list",
                "elements": "str",
                "choices": ENDPOINT_TYPES,
                "default": ["iot:Data-ATS"],
            },
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
