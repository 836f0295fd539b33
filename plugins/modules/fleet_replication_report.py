#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_replication_report
version_added: 0.2.0
short_description: Put the checks of several regions together
description:
  - Reads what M(iotops.fleet.fleet_replication_info) kept of each region, and calls nobody.
  - Compares the regions' replicas of the registry with each other. A row that a region lacks, or has an older version
    of, is a fault of the region that has the newer one, since writing it again there is what puts it right.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  stores:
    description: The files of O(iotops.fleet.fleet_replication_info#module:store), by region.
    type: dict
    required: true
  json_path:
    description: File that gets the counts of each region and every fault, as JSON.
    type: path
  csv_path:
    description: File that gets every fault as a line.
    type: path
  listed:
    description: At most so many faults of each region are in the answer.
    type: int
    default: 20
extends_documentation_fragment:
  - iotops.fleet.reads
notes:
  - The files of O(json_path) and O(csv_path) are written anew each time, and count as no change.
seealso:
  - module: iotops.fleet.fleet_replication_info
"""

EXAMPLES = r"""
- name: Report
  iotops.fleet.fleet_replication_report:
    stores: {eu-west-1: replication/eu-west-1.sqlite, us-west-2: replication/us-west-2.sqlite}
    csv_path: faults.csv
  run_once: true
"""

RETURN = r"""
regions:
  description: What was found in each region, as in RV(iotops.fleet.fleet_replication_info#module:replication).
  returned: always
  type: dict
  sample: {us-west-2: {devices: 100000, faulty_devices: 2, faults: {policy_missing: 2}}}
faults:
  description: The numbers of faults by region and kind.
  returned: always
  type: dict
  sample: {eu-west-1: {}, us-west-2: {policy_missing: 2}}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.iotops.fleet.plugins.module_utils._replication.check import summary
from ansible_collections.iotops.fleet.plugins.module_utils._replication.report import (
    compare_rows,
    finished,
    write_csv,
    write_json,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "stores": {"type": "dict", "required": True},
    "json_path": {"type": "path"},
    "csv_path": {"type": "path"},
    "listed": {"type": "int", "default": 20},
}


def report(module: AnsibleModule) -> dict[str, Any]:
    """Return the module's answer."""
    params = module.params
    stores = {region: finished(path, region) for region, path in sorted(params["stores"].items())}
    compare_rows(stores)
    summaries = {region: summary(store, listed=params["listed"]) for region, store in stores.items()}
    if params["json_path"]:
        write_json(stores, summaries, params["json_path"])
    if params["csv_path"]:
        write_csv(stores, params["csv_path"])
    for store in stores.values():
        store.close()
    faults = {region: found["faults"] for region, found in summaries.items()}
    return {"changed": False, "regions": summaries, "faults": faults}


def main() -> None:
    """Run the module."""
    run_module(AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), report)


if __name__ == "__main__":
    main()
