#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_replication
version_added: 0.2.0
short_description: Make a region's devices what the fleet's rows say
description:
  - Repairs what M(iotops.fleet.fleet_replication_info) found in one region and wrote into O(store).
  - Devices are converged by the region's state machine C(<application>-repair-devices), so many at a time. A device
    with a fault in AWS IoT is made exactly what its row says; one whose row was not applied is converged; an active
    certificate that is in no row is admitted or rejected by the rules of registration.
  - A row that another region's replica lacks, or has an older version of, is written again, which every replica gets.
    A shadow that differs is handed to record-shadow.
  - One execution repairs a region at a time. A module that was killed is run again; it finds the execution and waits
    for it. What one check found is repaired once; check again to repair what is left.
  - What belongs to the region itself (policies, CAs, event types, topic rules) is left to roles and counted in C(left).
author:
  - The iotops.fleet maintainers (@iotops)
options:
  store:
    description: File of a check that came to its end, an SQLite database.
    type: path
    required: true
  kinds:
    description: Repair these faults only; M(iotops.fleet.fleet_replication_info) says what they are. Default is all.
    type: list
    elements: str
  remove_orphans:
    description:
      - Remove things of the fleet's types that have no row in any region, too. Their certificates are set INACTIVE.
      - Be sure that the rows are complete before you do.
    type: bool
    default: false
  concurrency:
    description:
      - At most so many devices are converged at the same time. With AWS's default quotas more do not make it faster.
    type: int
    default: 30
  share:
    description:
      - The part of each quota of AWS IoT that the repair may use, more than 0 and at most 1; the rest is for live
        devices. A call that is throttled all the same is made again for two minutes.
    type: float
    default: 0.9
  wait:
    description: Wait for the end of the execution.
    type: bool
    default: true
  wait_timeout:
    description: So many seconds at most. The execution goes on after that, and the next run waits for it.
    type: int
    default: 86400
  listed:
    description: At most so many devices are in the diff, and in the answer those that failed.
    type: int
    default: 1000
  progress_path:
    description: File to which a line is added whenever the execution has come on.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Tells what would be done, and how long it takes.
  diff_mode:
    support: full
    description: Shows the faults before, and who repairs them after.
  idempotent:
    support: full
    description: What a check found is repaired once.
seealso:
  - module: iotops.fleet.fleet_replication_info
"""

EXAMPLES = r"""
- name: Repair what the check found
  iotops.fleet.fleet_replication:
    region: us-west-2
    application: multi-region-iot
    store: replication/us-west-2.sqlite

- name: Apply the rows that were not applied, as in a region that is new
  iotops.fleet.fleet_replication:
    region: eu-central-1
    application: multi-region-iot
    store: replication/eu-central-1.sqlite
    kinds: [not_applied, failed]
    share: 0.5
"""

RETURN = r"""
estimate:
  description: What the repair calls, and how long that takes.
  returned: always
  type: dict
  contains:
    devices: {description: Devices and certificates that the state machine takes., type: int, sample: 120}
    calls: {description: Calls of AWS IoT by operation at most., type: dict, sample: {AttachPolicy: 120}}
    seconds: {description: How long the quotas let them take at most., type: float, sample: 12.0}
    binding: {description: The operation that takes longest; none without calls., type: str, sample: UpdateCertificate}
    quotas: {description: Where the quotas are known from., type: str, sample: Service Quotas}
repair:
  description: What was done; in check mode what would be done.
  returned: always
  type: dict
  contains:
    run: {description: Name of the repair., type: str, sample: 20260131T120000Z-0a1b2c3d}
    execution: {description: ARN of the execution; empty where none was needed., type: str}
    resumed: {description: Whether it had been started before., type: bool, sample: false}
    finished: {description: Whether it came to its end., type: bool, sample: true}
    devices: {description: Devices and certificates that it took., type: int, sample: 120}
    repaired: {description: Those that are what their rows say now., type: int, sample: 119}
    failed: {description: How many could not be repaired., type: int, sample: 1}
    failures:
      description: The first of those.
      type: list
      elements: dict
      sample: [{thing_name: dev-7, certificate_id: "", reason: "Iot.LimitExceededException: 10 policies"}]
    rows: {description: Rows that were written again., type: int, sample: 0}
    shadows: {description: Shadows that record-shadow was told of., type: int, sample: 0}
    left: {description: Faults that were not repaired by kind., type: dict, sample: {orphan_thing: 2}}
"""

from collections.abc import Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import seconds
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._replication import repairs
from ansible_collections.iotops.fleet.plugins.module_utils._replication.execution import Machine
from ansible_collections.iotops.fleet.plugins.module_utils._replication.repairing import Repair
from ansible_collections.iotops.fleet.plugins.module_utils._replication.report import finished
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "store": {"type": "path", "required": True},
    "kinds": {"type": "list", "elements": "str"},
    "remove_orphans": {"type": "bool", "default": False},
    "concurrency": {"type": "int", "default": 30},
    "share": {"type": "float", "default": 0.9},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 86400},
    "listed": {"type": "int", "default": 1000},
    "progress_path": {"type": "path"},
}
SERVICES = ("dynamodb", "s3", "sqs", "stepfunctions")


def require(params: dict[str, Any]) -> None:
    """Refuse what cannot be meant.

    Raises:
        FleetError: a number out of its range, or a kind that is not repaired here.

    """
    for name, least in (("concurrency", 1), ("wait_timeout", 1), ("listed", 0)):
        if params[name] < least:
            raise FleetError(f"{name}={params[name]} is less than {least}: set {least} or more")
    if not 0 < params["share"] <= 1:
        raise FleetError(f"share={params['share']:g} is not a part of a quota: set more than 0 and at most 1")
    if unknown := sorted(set(params["kinds"] or []) - set(repairs.REPAIRED)):
        raise FleetError(f"kinds={','.join(unknown)} is not repaired here: choose of {', '.join(repairs.REPAIRED)}")


def finished_store(params: dict[str, Any], region: str) -> Store:
    """Return the check, which has to be one of this application and region.

    Raises:
        FleetError: it was interrupted, or is of something else.

    """
    store = finished(params["store"], region)
    for name, wanted in (("application", params["application"]), ("region", region)):
        if (found := store.scope()[name]) != wanted:
            raise FleetError(f"store={params['store']} is a check of {name} {found}, not {wanted}: give the right file")
    return store


def repair_of(module: AnsibleAWSModule, store: Store, rates: Mapping[str, float]) -> Repair:
    """Return who repairs; clients are made here, as making them in threads is not safe."""
    clients = {service: module.client(service) for service in SERVICES}
    params, region = module.params, str(module.region)
    partition, account = partition_and_account(module.client("sts"))
    machine = f"arn:{partition}:states:{region}:{account}:stateMachine:{params['application']}-repair-devices"
    kinds = tuple(params["kinds"] or repairs.REPAIRED)
    return Repair(
        client=clients.__getitem__,
        store=store,
        plan=repairs.Plan(store.faults, kinds, params["remove_orphans"]),
        machine=Machine(clients.__getitem__, machine, f"{params['application']}-{account}-{region}-artifacts"),
        application=params["application"],
        rates=rates,
        concurrency=params["concurrency"],
        timeout=params["wait_timeout"] if params["wait"] else 0,
        progress_path=params["progress_path"],
    )


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Repair the region and return the module's result."""
    params, region = module.params, str(module.region)
    require(params)
    store = finished_store(params, region)
    quotas = read_quotas(module.client("service-quotas"), region, repairs.OPERATIONS)
    rates = {operation: rate * params["share"] for operation, rate in quotas.per_second.items()}
    repair = repair_of(module, store, rates)
    devices, calls = repair.calls()
    taken, binding = seconds(calls, quotas, params["share"])
    before, after = repair.shown(params["listed"])
    changed, done = repair.foreseen() if module.check_mode else repair.run(params["listed"])
    return {
        "changed": changed,
        "estimate": {
            "devices": devices,
            "calls": calls,
            "seconds": round(taken, 1),
            "binding": binding,
            "quotas": quotas.source,
        },
        "repair": done,
        "diff": {"before": before, "after": after} if changed else {"before": "", "after": ""},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), ensure)


if __name__ == "__main__":
    main()
