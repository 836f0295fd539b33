#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iot_thing
version_added: 0.2.0
short_description: Make, change or delete one thing of AWS IoT in one region
description:
  - Makes the thing what is asked for, with its type, its attributes and all certificates that are attached to it.
  - This is for things of one region. What a device of the fleet is says its row (M(iotops.fleet.fleet_device)). Where
    registry changes are taken in, a change that this module makes comes into the row and so into every region;
    otherwise the next repair undoes it.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  thing_name:
    description: The thing.
    type: str
    required: true
  state:
    description:
      - V(present) makes it or changes it.
      - V(absent) detaches every principal, however many there are, waits until AWS has done so, and deletes the thing.
        The certificates stay as they are; M(iotops.fleet.iot_certificate) removes them.
      - V(absent) deletes its shadows first, the classic one and the named ones. AWS would keep them, and the next thing
        of that name would follow the desired state of this one. The classic shadow of a thing that is gone goes too.
    type: str
    choices: [present, absent]
    default: present
  thing_type:
    description: Thing type. Left out, it stays as it is; an empty one takes it away.
    type: str
  attributes:
    description:
      - Attributes. Left out, they stay as they are.
      - Those that convergence writes (C(certificateId), C(fleetDigest), C(fleetNumber)) always stay.
    type: dict
  purge_attributes:
    description: Remove attributes that O(attributes) does not name.
    type: bool
    default: true
  principals:
    description: What is to be attached, as ids of certificates or ARNs of principals. Left out, they stay as they are.
    type: list
    elements: str
  purge_principals:
    description: Detach what O(principals) does not name.
    type: bool
    default: true
  exclusive:
    description: Attach so that AWS lets the certificate belong to this thing alone. What is attached already stays so.
    type: bool
    default: false
  wait_timeout:
    description: Seconds that AWS may take to show a change.
    type: int
    default: 60
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Returns the thing as it would be.
  diff_mode:
    support: full
    description: Shows type, attributes and principals, and the shadows that are deleted.
  idempotent:
    support: full
    description: A thing that is as asked for is not touched.
"""

EXAMPLES = r"""
- name: A gateway with two certificates
  iotops.fleet.iot_thing:
    region: eu-west-1
    thing_name: gateway-1
    thing_type: multi-region-iot-device
    attributes: {site: harbour-3}
    principals:
      - 3a3e0a0f0b8c4d1f9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb0
      - arn:aws:iot:eu-west-1:123456789012:cert/9d5bb4fef2a8c7b6a1d2e3f405162738495a6b7c8d9eafb03a3e0a0f0b8c4d1f

- name: Delete it
  iotops.fleet.iot_thing:
    region: eu-west-1
    thing_name: gateway-1
    state: absent
"""

RETURN = r"""
thing:
  description: The thing as it is now, or would be in check mode; null when there is none.
  returned: always
  type: dict
  contains:
    thing_name: {description: The name., type: str, sample: gateway-1}
    thing_arn: {description: "The ARN; not known of one that would be made.", type: str, returned: when it exists}
    thing_id: {description: "AWS's id; not known of one that would be made.", type: str, returned: when it exists}
    thing_type_name: {description: "The type, empty when it has none.", type: str, sample: multi-region-iot-device}
    attributes: {description: The attributes., type: dict, sample: {site: harbour-3}}
    version: {description: How often it was changed., type: int, returned: when it exists, sample: 2}
    principals: {description: "C(EXCLUSIVE_THING) or C(NON_EXCLUSIVE_THING) by ARN.", type: dict}
deleted_shadows:
  description: The shadows that were deleted, or would be in check mode. C($classic) is the one without a name.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: [$classic, firmware]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._iot.thing import WantedThing, ensure_absent, ensure_present
from ansible_collections.iotops.fleet.plugins.module_utils._iot.thing_shadows import delete_shadows, shadows_of
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "thing_name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "thing_type": {"type": "str"},
    "attributes": {"type": "dict"},
    "purge_attributes": {"type": "bool", "default": True},
    "principals": {"type": "list", "elements": "str"},
    "purge_principals": {"type": "bool", "default": True},
    "exclusive": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 60},
}


def arns(module: AnsibleAWSModule) -> list[str] | None:
    """Return the ARNs of the principals, None where they stay as they are."""
    named = module.params["principals"]
    if named is None or all(each.startswith("arn:") for each in named):
        return named
    partition, account = partition_and_account(module.client("sts"))
    prefix = f"arn:{partition}:iot:{module.region}:{account}:cert/"
    return [each if each.startswith("arn:") else f"{prefix}{each}" for each in named]


def wanted_of(module: AnsibleAWSModule) -> WantedThing:
    """Return what the parameters ask for.

    Raises:
        FleetError: AWS would refuse it.

    """
    params = module.params
    attributes = params["attributes"]
    wanted = WantedThing(
        name=params["thing_name"],
        attributes=None if attributes is None else {str(name): str(value) for name, value in attributes.items()},
        principals=arns(module),
        **{name: params[name] for name in ("thing_type", "purge_attributes", "purge_principals", "exclusive")},
    )
    wanted.require_sense()
    return wanted


def compared(thing: dict[str, Any] | None) -> dict[str, Any]:
    """Return what somebody decides of a thing, for a diff."""
    return {name: thing[name] for name in ("thing_type_name", "attributes", "principals")} if thing else {}


def make(module: AnsibleAWSModule, wanted: WantedThing) -> dict[str, Any]:
    """Make the thing what is wanted and return the module's result."""
    before, after = ensure_present(
        module.client("iot"), wanted, check_mode=module.check_mode, timeout=module.params["wait_timeout"]
    )
    diff = {"before": compared(before), "after": compared(after)}
    return {"changed": diff["before"] != diff["after"], "thing": after, "diff": diff}


def delete(module: AnsibleAWSModule, wanted: WantedThing) -> dict[str, Any]:
    """Delete the thing and return the module's result.

    The shadows go first: AWS lists the named ones of a thing that there is.
    """
    data = module.client("iot-data")
    shadows = shadows_of(data, wanted.name)
    if not module.check_mode:
        delete_shadows(data, wanted.name, shadows)
    before = ensure_absent(
        module.client("iot"), wanted, check_mode=module.check_mode, timeout=module.params["wait_timeout"]
    )
    diff = {"before": compared(before) | ({"shadows": shadows} if shadows else {}), "after": {}}
    return {"changed": bool(before or shadows), "thing": None, "deleted_shadows": shadows, "diff": diff}


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Do what is asked for and return the module's result."""
    wanted = wanted_of(module)
    return make(module, wanted) if module.params["state"] == "present" else delete(module, wanted)


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), ensure)


if __name__ == "__main__":
    main()
