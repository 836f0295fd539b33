#!/usr/bin/python
# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: sqs_redrive
version_added: 0.2.0
short_description: Move the dead letters of an SQS queue back into it
description:
  - SQS moves all messages of the queue's dead letter queue back to where they came from, where they are tried again.
  - A move that is under way, of a run that was killed for example, is waited for and not started again.
  - A move that SQS gives up, or that somebody cancels, is an error.
  - A message that was moved is a new one to SQS. Its consumer has to know by its content that it was there before.
author:
  - The iotops.fleet maintainers (@iotops)
options:
  queue:
    description: Name of the queue whose dead letters are moved, which its redrive policy names.
    type: str
    required: true
  max_per_second:
    description: Move so many messages a second and no more, 500 at most. Without it SQS finds a rate itself.
    type: int
  timeout:
    description: Wait so many seconds for the end of the move. It goes on afterwards.
    type: int
    default: 3600
  progress_path:
    description: File on the controller that gets a line whenever more was moved.
    type: path
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Says how many messages would be moved, or will have been by the move that is under way.
  diff_mode:
    support: full
    description: Shows the number of dead letters before and after.
  idempotent:
    support: full
    description: Without dead letters nothing is done.
"""

EXAMPLES = r"""
- name: Try again what the consumer failed on
  iotops.fleet.sqs_redrive:
    region: us-west-2
    queue: multi-region-iot-queue-telemetry

- name: Try it again slowly
  iotops.fleet.sqs_redrive:
    region: us-west-2
    queue: multi-region-iot-queue-telemetry
    max_per_second: 20
"""

RETURN = r"""
moved:
  description: Messages that were moved; in check mode those that would be.
  returned: always
  type: int
  sample: 500
left:
  description: Dead letters that are left. Those that failed again meanwhile are among them.
  returned: always
  type: int
  sample: 0
dead_letters_arn:
  description: ARN of the dead letter queue.
  returned: always
  type: str
  sample: arn:aws:sqs:us-west-2:123456789012:multi-region-iot-queue-telemetry-dead-letters
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._sqs import moves
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, poll, run_module

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "queue": {"type": "str", "required": True},
    "max_per_second": {"type": "int"},
    "timeout": {"type": "int", "default": 3600},
    "progress_path": {"type": "path"},
}
FASTEST = 500  # messages a second
UNDER_WAY = ("RUNNING", "CANCELLING")


def moved_by(module: AnsibleAWSModule, sqs: Any, arn: str, former: int | None) -> int:
    """Wait for the end of the move after that of ``former`` (ms) and return how many messages it moved.

    SQS may list the former one for a while after another was started.

    Raises:
        FleetError: it failed, was cancelled, or did not end in time.

    """
    seen = 0

    def look() -> moves.Task:
        nonlocal seen
        task = moves.latest(sqs, arn)
        if task is None or task["StartedTimestamp"] == former:
            return {"Status": "RUNNING"}
        if (moved := moves.moved(task)) != seen:
            seen = moved
            write_progress(module.params["progress_path"], f"moved {moved} of {moves.to_move(task, moved)}")
        return task

    task = poll(
        look,
        lambda each: each["Status"] not in UNDER_WAY,
        timeout=module.params["timeout"],
        describe=lambda _task: f"SQS, which has moved {seen} dead letters of {module.params['queue']}",
    )
    if (status := task["Status"]) != "COMPLETED":
        reason = task.get("FailureReason", "no reason given")
        raise FleetError(
            f"queue={module.params['queue']}: the move {status} after {seen} dead letters: {reason}; run it again"
        )
    return seen


def redrive(module: AnsibleAWSModule) -> dict[str, Any]:
    """Move the dead letters and return the module's result.

    Raises:
        FleetError: as :func:`moved_by`, there is no such queue, or the rate is none.

    """
    params, sqs = module.params, module.client("sqs")
    rate = params["max_per_second"]
    if rate is not None and not 1 <= rate <= FASTEST:
        raise FleetError(f"max_per_second={rate} is no rate that SQS knows: set 1 to {FASTEST}")
    arn = moves.dead_letters_of(sqs, params["queue"])
    before, task = moves.waiting(sqs, arn), moves.latest(sqs, arn)
    running = task is not None and task["Status"] in UNDER_WAY
    moved, left = moves.to_move(task, before) if task and running else before, 0
    if not module.check_mode and (running or before):
        former = None
        if not running:
            former = task["StartedTimestamp"] if task else None
            moves.start(sqs, arn, rate)
        moved = moved_by(module, sqs, arn, former)
        left = moves.waiting(sqs, arn)
    return {
        "changed": bool(moved),
        "moved": moved,
        "left": left,
        "dead_letters_arn": arn,
        "diff": {"before": {"dead_letters": before}, "after": {"dead_letters": left}},
    }


def main() -> None:
    """Run the module."""
    run_module(AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True), redrive)


if __name__ == "__main__":
    main()
