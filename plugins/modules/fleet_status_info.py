#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_status_info
version_added: 0.2.0
short_description: Count the devices of one region, and those that are not what their row says
description:
  - Reads this region's replica of the registry and its C(device-status) as a whole, in parallel segments; 100,000 rows
    are some hundreds of pages of a table.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  listed:
    description: At most so many devices that have not applied their row are listed.
    type: int
    default: 20
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
  - iotops.fleet.scans
"""

EXAMPLES = r"""
- name: Count
  iotops.fleet.fleet_status_info:
    region: us-west-2
    application: multi-region-iot
  register: counted
"""

RETURN = r"""
fleet:
  description: The counts.
  returned: always
  type: dict
  contains:
    region: {description: The region that was asked., type: str, sample: us-west-2}
    rows: {description: Rows of the registry., type: int, sample: 100000}
    states: {description: Rows by state., type: dict, sample: {ACTIVE: 99990, SUSPENDED: 10}}
    applied: {description: Devices that are what their row says., type: int, sample: 99998}
    behind: {description: Devices whose row was not applied yet., type: int, sample: 1}
    failed: {description: Devices whose row could not be applied., type: int, sample: 1}
    unfinished_certificates: {description: Registrations that failed., type: int, sample: 0}
    late:
      description: The first of those behind or failed, by name.
      type: list
      elements: dict
      sample: [{thing_name: dev-7, since: "2026-01-31T12:00:00Z", lag: "version 2 is not applied, 1 is"}]
    dead_letters:
      description: Messages in the queue of dead letters, as SQS estimates; null when there is no such queue.
      type: int
      sample: 0
    rejections: {description: Certificates that were rejected., type: int, sample: 0}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import waiting
from ansible_collections.iotops.fleet.plugins.module_utils._registry.survey import ROW, STATUS, Scan, count
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "listed": {"type": "int", "default": 20},
    "segments": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer.

    Raises:
        FleetError: no segments.

    """
    params = module.params
    if params["segments"] < 1:
        raise FleetError(f"segments={params['segments']} is less than 1: set 1 or more")
    application = params["application"]
    scan = Scan(
        module.client("dynamodb"),
        params["segments"],
        lambda line: write_progress(params["progress_path"], f"{module.region} {line}"),
    )
    rows = list(scan.items(f"{application}-device-inventory", ROW))  # read first: see count()
    fleet = count(rows, scan.items(f"{application}-device-status", STATUS), listed=params["listed"])
    return {
        "changed": False,
        "fleet": {
            "region": module.region,
            **fleet,
            "dead_letters": waiting(module.client("sqs"), f"{application}-dead-letters"),
            "rejections": sum(1 for _each in scan.items(f"{application}-rejections", ["CertificateId"])),
        },
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
