#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_claim_certificates
version_added: 0.3.0
short_description: Remove all claim certificates of a fleet from one region
description:
  - Deactivates, detaches and deletes every certificate that carries the policy C(<application>-claim), whoever made it.
    From then on no device is provisioned with a claim here.
  - Devices that came in with a claim have certificates of their own and are not touched.
  - A run that was killed is finished by running it again.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description: V(absent) removes them.
    type: str
    choices: [absent]
    required: true
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
    description: Names what would be removed.
  diff_mode:
    support: full
    description: Shows the ids before and after.
  idempotent:
    support: full
    description: A region without claim certificates is left as it is.
seealso:
  - module: iotops.fleet.fleet_claim_certificates_info
  - module: iotops.fleet.iot_certificate
"""

EXAMPLES = r"""
- name: Let no device come in with a claim here
  iotops.fleet.fleet_claim_certificates:
    region: us-west-2
    application: multi-region-iot
    state: absent
"""

RETURN = r"""
certificate_ids:
  description: Ids of the certificates that were removed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: [4f3c0d...]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._devices.claims import claim_certificates
from ansible_collections.iotops.fleet.plugins.module_utils._devices.removal import Devices, Removal
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent"], "required": True},
    "timeout": {"type": "int", "default": 120},
}


def remove_all(module: AnsibleAWSModule) -> dict[str, Any]:
    """Remove the certificates and return the module's result."""
    iot = module.client("iot")
    found = claim_certificates(iot, module.params["application"])
    ids = [each.certificate_id for each in found]
    if found and not module.check_mode:
        removal = Removal(iot=iot, threads=1, timeout=module.params["timeout"], report=lambda _line: None)
        removal.remove(Devices(certificates=found))
    return {
        "changed": bool(ids),
        "certificate_ids": ids,
        "diff": {"before": {"certificate_ids": ids}, "after": {"certificate_ids": []}},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), remove_all)


if __name__ == "__main__":
    main()
