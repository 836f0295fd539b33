#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dynamodb_table_info
short_description: Read what DynamoDB tables of one region are
version_added: 0.1.0
description:
  - Describes tables with their keys, indexes, stream and replicas; a table that does not exist is no error.
  - Can wait until the tables are there and can be used, as a new replica is some minutes after the stack was updated.
attributes:
  check_mode:
    support: full
    description: Reads only. Nothing is waited for in check mode.
  diff_mode:
    support: N/A
    description: Changes nothing, so there is nothing to show.
  idempotent:
    support: full
    description: Changes nothing.
options:
  names:
    description: Names of the tables.
    type: list
    elements: str
    required: true
  with_tags:
    description: Read the tags too, which takes one more call for each table.
    type: bool
    default: false
    version_added: 0.2.0
  wait_active:
    description: Wait until all tables exist and are active with their indexes in this region.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait, in seconds.
    type: int
    default: 1800
author: The iotops.fleet maintainers (@iotops)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Read the inventory in this region
  iotops.fleet.dynamodb_table_info:
    names: [multi-region-iot-device-inventory]
    wait_active: true
  register: inventory
"""

RETURN = r"""
tables:
  description: One entry for each name, in the order asked for.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
    region:
      description: The region that was asked.
      type: str
    exists:
      description: Whether the region has the table; without it the other keys have empty values.
      type: bool
    status:
      description: AWS's status, or V(ABSENT).
      type: str
      sample: ACTIVE
    active:
      description: Whether table and indexes can be used.
      type: bool
    arn:
      description: ARN of the table; null when there is none.
      type: str
    stream_arn:
      description: ARN of the current stream; null when there is none. Each replica has its own.
      type: str
    stream_view_type:
      description: What a stream record holds; null without a stream.
      type: str
      sample: NEW_AND_OLD_IMAGES
    key_schema:
      description: Attribute by kind of key.
      type: dict
      sample: {HASH: ThingName}
    global_secondary_indexes:
      description: Key schemas by name of the index.
      type: dict
      sample: {CertificateId: {HASH: CertificateId}}
    replicas:
      description: The regions of a global table with their status, this region among them; empty for a plain table.
      type: list
      elements: dict
      sample: [{region: eu-west-1, status: ACTIVE}, {region: us-west-2, status: ACTIVE}]
    write_capacity_units:
      description: Writes a second that are provisioned; null where the table is on demand.
      type: int
    tags:
      description: The table's tags; empty without O(with_tags).
      type: dict
      sample: {Application: multi-region-iot}
    item_count:
      description: Items, as DynamoDB counted them some hours ago.
      type: int
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._dynamodb.tables import read_tables
from ansible_collections.iotops.fleet.plugins.module_utils.aws import poll, run_module

if TYPE_CHECKING:
    from typing import NoReturn


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's answer.

    Raises:
        FleetError: the tables did not become active in time.

    """
    params, client = module.params, module.client("dynamodb")

    def pending(tables: list[dict[str, Any]]) -> str:
        return ", ".join(f"table {table['name']} ({table['status']})" for table in tables if not table["active"])

    tables = poll(
        lambda: read_tables(client, params["names"], region=str(module.region), with_tags=params["with_tags"]),
        lambda seen: not pending(seen) or module.check_mode or not params["wait_active"],
        timeout=params["wait_timeout"],
        describe=lambda seen: f"{pending(seen)} in {module.region}",
    )
    return {"changed": False, "tables": tables}


def main() -> NoReturn:
    """Run the module."""
    spec: dict[str, Any] = {
        "names": {"type": "list", "elements": "str", "required": True},
        "with_tags": {"type": "bool", "default": False},
        "wait_active": {"type": "bool", "default": False},
        "wait_timeout": {"type": "int", "default": 1800},
    }
    run_module(AnsibleAWSModule(argument_spec=spec, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
