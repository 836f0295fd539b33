#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_claim_certificates_info
version_added: 0.3.0
short_description: List the claim certificates of a fleet in one region
description:
  - Lists the certificates that carry the policy C(<application>-claim), whoever made them.
author:
  - The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.fleet_claim_certificates
"""

EXAMPLES = r"""
- name: Read which claim certificates there are
  iotops.fleet.fleet_claim_certificates_info:
    region: eu-west-1
    application: multi-region-iot
  register: claims
"""

RETURN = r"""
certificates:
  description: The certificates by id.
  returned: always
  type: list
  elements: dict
  contains:
    certificate_id: {description: Its id., type: str, sample: 4f3c0d...}
    status: {description: "V(ACTIVE), or V(INACTIVE) of one that was withdrawn.", type: str, sample: ACTIVE}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._devices.claims import claim_certificates
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    found = claim_certificates(module.client("iot"), module.params["application"])
    shown = [{"certificate_id": each.certificate_id, "status": each.status} for each in found]
    return {"changed": False, "certificates": shown}


def main() -> None:
    """Run the module."""
    spec: dict[str, Any] = {"application": {"type": "str", "required": True}}
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
