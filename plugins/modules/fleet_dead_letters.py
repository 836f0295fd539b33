#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_dead_letters
version_added: 0.2.0
short_description: Try again what a region gave up on
description:
  - Hands each letter of the region's queue C(<application>-dead-letters) to whoever finishes it, and deletes it after
    that was accepted. Whoever is woken bears being woken twice, so a run that was killed is finished by the next one.
  - A state machine is started again with its input; a message that a topic rule could not pass on goes where the rule
    would have sent it; an event of the bus starts converge-device; the records that a pipe gave up on are read from
    the stream again; a message of a function goes back to its queue.
  - Of what a stream has forgotten (24 hours), devices are left to sweep-devices and definitions to converge-definition.
  - What nobody takes stays in the queue, with the reason in the result. Letters that arrive during the run stay too.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  state:
    description: V(replayed) tries the letters again.
    type: str
    choices: [replayed]
    required: true
  kinds:
    description: Try these only; the module M(iotops.fleet.fleet_dead_letters_info) says what they are.
    type: list
    elements: str
    choices: [machine, topic_rule, bus_event, pipe, look, shadow, rotation, sweep, unknown]
    default: []
  confirm_deletions:
    description:
      - Things were deleted in this region, more than C(ingestion_delete_limit) in an hour, and the deletion of the
        devices was held. V(true) says that it was meant.
    type: bool
    default: false
  most:
    description: Take so many letters and no more.
    type: int
    default: 100000
  threads:
    description: Letters tried at the same time.
    type: int
    default: 5
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - iotops.fleet.application
attributes:
  check_mode:
    support: full
    description: Lists the letters that would be tried.
  diff_mode:
    support: full
    description: Shows the letters before and after.
  idempotent:
    support: full
    description: An empty queue is left as it is.
"""

EXAMPLES = r"""
- name: Try everything again
  iotops.fleet.fleet_dead_letters:
    region: us-west-2
    application: multi-region-iot
    state: replayed

- name: Let held deletions go on
  iotops.fleet.fleet_dead_letters:
    region: us-west-2
    application: multi-region-iot
    state: replayed
    kinds: [look]
    confirm_deletions: true
"""

RETURN = r"""
replayed:
  description:
    - Letters that were taken, as M(iotops.fleet.fleet_dead_letters_info) lists them; C(outcome) says by whom. In check
      mode those that would be tried.
  returned: always
  type: list
  elements: dict
  sample: [{kind: machine, source: multi-region-iot-converge-device, device: dev-1, outcome: converge-device}]
kept:
  description: Letters that nobody took; C(outcome) says why.
  returned: always
  type: list
  elements: dict
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.account import partition_and_account
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import KINDS, Letter
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import Queue, require_queue
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.replay import KeptError, Replay
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "application": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["replayed"], "required": True},
    "kinds": {"type": "list", "elements": "str", "choices": list(KINDS), "default": []},
    "confirm_deletions": {"type": "bool", "default": False},
    "most": {"type": "int", "default": 100000},
    "threads": {"type": "int", "default": 5},
}
SERVICES = ("dynamodb", "dynamodbstreams", "lambda", "sqs", "stepfunctions")

Shown = dict[str, Any]


def replay_of(module: AnsibleAWSModule) -> Replay:
    """Return who tries again; clients are made here, as making them in threads is not safe."""
    clients = {service: module.client(service) for service in SERVICES}
    partition, account = partition_and_account(module.client("sts"))
    return Replay(
        client=clients.__getitem__,
        application=module.params["application"],
        region=str(module.region),
        partition=partition,
        account=account,
        confirm_deletions=module.params["confirm_deletions"],
    )


def attempt(replay: Replay, queue: Queue, letter: Letter) -> tuple[bool, Shown]:
    """Try one letter, and delete it when somebody took it; whether somebody did."""
    try:
        outcome = replay.attempt(letter)
    except KeptError as error:
        return False, {**letter.shown(), "outcome": " ".join(str(error).split())}
    queue.delete(letter)
    return True, {**letter.shown(), "outcome": outcome}


def replay_all(module: AnsibleAWSModule) -> dict[str, Any]:
    """Try all letters and return the module's result.

    Raises:
        FleetError: no threads.

    """
    params = module.params
    if params["threads"] < 1:
        raise FleetError(f"threads={params['threads']} is less than 1: set 1 or more")
    queue = require_queue(module.client("sqs"), params["application"], str(module.region))
    replay, kinds = replay_of(module), params["kinds"] or KINDS
    taken: list[Shown] = []
    kept: list[Shown] = []
    with ThreadPoolExecutor(params["threads"]) as pool:
        for batch in queue.batches(most=params["most"]):
            wanted = [each for each in batch if each.kind in kinds]
            if module.check_mode:
                taken += [{**each.shown(), "outcome": ""} for each in wanted]
                continue
            for was_taken, shown in pool.map(lambda each: attempt(replay, queue, each), wanted):
                (taken if was_taken else kept).append(shown)
    return {
        "changed": bool(taken),
        "replayed": taken,
        "kept": kept,
        "diff": {"before": {"letters": [*taken, *kept]}, "after": {"letters": kept}},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), replay_all)


if __name__ == "__main__":
    main()
