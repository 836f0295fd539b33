#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_backfill_info
version_added: 0.2.0
short_description: Tell whether a region has to be backfilled, and what that takes
description:
  - Without O(store), tells in two reads whether devices find the region by the fleet's name, and whether its replica of
    the registry has rows. A region that has rows and is not in DNS has to apply them first.
  - With O(store), reckons what a check of this region found that is not applied, and asks AWS for quotas only.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  store:
    description: File of a finished check of this region, as M(iotops.fleet.fleet_replication_info) leaves it.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
seealso:
  - module: iotops.fleet.fleet_replication_info
  - module: iotops.fleet.fleet_replication
"""

EXAMPLES = r"""
- name: Do devices find this region, and is there anything that it has to apply before?
  iotops.fleet.fleet_backfill_info:
    region: ap-southeast-2
    application: multi-region-iot
  register: __look

- name: How long does it take to apply what was found?
  iotops.fleet.fleet_backfill_info:
    region: ap-southeast-2
    application: multi-region-iot
    store: replication/ap-southeast-2-rows.sqlite
"""

RETURN = r"""
region:
  description: What there is.
  returned: without O(store)
  type: dict
  contains:
    in_dns:
      description: Whether the stack C(<application>-endpoint) has the record that leads devices to this region.
      type: bool
      sample: false
    has_rows: {description: Whether the replica of the registry has rows., type: bool, sample: true}
estimate:
  description: What is to be applied.
  returned: with O(store)
  type: dict
  contains:
    live: {description: Devices that are ACTIVE or SUSPENDED., type: int, sample: 1950}
    ended: {description: "Those that are REVOKED, or DELETED.", type: int, sample: 50}
    calls: {description: Calls of AWS IoT by operation at most., type: dict, sample: {CreateThing: 1950}}
    seconds: {description: How long the quotas let them take., type: float, sample: 200.0}
    binding: {description: The operation that takes longest; none without calls., type: str, sample: AttachPolicy}
    quotas: {description: Where the quotas are known from., type: str, sample: Service Quotas}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import seconds
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._replication.backfill import needed
from ansible_collections.iotops.fleet.plugins.module_utils._replication.report import finished
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call, error_code, none_if_missing, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "store": {"type": "path"},
}
RECORD = "Record"  # of files/cloudformation/endpoint.yaml
THERE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_FAILED")


@api_call("describe the record of the endpoint")
def describe_record(cloudformation: Any, stack: str) -> str:
    """Return the status of the stack's record."""
    described = cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId=RECORD)
    return str(described["StackResourceDetail"]["ResourceStatus"])


def is_in_dns(cloudformation: Any, stack: str) -> bool:
    """Whether the stack has the record; AWS answers that a stack or a resource does not exist in one way."""
    try:
        return describe_record(cloudformation, stack) in THERE
    except AnsibleAWSError as error:
        if error_code(error) != "ValidationError":
            raise
        return False


@none_if_missing
@api_call("look for rows of the registry")
def first_rows(dynamodb: Any, table: str) -> int | None:
    """Return 1 when the table has items and 0 when it has none; None when there is no such table."""
    return int(dynamodb.scan(TableName=table, Limit=1, Select="COUNT")["Count"])


def look(module: AnsibleAWSModule) -> dict[str, bool]:
    """Return whether devices find the region, and whether there are rows."""
    application = module.params["application"]
    return {
        "in_dns": is_in_dns(module.client("cloudformation"), f"{application}-endpoint"),
        "has_rows": bool(first_rows(module.client("dynamodb"), f"{application}-device-inventory")),
    }


def estimate(module: AnsibleAWSModule, path: str) -> dict[str, Any]:
    """Return what it takes to apply what the check in the file has found.

    Raises:
        FleetError: no finished check of this region.

    """
    region = str(module.region)
    devices, calls = needed(finished(path, region))
    quotas = read_quotas(module.client("service-quotas"), region, calls)
    taken, binding = seconds(calls, quotas)
    return {**devices, "calls": calls, "seconds": round(taken, 1), "binding": binding, "quotas": quotas.source}


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    path = module.params["store"]
    found = {"estimate": estimate(module, path)} if path else {"region": look(module)}
    return {"changed": False, **found}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
