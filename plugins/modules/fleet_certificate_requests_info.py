#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_certificate_requests_info
version_added: 0.3.0
short_description: List what devices of one region wait to have signed
description:
  - Reads the region's table C(certificate-requests).
author:
  - The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
requirements: [cryptography >= 43]
seealso:
  - module: iotops.fleet.fleet_certificate_requests
"""

EXAMPLES = r"""
- name: See who waits
  iotops.fleet.fleet_certificate_requests_info:
    region: eu-west-1
    application: multi-region-iot
  register: found
"""

RETURN = r"""
requests:
  description: The requests, the oldest first; none where the region keeps none.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The device., type: str, sample: dev-1}
    job_id: {description: Its job., type: str, sample: multi-region-iot-rotate-7}
    principal: {description: The certificate of the connection that it came over., type: str, sample: 3a3e}
    requested_at: {description: When (RFC 3339)., type: str, sample: "2026-01-31T12:00:00Z"}
    csr: {description: The request in PEM., type: str, sample: "-----BEGIN CERTIFICATE REQUEST-----..."}
"""

import traceback
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._rotation.desk import waiting_requests
except ImportError:
    MISSING_LIBRARY = traceback.format_exc()


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    found = waiting_requests(module.client("dynamodb"), module.params["application"])
    return {"changed": False, "requests": [asdict(each) for each in found]}


def main() -> None:
    """Run the module."""
    spec: dict[str, dict[str, Any]] = {"application": {"type": "str", "required": True}}
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    if MISSING_LIBRARY:
        module.fail_json(msg=missing_required_lib("cryptography >= 43"), exception=MISSING_LIBRARY)
    run_module(module, read)


if __name__ == "__main__":
    main()
