#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_device_info
version_added: 0.2.0
short_description: Read what one region knows of devices
description:
  - For each device its row in this region's replica of the registry, what the region last applied of it, and the thing
    and certificates that AWS IoT has.
  - A device that is not known is no error.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  thing_names:
    description: The devices.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Read a device
  iotops.fleet.fleet_device_info:
    region: us-west-2
    application: multi-region-iot
    thing_names: [dev-1]
  register: found
"""

RETURN = r"""
devices:
  description: One entry for each name, in the order asked for.
  returned: always
  type: list
  elements: dict
  contains:
    thing_name: {description: The name., type: str, sample: dev-1}
    region: {description: The region that was asked., type: str, sample: us-west-2}
    row: {description: "The row, as M(iotops.fleet.fleet_device) returns it; null when there is none.", type: dict}
    status:
      description: The region's C(device-status) in snake_case; null when there is none.
      type: dict
      sample: {applied_version: 3, applied_at: "2026-01-31T12:00:00Z"}
    in_sync: {description: Whether the region has applied its row., type: bool}
    lag: {description: Why it has not; empty when it has., type: str, sample: version 3 is not applied}
    thing: {description: "Thing type, attributes, groups and id; null when the region has no such thing.", type: dict}
    certificates:
      description:
        - Certificates of the row and those attached to the thing, by id.
        - C(wanted) is what the registry says of it now, empty for one that it does not know; C(status) is empty for one
          that the region does not have.
      type: dict
      sample: {3a3e0a: {wanted: ACTIVE, status: ACTIVE, attached: true, policy_names: [multi-region-iot-device]}}
"""

from datetime import UTC, datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._devices.seen import seen
from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    Row,
    effective_status,
    revocation_keys,
)
from ansible_collections.iotops.fleet.plugins.module_utils._registry.shown import shown_row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import read_status
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module, snake

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "thing_names": {"type": "list", "elements": "str", "required": True},
}


def wanted_statuses(replica: Replica, row: Row) -> dict[str, str]:
    """Return what each certificate of the row is to be now."""
    if not row:
        return {}
    revoked = replica.revoked(revocation_keys(row))
    return {each: effective_status(row, each, revoked, datetime.now(UTC)) for each in row["Certificates"]}


def device(replica: Replica, iot: Any, thing_name: str, status_table: str) -> dict[str, Any]:
    """Return one entry of the module's answer."""
    row = replica.row(thing_name)
    status = read_status(replica.client, status_table, thing_name)
    wanted = wanted_statuses(replica, row)
    found = seen(iot, thing_name, wanted)
    why = lag(row or None, status)
    return {
        "thing_name": thing_name,
        "region": replica.region,
        "row": shown_row(row) if row else None,
        "status": snake({name: value for name, value in status.items() if name != "Applied"}) if status else None,
        "in_sync": not why,
        "lag": why,
        "thing": found["thing"],
        "certificates": {
            each: {"wanted": wanted.get(each, ""), **certificate} for each, certificate in found["certificates"].items()
        },
    }


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    application = module.params["application"]
    replica = Replica(module.client("dynamodb"), application, str(module.region))
    iot, status_table = module.client("iot"), f"{application}-device-status"
    names = module.params["thing_names"]
    return {"changed": False, "devices": [device(replica, iot, name, status_table) for name in names]}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
