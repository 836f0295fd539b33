#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: iot_event_configurations
version_added: 0.1.0
short_description: Choose which registry changes AWS IoT publishes as events
description:
  - Switches the event types of AWS IoT in one region on or off, and reads them back until AWS shows it.
  - Event types that are not named keep their state.
author: The iotops.fleet maintainers
options:
  event_configurations:
    description: Event types to switch on (V(true)) or off (V(false)).
    type: dict
    required: true
    suboptions:
      THING:
        description: Things created, updated, deleted.
        type: bool
      THING_GROUP:
        description: Thing groups created, updated, deleted.
        type: bool
      THING_TYPE:
        description: Thing types created, deprecated, deleted.
        type: bool
      THING_GROUP_MEMBERSHIP:
        description: Things added to groups and removed from them.
        type: bool
      THING_GROUP_HIERARCHY:
        description: Groups added to groups and removed from them.
        type: bool
      THING_TYPE_ASSOCIATION:
        description: Things that got or lost a type.
        type: bool
      JOB:
        description: Jobs completed, cancelled, deleted.
        type: bool
      JOB_EXECUTION:
        description: Job executions that reached an end.
        type: bool
      POLICY:
        description: Changes of policies.
        type: bool
      CERTIFICATE:
        description: Changes of certificates.
        type: bool
      CA_CERTIFICATE:
        description: Certificates that registered themselves through a CA.
        type: bool
  wait_timeout:
    description: Seconds to wait until AWS shows the change.
    type: int
    default: 30
attributes:
  check_mode:
    description: Predicts the result and writes nothing.
    support: full
  diff_mode:
    description: Shows the event types before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: iotops.fleet.iot_event_configurations_info
  - name: Event messages of AWS IoT
    description: What each event type publishes.
    link: https://docs.aws.amazon.com/iot/latest/developerguide/iot-events.html
"""

EXAMPLES = r"""
- name: Publish changes of things and certificates, leave the other types as they are
  iotops.fleet.iot_event_configurations:
    region: eu-west-1
    event_configurations:
      THING: true
      CERTIFICATE: true
      CA_CERTIFICATE: true

- name: Stop publishing job events
  iotops.fleet.iot_event_configurations:
    region: eu-west-1
    event_configurations:
      JOB: false
"""

RETURN = r"""
event_configurations:
  description: Every event type and whether it is on; in check mode as it would be.
  type: dict
  returned: success
  sample: {"CA_CERTIFICATE": true, "JOB": false}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._iot.event_configurations import (
    EVENT_TYPES,
    describe,
    update,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import poll, run_module


def ensure(iot: Any, wanted: dict[str, bool], *, check_mode: bool, timeout: float) -> dict[str, Any]:
    """Switch what differs from ``wanted`` and read it back; the module's result."""
    before = describe(iot)
    changes = {name: on for name, on in wanted.items() if before.get(name, False) != on}
    after = {**before, **changes}
    if changes and not check_mode:
        update(iot, changes)
        after = poll(
            lambda: describe(iot),
            lambda seen: all(seen.get(name) == on for name, on in changes.items()),
            timeout=timeout,
            describe=f"the event configurations of {iot.meta.region_name} to become {changes}",
        )
    return {
        "changed": bool(changes),
        "event_configurations": after,
        "diff": {"before": before, "after": after},
    }


def body(module: AnsibleAWSModule) -> dict[str, Any]:
    """The module's result."""
    wanted = {name: on for name, on in module.params["event_configurations"].items() if on is not None}
    return ensure(module.client("iot"), wanted, check_mode=module.check_mode, timeout=module.params["wait_timeout"])


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={
            "event_configurations": {
                "type": "dict",
                "required": True,
                "options": {name: {"type": "bool"} for name in EVENT_TYPES},
            },
            "wait_timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    run_module(module, body)


if __name__ == "__main__":
    main()
