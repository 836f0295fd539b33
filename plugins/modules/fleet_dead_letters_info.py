#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_dead_letters_info
version_added: 0.2.0
short_description: Show what a region gave up on
description:
  - Looks into the region's queue C(<application>-dead-letters) without taking anything out. While the module runs the
    letters are hidden from others that read the queue.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  kinds:
    description: Show these only; see RV(letters[].kind).
    type: list
    elements: str
    choices: [machine, topic_rule, bus_event, pipe, look, shadow, rotation, sweep, unknown]
    default: []
  most:
    description: Look at so many letters and no more.
    type: int
    default: 1000
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
  - iotops.fleet.reads
"""

EXAMPLES = r"""
- name: Show what was given up on
  iotops.fleet.fleet_dead_letters_info:
    region: us-west-2
    application: multi-region-iot
  register: dead
"""

RETURN = r"""
letters:
  description: The letters, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    message_id: {description: SQS's id., type: str}
    kind:
      description:
        - V(machine), a state machine failed or was stopped; V(topic_rule), a rule of AWS IoT could not pass a message
          on; V(bus_event), a rule of the event bus could not; V(pipe), a place in a stream; V(look), V(shadow) and
          V(rotation), a message that ingest-thing, record-shadow or rotate-certificate failed on; V(sweep), a sweep or
          a check; V(unknown).
      type: str
      sample: machine
    source: {description: Which machine or rule or pipe or function., type: str, sample: fleet-converge-device}
    device: {description: "Thing, certificate or definition; empty where none is named.", type: str, sample: dev-1}
    error: {description: Why., type: str, sample: "Iot.UnauthorizedException: not allowed"}
    sent_at: {description: When (RFC 3339)., type: str, sample: "2026-01-31T12:00:00Z"}
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import KINDS
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import require_queue
from ansible_collections.iotops.fleet.plugins.module_utils.aws import run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "kinds": {"type": "list", "elements": "str", "choices": list(KINDS), "default": []},
    "most": {"type": "int", "default": 1000},
}


def read(module: AnsibleAWSModule) -> dict[str, Any]:
    """Return the module's answer."""
    params = module.params
    queue = require_queue(module.client("sqs"), params["application"], str(module.region))
    kinds = params["kinds"] or KINDS
    letters = [each for batch in queue.batches(most=params["most"]) for each in batch if each.kind in kinds]
    return {"changed": False, "letters": [each.shown() for each in sorted(letters, key=lambda each: each.sent_at)]}


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), read)


if __name__ == "__main__":
    main()
