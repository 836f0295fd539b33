#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_rejection_info
version_added: 0.2.0
short_description: List the certificates that were not let in, with the reasons
description:
  - Reads this region's replica of the table C(rejections). Rejections are forgotten after 90 days.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  certificate_id:
    description: List this one only.
    type: str
  thing_name:
    description: List those with this name only.
    type: str
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: List what was rejected
  iotops.fleet.fleet_rejection_info:
    region: eu-west-1
    application: multi-region-iot
  register: found
"""

RETURN = r"""
rejections:
  description: The rejections, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    certificate_id: {description: SHA-256 of the certificate., type: str}
    thing_name: {description: "Its common name; empty when that is no thing name.", type: str, sample: dev-1}
    reason: {description: Why., type: str, sample: its issuer is not one of ours}
    region: {description: Where it was rejected., type: str, sample: eu-west-1}
    rejected_at: {description: When (RFC 3339)., type: str, sample: "2026-01-31T12:00:00Z"}
    expires_at: {description: When the rejection is forgotten (RFC 3339)., type: str, sample: "2026-05-01T12:00:00Z"}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rejections import find
from ansible_collections.iotops.fleet.plugins.module_utils._registry.release import shown
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "certificate_id": {"type": "str"},
    "thing_name": {"type": "str"},
}


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    table = f"{module.params['application']}-rejections"
    chosen = {name: module.params[name] for name in ("certificate_id", "thing_name")}
    found = find(module.client("dynamodb"), table, **chosen)
    return {"changed": False, "rejections": [shown(each) for each in found]}


def main() -> None:
    """Run the module."""
    run_module(
        AnsibleAWSModule(
            argument_spec=ARGUMENT_SPEC,
            mutually_exclusive=[("certificate_id", "thing_name")],
            supports_check_mode=True,
        ),
        read,
    )


if __name__ == "__main__":
    main()
