# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of SQS's moves a redrive waits for, and what it says of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils import aws
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from ansible_collections.iotops.fleet.plugins.modules import sqs_redrive

DEAD = "arn:aws:sqs:eu-west-1:123456789012:orders-dead-letters"


def task(status: str, *, started: int, moved: int = 0, of: int = 0, **more: Any) -> dict[str, Any]:
    """A task as SQS lists it."""
    numbers = {"ApproximateNumberOfMessagesMoved": moved, "ApproximateNumberOfMessagesToMove": of}
    return {"Status": status, "StartedTimestamp": started, **numbers, **more}


class Sqs:
    """A queue with dead letters, whose tasks are listed one after the other; the last one for ever."""

    def __init__(self, dead: int, *tasks: dict[str, Any] | None) -> None:
        self.dead, self.tasks, self.started = dead, list(tasks), 0

    def get_queue_url(self, *, QueueName: str, **_: Any) -> dict[str, str]:
        return {"QueueUrl": QueueName}

    def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        policy = json.dumps({"deadLetterTargetArn": DEAD})
        return {"Attributes": {"RedrivePolicy": policy, "ApproximateNumberOfMessages": str(self.dead)}}

    def start_message_move_task(self, **_: Any) -> dict[str, str]:
        self.started += 1
        return {"TaskHandle": "handle"}

    def list_message_move_tasks(self, **_: Any) -> dict[str, Any]:
        listed = self.tasks.pop(0) if len(self.tasks) > 1 else self.tasks[0]
        return {"Results": [listed] if listed else []}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two looks."""
    monkeypatch.setattr(aws.time, "sleep", lambda _seconds: None)


def redrive(sqs: Sqs, *, check: bool = False, timeout: int = 30) -> dict[str, Any]:
    params = {"queue": "orders", "max_per_second": None, "timeout": timeout, "progress_path": None}
    module: Any = SimpleNamespace(params=params, check_mode=check, client=lambda _service: sqs)
    return sqs_redrive.redrive(module)


def test_an_earlier_move_is_not_taken_for_the_new_one() -> None:
    earlier, new = task("COMPLETED", started=1, moved=9, of=9), task("COMPLETED", started=2, moved=5, of=5)
    sqs = Sqs(5, earlier, earlier, earlier, new)
    answer = redrive(sqs)
    assert (answer["changed"], answer["moved"], sqs.started) == (True, 5, 1)


def test_a_first_move_is_waited_for_until_it_is_listed() -> None:
    answer = redrive(Sqs(5, None, None, task("RUNNING", started=1, of=5), task("COMPLETED", started=1, moved=5, of=5)))
    assert (answer["changed"], answer["moved"]) == (True, 5)


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_move_that_did_not_reach_its_end_is_an_error(status: str) -> None:
    with pytest.raises(FleetError, match=f"queue=orders: .*{status} after 2 dead letters: .*run it again"):
        redrive(Sqs(5, None, task("RUNNING", started=1, moved=2, of=5), task(status, started=1, moved=2, of=5)))


def test_a_move_that_is_never_listed_is_an_error() -> None:
    with pytest.raises(FleetError, match="SQS, which has moved 0 dead letters of orders"):
        redrive(Sqs(5, None), timeout=0)


def test_check_mode_says_what_the_move_that_is_under_way_will_have_moved() -> None:
    sqs = Sqs(2, task("RUNNING", started=1, moved=3, of=5))
    answer = redrive(sqs, check=True)
    assert (answer["changed"], answer["moved"], sqs.started) == (True, 5, 0)


def test_a_move_that_is_under_way_is_waited_for_and_not_started_again() -> None:
    sqs = Sqs(2, task("RUNNING", started=1, moved=3, of=5), task("COMPLETED", started=1, moved=5, of=5))
    answer = redrive(sqs)
    assert (answer["changed"], answer["moved"], sqs.started) == (True, 5, 0)
