#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_domain_configuration_info
version_added: 0.2.0
short_description: Read a domain configuration of AWS IoT
description:
  - Reads what AWS IoT says of one domain configuration of one region, among it whether it could take up the certificate
    that it is to serve.
author: The iotops.fleet maintainers
options:
  name:
    description: Name of the domain configuration.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.reads
seealso:
  - name: DescribeDomainConfiguration
    description: What each field means.
    link: https://docs.aws.amazon.com/iot/latest/apireference/API_DescribeDomainConfiguration.html
"""

EXAMPLES = r"""
- name: Is the server certificate valid for AWS IoT?
  iotops.fleet.iot_domain_configuration_info:
    region: eu-west-1
    name: multi-region-iot-primary
  register: __domain
"""

RETURN = r"""
domain_configurations:
  description: The domain configuration as AWS describes it, snake-cased; an empty list when there is none.
  returned: success
  type: list
  elements: dict
  contains:
    domain_name: {description: The name that devices know., type: str, sample: iot.example.com}
    domain_configuration_status: {description: ENABLED or DISABLED., type: str, sample: ENABLED}
    server_certificates:
      description: What is served; an invalid one leaves the last valid one being served.
      type: list
      elements: dict
      sample:
        - server_certificate_arn: arn:aws:acm:eu-west-1:123456789012:certificate/0f0e...
          server_certificate_status: VALID
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, none_if_missing, run_module, snake


@none_if_missing
@api_call("describe a domain configuration of AWS IoT")
def describe(iot: Any, name: str) -> dict[str, Any]:
    """The domain configuration; None when there is none."""
    answer = iot.describe_domain_configuration(domainConfigurationName=name)
    answer.pop("ResponseMetadata", None)
    return snake(answer)


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    found = describe(module.client("iot"), module.params["name"])
    return {"changed": False, "domain_configurations": [found] if found else []}


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(argument_spec={"name": {"type": "str", "required": True}}, supports_check_mode=True)
    run_module(module, body)


if __name__ == "__main__":
    main()
