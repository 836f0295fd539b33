# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters that SQS moves back to their queue. Private to the collection.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.queue import queue_url
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call

Task = dict[str, Any]
COUNT = "ApproximateNumberOfMessages"


@api_call("read a queue's attributes")
def attributes(sqs: Any, url: str) -> dict[str, str]:
    """All attributes of a queue."""
    return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])


@api_call("move dead letters", repeatable=False)
def start(sqs: Any, dead_letters_arn: str, rate: int | None) -> None:
    """Start to move all dead letters back to where they came from, ``rate`` a second."""
    limit = {} if rate is None else {"MaxNumberOfMessagesPerSecond": rate}
    sqs.start_message_move_task(SourceArn=dead_letters_arn, **limit)


@api_call("look how far dead letters are moved")
def latest(sqs: Any, dead_letters_arn: str) -> Task | None:
    """The latest task of a queue, None when there never was one."""
    found = sqs.list_message_move_tasks(SourceArn=dead_letters_arn, MaxResults=1).get("Results", [])
    return found[0] if found else None


def moved(task: Task) -> int:
    """About how many messages a task has moved."""
    return int(task.get("ApproximateNumberOfMessagesMoved", 0))


def to_move(task: Task, unknown: int) -> int:
    """How many messages a task moves; ``unknown`` before SQS has counted them."""
    return int(task.get("ApproximateNumberOfMessagesToMove", unknown))


def dead_letters_of(sqs: Any, queue: str) -> str:
    """ARN of a queue's dead letter queue.

    Raises:
        FleetError: there is no such queue, or it has none.

    """
    url = queue_url(sqs, queue)
    if url is None:
        raise FleetError(f"queue={queue} does not exist in this region: name one of playbooks/message_queues.yml")
    policy = json.loads(attributes(sqs, url).get("RedrivePolicy") or "{}")
    if "deadLetterTargetArn" not in policy:
        raise FleetError(f"queue={queue} has no dead letters: give it a redrive policy")
    return str(policy["deadLetterTargetArn"])


def waiting(sqs: Any, arn: str) -> int:
    """About how many messages of a queue can be received."""
    url = queue_url(sqs, arn.rsplit(":", 1)[-1])
    return int(attributes(sqs, url)[COUNT]) if url else 0


__all__ = ["dead_letters_of", "latest", "moved", "start", "to_move", "waiting"]
