#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_replication_info
version_added: 0.2.0
short_description: Compare the AWS IoT registry of one region with the fleet's rows
description:
  - Reads this region's replica of the registry and, by O(depth), what AWS IoT has in this region, and tells every
    difference by its kind.
  - Reads into O(store), page by page, so that memory does not grow with the fleet and a check that was interrupted goes
    on where it was. Give each region a file of its own.
  - Keeps to the quotas of the account, as Service Quotas tells them or else to AWS's default values, and slows down
    when AWS throttles all the same.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  store:
    description: File that the check is kept in, an SQLite database. It holds names and no secrets.
    type: path
    required: true
  depth:
    description:
      - V(rows) reads the fleet's tables only and calls AWS IoT not once.
      - V(registry) lists things, certificates and the targets of policies too, each in pages of 250. That a certificate
        is attached is concluded from the thing's attribute C(certificateId).
      - V(full) asks for the principals of each thing, too. That is the proof, and one call for each device.
    type: str
    choices: [rows, registry, full]
    default: registry
  sample:
    description: With O(depth=full), the number of things asked for their principals, chosen at random. 0 is all.
    type: int
    default: 3000
  shadows:
    description: With O(depth=full), compare each shadow with what the fleet knows of it, too. One call for each shadow.
    type: bool
    default: false
  settling:
    description: Seconds in which a change has to be everywhere. A device that changed so shortly before the check, or
      later, is in motion and not judged, and a certificate that was registered since then may be in no row yet.
    type: int
    default: 120
  share:
    description: The part of each quota that may be used; the rest is for others.
    type: float
    default: 0.9
  ca_certificate_paths:
    description: PEM files of the issuing CAs whose devices are to come in.
    type: list
    elements: path
    default: []
  event_types:
    description: Event types of AWS IoT that have to be published, such as V(THING).
    type: list
    elements: str
    default: []
  stacks:
    description: CloudFormation stacks whose topic rules and IoT policies have to be as their templates say.
    type: list
    elements: str
    default: []
  estimate:
    description: Tell only how many calls the check makes and how long it takes. Reads the size of the table, which
      DynamoDB counts every six hours.
    type: bool
    default: false
  listed:
    description: At most so many faults are in the answer; all of them are in O(store).
    type: int
    default: 20
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
  - iotops.fleet.scans
seealso:
  - module: iotops.fleet.fleet_replication
  - module: iotops.fleet.fleet_replication_report
"""

EXAMPLES = r"""
- name: Is every device ready in this region?
  iotops.fleet.fleet_replication_info:
    region: us-west-2
    application: multi-region-iot
    store: replication/us-west-2.sqlite
  register: checked

- name: Prove it for a sample
  iotops.fleet.fleet_replication_info:
    region: us-west-2
    application: multi-region-iot
    store: replication/us-west-2.sqlite
    depth: full
    sample: 10000
"""

RETURN = r"""
estimate:
  description: What the check calls and how long it takes.
  returned: always
  type: dict
  contains:
    devices: {description: "Rows of the registry, as DynamoDB counted them last.", type: int, sample: 100000}
    calls: {description: Calls of AWS IoT by operation., type: dict, sample: {ListThings: 401}}
    seconds: {description: How long the quotas let them take., type: float, sample: 44.6}
    binding: {description: The operation that takes longest; none without calls., type: str, sample: ListThings}
    quotas: {description: Where the quotas are known from., type: str, sample: Service Quotas}
replication:
  description: What was found.
  returned: without O(estimate)
  type: dict
  contains:
    region: {description: The region that was asked., type: str, sample: us-west-2}
    depth: {description: As given., type: str, sample: registry}
    began_at: {description: "When the check began, RFC 3339.", type: str, sample: "2026-01-31T12:00:00Z"}
    finished_at: {description: "When it ended, RFC 3339.", type: str, sample: "2026-01-31T12:01:00Z"}
    resumed: {description: Whether it went on where one was interrupted., type: bool, sample: false}
    devices: {description: Rows of the registry., type: int, sample: 100000}
    in_motion: {description: Devices that could not be judged., type: int, sample: 3}
    faulty_devices: {description: Devices with a fault., type: int, sample: 2}
    faults: {description: Faults by kind., type: dict, sample: {policy_missing: 2}}
    listed:
      description: The first faults, those of the region before those of devices by name.
      type: list
      elements: dict
      sample: [{name: policy_missing, thing_name: dev-7, certificate_id: 0c5d..., detail: multi-region-iot-device}]
    looked_at: {description: Things that were asked for their principals., type: int, sample: 3000}
    confidence:
      description: What the sample says of all devices; none where all were looked at, or none had to be.
      type: dict
      sample: {confidence: 0.95, at_most_faulty: 0.000998}
    calls: {description: Paced calls of AWS IoT that this run made., type: dict, sample: {ListThings: 401}}
    throttled: {description: How many of them AWS throttled., type: int, sample: 0}
    store: {description: As given., type: str, sample: replication/us-west-2.sqlite}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._iot.event_configurations import EVENT_TYPES
from ansible_collections.iotops.fleet.plugins.module_utils._plan.calls import check_calls, seconds
from ansible_collections.iotops.fleet.plugins.module_utils._quotas.iot import Quotas, read_quotas
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item
from ansible_collections.iotops.fleet.plugins.module_utils._replication import region
from ansible_collections.iotops.fleet.plugins.module_utils._replication.check import Check, begin, run, summary
from ansible_collections.iotops.fleet.plugins.module_utils._replication.drift import drifted
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import DEPTHS, Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.reading import LISTINGS, Reader
from ansible_collections.iotops.fleet.plugins.module_utils._replication.shadows import read_shadows
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint, read_text
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, none_if_missing, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "store": {"type": "path", "required": True},
    "depth": {"type": "str", "choices": list(DEPTHS), "default": "registry"},
    "sample": {"type": "int", "default": 3000},
    "shadows": {"type": "bool", "default": False},
    "settling": {"type": "int", "default": 120},
    "share": {"type": "float", "default": 0.9},
    "ca_certificate_paths": {"type": "list", "elements": "path", "default": []},
    "event_types": {"type": "list", "elements": "str", "default": []},
    "stacks": {"type": "list", "elements": "str", "default": []},
    "estimate": {"type": "bool", "default": False},
    "listed": {"type": "int", "default": 20},
    "segments": {"type": "int", "default": 4},
    "progress_path": {"type": "path"},
}


def require(params: dict[str, Any]) -> None:
    """Refuse what cannot be meant.

    Raises:
        FleetError: an option out of its range, or an event type that AWS IoT does not have.

    """
    for name, least in (("segments", 1), ("sample", 0), ("settling", 0), ("listed", 0)):
        if params[name] < least:
            raise FleetError(f"{name}={params[name]} is less than {least}: set {least} or more")
    if not 0 < params["share"] <= 1:
        raise FleetError(f"share={params['share']:g} is not a part of a quota: set more than 0 and at most 1")
    if unknown := sorted(set(params["event_types"]) - set(EVENT_TYPES)):
        raise FleetError(f"event_types={', '.join(unknown)} is not known: AWS IoT has {', '.join(EVENT_TYPES)}")


@none_if_missing
@api_call("describe the fleet's table")
def count_rows(dynamodb: Any, table: str) -> int | None:
    """Return DynamoDB's count of a table's items, up to six hours old; None when there is no such table."""
    return int(dynamodb.describe_table(TableName=table)["Table"]["ItemCount"])


def expected_rows(dynamodb: Any, application: str, where: str) -> int:
    """Return about how many devices there are.

    Raises:
        FleetError: the fleet is not here.

    """
    count = count_rows(dynamodb, f"{application}-device-inventory")
    if count is None:
        raise FleetError(
            f"application={application} has no table {application}-device-inventory in {where}: "
            "check the name, or deploy the region with site.yml"
        )
    return count


def estimated(params: dict[str, Any], devices: int, policies: int, groups: int, quotas: Quotas) -> dict[str, Any]:
    """Return the calls of AWS IoT that the check will make, and how long they take."""
    calls = check_calls(devices, devices, params["depth"], groups=groups)
    if "ListTargetsForPolicy" in calls:
        calls["ListTargetsForPolicy"] += max(0, policies - 1)  # few devices have another one than the fleet's
    if "ListThingPrincipals" in calls and params["sample"]:
        calls["ListThingPrincipals"] = min(devices, params["sample"])
    taken, binding = seconds(calls, quotas, params["share"])
    return {"devices": devices, "calls": calls, "seconds": round(taken, 1), "binding": binding, "quotas": quotas.source}


def region_faults(module: AnsibleAWSModule, items: list[Item]) -> list[Fault]:
    """Return what is wrong with the region as a whole; ``items`` are the fleet's definitions."""
    params, iot = module.params, module.client("iot")
    paths = params["ca_certificate_paths"]
    fingerprints = {path: fingerprint(read_text(path, option="ca_certificate_paths")) for path in paths}
    return [
        *region.ca_faults(iot, fingerprints),
        *region.event_faults(iot, params["event_types"]),
        *region.policy_faults(iot, f"{params['application']}-device", region.documents(items, str(module.region))),
        *drifted(module.client("cloudformation"), params["stacks"]),
    ]


def check(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    params = module.params
    require(params)
    where = str(module.region)
    application, registry = params["application"], params["depth"] != "rows"
    iot, dynamodb = module.client("iot"), module.client("dynamodb")
    devices = expected_rows(dynamodb, application, where)
    quotas = read_quotas(module.client("service-quotas"), where, LISTINGS)
    items = region.definitions(dynamodb, f"{application}-definitions") if registry else []
    policies = region.policies(iot) if registry else []
    groups = [item["Name"].removeprefix("group#") for item in items if item["Name"].startswith("group#")]
    answer = {"changed": False, "estimate": estimated(params, devices, len(policies), len(groups), quotas)}
    if params["estimate"]:
        return answer
    store = Store(params["store"])
    asked = Check(application, where, params["depth"], params["sample"], params["settling"])
    began, resumed = begin(asked, store)
    allowed = {operation: rate * params["share"] for operation, rate in quotas.per_second.items()}

    def report(line: str) -> None:
        write_progress(params["progress_path"], f"{where} {line}")

    reading = Reader(store, iot, dynamodb, application, began, allowed, params["segments"], report, expected=devices)
    faults = region_faults(module, items) if registry else []
    if params["shadows"] and params["depth"] == "full":
        read_shadows(
            store,
            dynamodb,
            module.client("iot-data"),
            table=f"{application}-shadows",
            pace=reading.paces["GetThingShadow"],
            lately=asked.lately(began),
        )
    run(asked, store, reading, policies=policies, groups=groups, region_faults=faults)
    calls = {name: pace.calls for name, pace in reading.paces.items() if pace.calls}
    throttled = sum(pace.throttles for pace in reading.paces.values())
    found = summary(store, listed=params["listed"])
    store.close()
    return {**answer, "replication": {**found, "resumed": resumed, "calls": calls, "throttled": throttled}}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), check)


if __name__ == "__main__":
    main()
