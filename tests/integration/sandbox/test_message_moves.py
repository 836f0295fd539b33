# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that are moved from dead letters back to their queue."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from iotops.sandbox.client import Sandbox
from tests.integration.sandbox.chain import REGION, eventually, queue, unique


class Pair:
    """A queue whose messages die when they have been received once."""

    def __init__(self, sandbox: Sandbox, dead: tuple[str, str]) -> None:
        self.sqs = sandbox.client("sqs", REGION)
        self.dead_url, self.dead_arn = dead
        self.url, self.arn = queue(sandbox)
        redrive = json.dumps({"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": 1})
        self.sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": redrive}
        )

    def die(self, *bodies: str) -> list[str]:
        """Send messages that nobody takes, and wait for their death; their ids."""
        ids = [self.sqs.send_message(QueueUrl=self.url, MessageBody=body)["MessageId"] for body in bodies]
        assert eventually(lambda: not self.sqs.receive_message(QueueUrl=self.url).get("Messages"))
        return ids

    def count(self, url: str) -> int:
        name = "ApproximateNumberOfMessages"
        return int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    def move(self, **more: Any) -> dict[str, Any]:
        """Start a task and wait for its end; how it ended."""
        self.sqs.start_message_move_task(SourceArn=self.dead_arn, **more)
        return dict(eventually(lambda: (last := self.last())["Status"] != "RUNNING" and last))

    def last(self) -> dict[str, Any]:
        [found] = self.sqs.list_message_move_tasks(SourceArn=self.dead_arn)["Results"]
        return dict(found)


@pytest.fixture
def pair(sandbox: Sandbox) -> Pair:
    return Pair(sandbox, queue(sandbox))


def test_dead_letters_of_several_queues_go_back_each_to_its_own_as_new_messages(sandbox: Sandbox, pair: Pair) -> None:
    other = Pair(sandbox, (pair.dead_url, pair.dead_arn))
    ids = pair.die("a", "b")
    other.die("c")
    ended = pair.move()
    assert (ended["Status"], ended["ApproximateNumberOfMessagesMoved"], "TaskHandle" in ended) == (
        "COMPLETED",
        3,
        False,
    )
    assert (pair.count(pair.url), pair.count(other.url), pair.count(pair.dead_url)) == (2, 1, 0)
    [message] = pair.sqs.receive_message(QueueUrl=pair.url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert message["MessageId"] not in ids


def test_they_go_elsewhere_if_that_is_wanted(sandbox: Sandbox, pair: Pair) -> None:
    url, arn = queue(sandbox)
    pair.die("a")
    assert pair.move(DestinationArn=arn)["DestinationArn"] == arn
    assert (pair.count(pair.url), pair.count(url)) == (0, 1)


def test_a_rate_is_kept_only_one_task_runs_and_it_can_be_cancelled(pair: Pair) -> None:
    pair.die(*(str(number) for number in range(20)))
    began = time.monotonic()
    handle = pair.sqs.start_message_move_task(SourceArn=pair.dead_arn, MaxNumberOfMessagesPerSecond=4)["TaskHandle"]
    with pytest.raises(ClientError, match="already a task running"):
        pair.sqs.start_message_move_task(SourceArn=pair.dead_arn)
    assert eventually(lambda: pair.last()["ApproximateNumberOfMessagesMoved"] >= 2)
    assert pair.last()["TaskHandle"] == handle
    moved = pair.sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert 2 <= moved <= 4 * (time.monotonic() - began) + 1
    assert pair.last()["Status"] == "CANCELLED"
    assert pair.count(pair.url) == moved
    assert pair.move()["ApproximateNumberOfMessagesMoved"] == 20 - moved


def test_a_message_that_came_from_no_queue_ends_the_task(pair: Pair) -> None:
    pair.sqs.send_message(QueueUrl=pair.dead_url, MessageBody="from nowhere")
    ended = pair.move()
    assert (ended["Status"], ended["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert pair.count(pair.dead_url) == 1


def test_what_cannot_be_is_refused(sandbox: Sandbox, pair: Pair) -> None:
    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        pair.sqs.start_message_move_task(SourceArn=pair.arn)
    with pytest.raises(ClientError, match="doesn't exist"):
        pair.sqs.start_message_move_task(SourceArn=f"arn:aws:sqs:{REGION}:{sandbox.account_id}:{unique('none')}")
    with pytest.raises(ClientError, match="between 1 and 500"):
        pair.sqs.start_message_move_task(SourceArn=pair.dead_arn, MaxNumberOfMessagesPerSecond=501)
