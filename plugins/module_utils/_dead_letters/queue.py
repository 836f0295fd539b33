# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of dead letters: looking into it without taking anything, and going through it. Private."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import Letter, letter
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code

BATCH = 10  # the most that SQS hands out at once
HIDDEN_SECONDS = 60  # how long a letter that is looked at is hidden from others; a killed run hides it no longer
NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


@api_call("find a queue")
def queue_url(sqs: Any, name: str) -> str | None:
    """The queue's URL; None when the region has no such queue."""
    try:
        return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.ClientError as error:
        if error_code(error) in NO_QUEUE:
            return None
        raise


@api_call("count the messages of a queue")
def waiting(sqs: Any, name: str) -> int | None:
    """About how many messages the queue holds; None when the region has no such queue."""
    url = queue_url(sqs, name)
    if url is None:
        return None
    counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    return sum(int(answer[name]) for name in counts)


@dataclass
class Queue:
    """The dead letters of one region."""

    sqs: Any
    url: str
    _handles: dict[str, str] = field(default_factory=dict)  # message id -> receipt

    def batches(self, *, most: int) -> Iterator[list[Letter]]:
        """Letters of the queue, ten at a time, each once; those that came after the beginning are left alone.

        What is not deleted is visible again when the iteration ends, or a minute after the run was killed.
        """
        started, seen, idle = time.time(), 0, 0
        known: set[str] = set()
        try:
            while seen < most and idle < 3:
                messages = _receive(self.sqs, self.url)
                if not messages:
                    return
                self._handles |= {each["MessageId"]: each["ReceiptHandle"] for each in messages}
                fresh = [letter(each) for each in messages if each["MessageId"] not in known]
                known |= {each.message_id for each in fresh}
                idle = 0 if fresh else idle + 1  # those that were kept come round again after a minute
                old = [each for each in fresh if each.sent_at.timestamp() <= started][: most - seen]
                seen += len(old)
                yield old
        finally:
            self._show_again()

    def delete(self, gone: Letter) -> None:
        """Delete a letter that a batch held."""
        _delete(self.sqs, self.url, self._handles.pop(gone.message_id))

    def _show_again(self) -> None:
        handles = list(self._handles.values())
        for start in range(0, len(handles), BATCH):
            _show(self.sqs, self.url, handles[start : start + BATCH])
        self._handles.clear()


@api_call("read the dead letters")
def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=BATCH,
        VisibilityTimeout=HIDDEN_SECONDS,
        WaitTimeSeconds=1,  # asks all of SQS's servers, not a sample
        MessageSystemAttributeNames=["SentTimestamp"],
        MessageAttributeNames=["All"],
    )
    return list(answer.get("Messages", []))


@api_call("delete a dead letter")
def _delete(sqs: Any, url: str, handle: str) -> None:
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)


@api_call("show dead letters again")
def _show(sqs: Any, url: str, handles: list[str]) -> None:
    """A receipt that ran out needs nothing: its letter is visible."""
    entries = [
        {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0} for number, handle in enumerate(handles)
    ]
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)


def require_queue(sqs: Any, application: str, region: str) -> Queue:
    """The region's queue of dead letters.

    Raises:
        FleetError: there is none.

    """
    url = queue_url(sqs, f"{application}-dead-letters")
    if url is None:
        raise FleetError(f"application={application} has no dead letters in {region}: deploy it there with site.yml")
    return Queue(sqs, url)


__all__ = ["Queue", "queue_url", "require_queue", "waiting"]
