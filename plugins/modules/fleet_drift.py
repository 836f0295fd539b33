#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_drift
version_added: 0.2.0
short_description: Put back the topic rules and policies of a region that somebody changed
description:
  - Asks CloudFormation which topic rules and AWS IoT policies are not what their stacks made them, and writes them as
    they are to be; one that was deleted is made again. CloudFormation itself does so only when a template changes.
  - Policies of the table C(<application>-definitions) are made what the table says.
  - A policy whose default version is not its latest one gets a new version with what the default says. Of five versions
    the oldest goes.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description: V(absent) leaves no drift.
    type: str
    choices: [absent]
    required: true
  stacks:
    description: CloudFormation stacks to look at; one that does not exist has no drift.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Tells what would be put back.
  diff_mode:
    support: full
    description: Shows rules and policies before and after.
  idempotent:
    support: full
    description: What has not drifted is left as it is.
seealso:
  - module: iotops.fleet.fleet_replication_info
"""

EXAMPLES = r"""
- name: Put back what somebody changed
  iotops.fleet.fleet_drift:
    region: us-west-2
    application: multi-region-iot
    state: absent
    stacks: [multi-region-iot-onboarding, multi-region-iot-messages]
"""

RETURN = r"""
drift:
  description: What was put back; in check mode what would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind: {description: Of what., type: str, choices: [topic_rule, policy], sample: topic_rule}
    name: {description: Its name., type: str, sample: multi_region_iot_register_device}
    existed: {description: Whether there was one., type: bool, sample: true}
"""

import json
from functools import partial
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._replication.drift import again, drifts
from ansible_collections.iotops.fleet.plugins.module_utils._replication.mending import Change, changes
from ansible_collections.iotops.fleet.plugins.module_utils._replication.region import definitions, documents
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["absent"], "required": True},
    "stacks": {"type": "list", "elements": "str", "required": True},
}


def text(found: list[Change], side: str) -> str:
    """Return the changes as a side of the diff."""
    lines = [{"kind": each.kind, "name": each.name, "is": getattr(each, side)} for each in found]
    return json.dumps(lines, indent=2, sort_keys=True, default=str) + "\n" if lines else ""


def ensure(module: AnsibleAWSModule) -> dict[str, Any]:
    """Put back what drifted and return the module's result."""
    application, region = module.params["application"], str(module.region)
    items = definitions(module.client("dynamodb"), f"{application}-definitions")
    cloudformation = module.client("cloudformation")
    found = changes(
        module.client("iot"),
        drifts(cloudformation, module.params["stacks"]),
        own=f"{application}-device",
        documents=documents(items, region),
        again=partial(again, cloudformation),
    )
    if not module.check_mode:
        for change in found:
            change.make()
    return {
        "changed": bool(found),
        "drift": [{"kind": each.kind, "name": each.name, "existed": bool(each.before)} for each in found],
        "diff": {"before": text(found, "before"), "after": text(found, "after")},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), ensure)


if __name__ == "__main__":
    main()
