#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_device_states
version_added: 0.2.0
short_description: Decide what many devices are to be in every region
description:
  - Gives the rows of many devices one state, through the replica of this region, as M(iotops.fleet.fleet_device) does
    for one. Every region makes its own registry what the rows say.
  - The rows are written no faster than a share of the quotas of AWS IoT allows, and than the regions follow; at the end
    it waits until every region has applied them.
  - A device without a row is an error, before anything is written, unless O(ignore_unknown) is true. One that cannot
    become that is left alone and named.
  - There is no other state than the rows, so a run that was killed is finished by running it again.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  names:
    description: The devices, also ranges like V(dev-[001:100]).
    type: list
    elements: str
  devices_file:
    description: Or a file of them, CSV with a column C(name), a JSON list, or JSON lines.
    type: path
  state:
    description:
      - V(ACTIVE) lets them work. V(SUSPENDED) sets their certificates INACTIVE until they are V(ACTIVE) again, and cuts
        their sessions.
      - V(DELETED) removes the things and revokes their certificates; only a release brings a name back.
      - To revoke, use M(iotops.fleet.fleet_revocations).
    type: str
    choices: [ACTIVE, SUSPENDED, DELETED]
    required: true
  reason:
    description: Why, kept in the rows until the next change of state.
    type: str
  ignore_unknown:
    description: Pass over devices without a row.
    type: bool
    default: false
  regions:
    description: Regions that are to follow. Their quotas count, and they are waited for.
    type: list
    elements: str
    required: true
  quota_share:
    description: Part of each quota that may be used, more than 0 and at most 1. Live devices keep the rest.
    type: float
    default: 0.5
  wait:
    description: Wait until every region has applied every row, those of earlier runs too.
    type: bool
    default: true
  timeout:
    description: Seconds without any progress after which it stops.
    type: int
    default: 300
  threads:
    description: Calls to DynamoDB at the same time.
    type: int
    default: 8
  max_results:
    description: At most so many devices are named of those that are left alone or not applied.
    type: int
    default: 20
  progress_path:
    description: File to which a line is added every ten seconds, for those who watch.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Says who would change, who would be left alone, and how long it takes.
  diff_mode:
    support: full
    description: Shows the state of each device that changes, the first hundred of them.
  idempotent:
    support: full
    description: Rows that say it already are not written.
"""

EXAMPLES = r"""
- name: Suspend a hundred devices
  iotops.fleet.fleet_device_states:
    region: eu-west-1
    application: multi-region-iot
    names: ["dev-[001:100]"]
    state: SUSPENDED
    reason: recalled
    regions: [eu-west-1, us-west-2]
"""

RETURN = r"""
states:
  description: What was done, or would be in check mode.
  returned: always
  type: dict
  contains:
    devices: {description: Devices that were meant., type: int, sample: 100}
    changing: {description: Devices whose state changes., type: int, sample: 97}
    already: {description: Devices whose row says it already., type: int, sample: 2}
    refused_count: {description: Devices that were left alone., type: int, sample: 1}
    refused:
      description: The first of them.
      type: list
      elements: dict
      sample: [{name: dev-7, why: "state=ACTIVE: dev-7 is REVOKED, which is final; issue a device with another name"}]
    written: {description: Rows that were written., type: int, sample: 97}
    missing_count: {description: Rows that a region has not applied. 0 without O(wait)., type: int, sample: 0}
    missing: {description: The first of them., type: list, elements: str, sample: ["dev-9 in us-west-2: not applied"]}
    devices_per_second: {description: What the quotas allow of devices with one certificate., type: float, sample: 5.0}
    bound_by: {description: The quota that decides., type: str, sample: "UpdateCertificate in eu-west-1, 10 a second"}
    quotas: {description: Where the quotas are known from by region., type: dict, sample: {eu-west-1: Service Quotas}}
    seconds: {description: Estimate for those that change., type: int, sample: 20}
"""

import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._devices.deciding import CALLS, Decider, Outlook
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas, read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registration.budget import Budget
from ansible_collections.iotops.fleet.plugins.module_utils._registration.inputs import followers_of, require_sense
from ansible_collections.iotops.fleet.plugins.module_utils._registration.pacing import await_applied
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

MISSING_LIBRARY = ""
try:
    from ansible_collections.iotops.fleet.plugins.module_utils._devices.named import named_devices
except ImportError as error:
    if not str(error.name).startswith("cryptography"):
        raise
    MISSING_LIBRARY = missing_required_lib("cryptography >= 43")

SHOWN = 100
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "names": {"type": "list", "elements": "str"},
    "devices_file": {"type": "path"},
    "state": {"type": "str", "choices": ["ACTIVE", "SUSPENDED", "DELETED"], "required": True},
    "reason": {"type": "str"},
    "ignore_unknown": {"type": "bool", "default": False},
    "regions": {"type": "list", "elements": "str", "required": True},
    "quota_share": {"type": "float", "default": 0.5},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    "threads": {"type": "int", "default": 8},
    "max_results": {"type": "int", "default": 20},
    "progress_path": {"type": "path"},
}


def expected(outlook: Outlook, budget: Budget, quotas: list[Quotas]) -> dict[str, Any]:
    """Return what is known in advance."""
    tightest = budget.tightest
    return {
        "devices_per_second": round(budget.rate, 2),
        "bound_by": f"{tightest.operation} in {tightest.region}, {tightest.quota:g} a second",
        "quotas": {each.region: each.source for each in quotas},
        "seconds": round(outlook.certificates / budget.rate),
    }


def lines(outlook: Outlook, *, after: str = "") -> str:
    """Return the devices that change with their state, or all with the one ``after``."""
    found = [f"{each.name} {after or each.before}" for each in outlook.changing]
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "".join(f"{line}\n" for line in found[:SHOWN] + more)


def decide(module: AnsibleAWSModule) -> dict[str, Any]:
    """Give the devices their state and return the module's result."""
    params = module.params
    require_sense(params)
    names = named_devices(params["names"] or (), params["devices_file"])
    decider = Decider(
        Replica(module.client("dynamodb"), params["application"], str(module.region)),
        Wanted(state=params["state"], reason=params["reason"]),
        params["threads"],
        lambda line: write_progress(params["progress_path"], line),
    )
    followers, calls = followers_of(module), CALLS[params["state"]]
    quotas = [read_quotas(module.client("service-quotas", region=each), each, calls) for each in params["regions"]]
    budget = Budget(quotas, params["quota_share"], clock=time.monotonic, calls=calls)
    outlook = decider.outlook(names, ignore_unknown=params["ignore_unknown"])
    foreseen = expected(outlook, budget, quotas)
    written, missing = 0, []
    if not module.check_mode:
        decider.report(f"{len(outlook.changing)} devices change, which takes about {foreseen['seconds']} s")
        written = decider.write(outlook, budget, followers, params["timeout"])
        if params["wait"]:
            await_applied(decider, followers, params["timeout"])
            missing = [line for each in followers for line in each.missing()]
    shown = params["max_results"]
    return {
        "changed": bool(outlook.changing),
        "states": {
            "devices": len(names),
            "changing": len(outlook.changing),
            "already": len(outlook.already),
            "refused_count": len(outlook.refused),
            "refused": [{"name": name, "why": why} for name, why in list(outlook.refused.items())[:shown]],
            "written": written,
            "missing_count": len(missing),
            "missing": missing[:shown],
            **foreseen,
        },
        "diff": {"before": lines(outlook), "after": lines(outlook, after=params["state"])},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("names", "devices_file")],
        required_one_of=[("names", "devices_file")],
        supports_check_mode=True,
    )
    if MISSING_LIBRARY:
        module.fail_json(msg=MISSING_LIBRARY)
    run_module(module, decide)


if __name__ == "__main__":
    main()
