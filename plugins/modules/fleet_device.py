#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_device
version_added: 0.2.0
short_description: Decide what a device is to be in every region
description:
  - Changes the device's row through the replica of this region. Every region makes its own registry what the row says;
    this module can wait for that.
  - The write is conditional on the row that was read; while another writer is faster, it is read and decided again.
  - A revocation is written to the table C(revocations) first, which nothing takes back.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  thing_name:
    description: The device. It must have a row; devices come in by connecting.
    type: str
    required: true
  state:
    description:
      - V(ACTIVE) lets it work. V(SUSPENDED) sets its certificates INACTIVE until it is V(ACTIVE) again.
      - V(REVOKED) revokes the device, all its certificates and its name for good.
      - V(DELETED) removes the thing and revokes its certificates; only a release brings the name back. The row goes a
        day after its last certificate has expired, and not within 30 days.
      - Left out, it stays as it is.
    type: str
    choices: [ACTIVE, SUSPENDED, REVOKED, DELETED]
  reason:
    description: Why, kept in the row until the next change of state.
    type: str
  attributes:
    description: Attributes of the thing.
    type: dict
  purge_attributes:
    description: Remove attributes that O(attributes) does not name.
    type: bool
    default: true
  thing_type:
    description: Thing type.
    type: str
  thing_groups:
    description: All thing groups that the thing is to be in; at most 10.
    type: list
    elements: str
  policy_names:
    description: All policies that its certificates are to carry; at most 10.
    type: list
    elements: str
  certificate_id:
    description: One certificate of the device that is to change. Needs O(certificate_state).
    type: str
  certificate_state:
    description: What that certificate is to be. V(ACTIVE) takes a retirement back, V(REVOKED) is final.
    type: str
    choices: [ACTIVE, INACTIVE, REVOKED]
  wait:
    description: Wait until every region in O(regions) has applied the row. Not in check mode.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for all regions together.
    type: int
    default: 120
  regions:
    description: Regions to wait for; none stands for this one.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Returns the row as it would be.
  diff_mode:
    support: full
    description: Shows what an operator decides of the row, and the keys that are missing in C(revocations).
  idempotent:
    support: full
    description: A row that says what is wanted is not written.
"""

EXAMPLES = r"""
- name: Suspend a device, and wait until it is out everywhere
  iotops.fleet.fleet_device:
    region: eu-west-1
    application: multi-region-iot
    thing_name: dev-1
    state: SUSPENDED
    reason: reported lost
    wait: true
    regions: [eu-west-1, us-west-2]

- name: Revoke one certificate of a device
  iotops.fleet.fleet_device:
    region: eu-west-1
    application: multi-region-iot
    thing_name: dev-1
    certificate_id: 3a3e0a0f0b8c4d1f9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb0
    certificate_state: REVOKED

- name: Add an attribute
  iotops.fleet.fleet_device:
    region: eu-west-1
    application: multi-region-iot
    thing_name: dev-1
    attributes: {site: harbour-3}
    purge_attributes: false
"""

RETURN = r"""
device:
  description: The row as it is now, or would be in check mode; AWS's names in snake_case, certificates without PEM.
  returned: always
  type: dict
  sample:
    thing_name: dev-1
    state: SUSPENDED
    reason: reported lost
    version: 4
    updated_region: controller
    attributes: {site: harbour-3}
    certificates: {3a3e0a: {status: ACTIVE, not_after: "2027-01-31T12:00:00Z"}}
revoked_keys:
  description: Keys that were added to the table C(revocations).
  returned: always
  type: list
  elements: str
  sample: ["thing:dev-1"]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._registry.applied import lag_behind
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.replica import Replica, change
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import Row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.shown import compared_row, shown_row
from ansible_collections.iotops.fleet.plugins.module_utils.aws import poll, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "thing_name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["ACTIVE", "SUSPENDED", "REVOKED", "DELETED"]},
    "reason": {"type": "str"},
    "attributes": {"type": "dict"},
    "purge_attributes": {"type": "bool", "default": True},
    "thing_type": {"type": "str"},
    "thing_groups": {"type": "list", "elements": "str"},
    "policy_names": {"type": "list", "elements": "str"},
    "certificate_id": {"type": "str"},
    "certificate_state": {"type": "str", "choices": ["ACTIVE", "INACTIVE", "REVOKED"]},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 120},
    "regions": {"type": "list", "elements": "str", "default": []},
}
TOGETHER = [("certificate_id", "certificate_state")]


def wanted_of(params: dict[str, Any]) -> Wanted:
    """Return what the parameters ask for.

    Raises:
        FleetError: AWS would refuse it.

    """
    certificates = {params["certificate_id"]: params["certificate_state"]} if params["certificate_id"] else None
    attributes = params["attributes"]
    wanted = Wanted(
        attributes=None if attributes is None else {str(name): str(value) for name, value in attributes.items()},
        certificates=certificates,
        **{name: params[name] for name in ("state", "reason", "purge_attributes")},
        **{name: params[name] for name in ("thing_type", "thing_groups", "policy_names")},
    )
    wanted.require_sense()
    return wanted


def await_regions(module: AnsibleAWSModule, written: Row, application: str) -> None:
    """Wait until each region has applied the row.

    Raises:
        FleetError: one has not in time; the message says why.

    """
    places = {
        region: module.client("dynamodb", region=region) for region in module.params["regions"] or [module.region]
    }
    tables = {f"{name}_table": f"{application}-device-{name}" for name in ("inventory", "status")}

    def lags() -> dict[str, str]:
        found = {region: lag_behind(client, written, **tables) for region, client in places.items()}
        return {region: why for region, why in found.items() if why}

    poll(
        lags,
        lambda left: not left,
        timeout=module.params["wait_timeout"],
        describe=lambda left: "; ".join(f"{written['ThingName']} in {region}: {why}" for region, why in left.items()),
    )


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Make the row what is wanted and return the module's result."""
    params = module.params
    wanted = wanted_of(params)
    replica = Replica(module.client("dynamodb"), params["application"], str(module.region))
    before, after, keys = change(replica, params["thing_name"], wanted, check_mode=module.check_mode)
    if params["wait"] and not module.check_mode:
        await_regions(module, after, params["application"])
    diff = {"before": compared_row(before), "after": {**compared_row(after), **({"revocations": keys} if keys else {})}}
    return {
        "changed": before.get("WriteId") != after.get("WriteId") or bool(keys),
        "device": shown_row(after),
        "revoked_keys": keys,
        "diff": diff,
    }


def main() -> None:
    """Run the module."""
    run_module(
        AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, required_together=TOGETHER, supports_check_mode=True), ensure
    )


if __name__ == "__main__":
    main()
