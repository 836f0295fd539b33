"""Looks after what no event woke: rows that were not applied, failed or are due, and what IoT holds otherwise.

Every sweep reads this region's rows and statuses and wakes converge-device. Every now and then it also reads what IoT
lists and compares it with what was applied (listings.py).
"""

from __future__ import annotations

import heapq
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import decisions
import scans
from aws import aws, code, pages, plain, typed
from botocore.exceptions import ClientError
from decisions import Wake
from listings import Comparison
from pace import Pace

APPLICATION = os.environ["APPLICATION"]
CONVERGE_MACHINE = os.environ["CONVERGE_MACHINE"]  # ARN
INGEST_QUEUE = os.environ["INGEST_QUEUE"]  # URL; "" when nothing takes in what was changed in IoT itself
REGISTRY_SECONDS = 60 * int(os.environ["REGISTRY_MINUTES"])  # between two comparisons with IoT's listings
THINGS_SECONDS = 60 * int(os.environ["THINGS_MINUTES"])  # the same with that of things, which alone is charged
WAKES_PER_SECOND = float(os.environ["WAKES_PER_SECOND"])
WAKES = int(os.environ["WAKES"])  # in one sweep
STATUS_TABLE = f"{APPLICATION}-device-status"
KEY = {"ThingName": "sweep/devices"}  # of the lease
MARGIN = 30.0  # seconds before the function's end in which nothing is begun
ENOUGH = 400.0  # seconds that a comparison should have; with less it waits for the next sweep

Item = dict[str, Any]


def handler(event: Item, context: Any) -> Item:
    """AWS Lambda's entry point; ``{"Registry": true}`` compares with IoT's listings now.

    Returns how many devices are ``Behind``, how many were ``Woken`` and ``LookedAt``, whether the registry was
    ``Compared`` to its end, and ``StoppedPipes``; nothing when another sweep is at work.
    """
    owner, now = context.aws_request_id, int(time.time())
    memory = _take_lease(owner, now, int(context.get_remaining_time_in_millis() / 1000))
    if memory is None:
        return {}
    learned: Item = {}
    try:
        return _sweep(
            memory,
            learned,
            now=now,
            asked=bool(event.get("Registry")),
            seconds_left=lambda: context.get_remaining_time_in_millis() / 1000 - MARGIN,
        )
    finally:
        _release_lease(owner, learned)


def _sweep(memory: Item, learned: Item, *, now: int, asked: bool, seconds_left: Callable[[], float]) -> Item:
    tokens = memory.get("Tokens", {})
    compared = asked or bool(tokens) or now - memory.get("ComparedAt", 0) >= REGISTRY_SECONDS
    with_things = asked or now - memory.get("ThingsComparedAt", 0) >= THINGS_SECONDS
    devices = scans.read(now, compared=compared)
    stopped = decisions.stopped(
        pipe for page in pages("pipes", "list_pipes", NamePrefix=f"{APPLICATION}-") for pipe in page["Pipes"]
    )
    behind = sum(wake.reason in ("late", "failed") for wake in devices.wakes)
    _report(Behind=behind, StoppedPipes=len(stopped))
    pace = Pace(WAKES_PER_SECOND)
    woken = _each(heapq.nsmallest(WAKES, devices.wakes), _wake, pace, seconds_left)
    looked = 0
    if compared and seconds_left() >= ENOUGH:
        things, left = Comparison(devices, seconds_left, with_things=with_things).run(tokens)
        if not INGEST_QUEUE:  # then what has no row stays as it is
            things &= devices.things.keys()
        looked = _each(_some(things, now), _look if INGEST_QUEUE else _wake, pace, seconds_left)
        done = {"ComparedAt": now, **({"ThingsComparedAt": now} if with_things else {})}
        learned.update({"Tokens": left} if left else done)
    _report(Woken=woken, LookedAt=looked)
    return {
        "Behind": behind,
        "Woken": woken,
        "LookedAt": looked,
        "Compared": "ComparedAt" in learned,
        "StoppedPipes": stopped,
    }


def _some(things: set[str], now: int) -> list[Wake]:
    """As many as may be woken, in no order: one that stays as it is does not stand in the way of the others."""
    return [Wake(now, thing, "drifted") for thing in random.sample(sorted(things), min(WAKES, len(things)))]


def _each(wakes: list[Wake], act: Callable[[Wake], None], pace: Pace, seconds_left: Callable[[], float]) -> int:
    """Act on one after the other, as fast as may be, while there is time; the next sweep finds the rest again."""
    for number, wake in enumerate(wakes):
        if seconds_left() <= 0:
            return number
        pace.wait()
        act(wake)
    return len(wakes)


def _wake(wake: Wake) -> None:
    what: Item = {"ThingName": wake.thing}
    if wake.reason not in ("late", "forgotten"):
        what["Force"] = True
    aws("stepfunctions").start_execution(stateMachineArn=CONVERGE_MACHINE, input=json.dumps(what))


def _look(wake: Wake) -> None:
    message = {"thingName": wake.thing, "look": 0, "source": "sweep"}
    aws("sqs").send_message(QueueUrl=INGEST_QUEUE, MessageBody=json.dumps(message))


def _take_lease(owner: str, now: int, seconds: int) -> Item | None:
    """What the last sweep remembered; None while another one is at work, at most until Lambda has ended it."""
    try:
        answer = aws("dynamodb").update_item(
            TableName=STATUS_TABLE,
            Key=typed(KEY),
            UpdateExpression="SET LeaseOwner = :owner, LeaseUntil = :until",
            ConditionExpression="attribute_not_exists(LeaseUntil) OR LeaseUntil < :now OR LeaseOwner = :owner",
            ExpressionAttributeValues=typed({":owner": owner, ":until": now + seconds, ":now": now}),
            ReturnValues="ALL_NEW",
        )
    except ClientError as error:
        if code(error) == "ConditionalCheckFailedException":
            return None
        raise
    return plain(answer["Attributes"])


def _release_lease(owner: str, learned: Item) -> None:
    """Let go, and remember when the comparison ended or where it was interrupted."""
    forgotten = ", Tokens" if "ComparedAt" in learned else ""
    sets = ", ".join(f"{name} = :{name}" for name in learned)
    aws("dynamodb").update_item(
        TableName=STATUS_TABLE,
        Key=typed(KEY),
        UpdateExpression=f"{f'SET {sets} ' if sets else ''}REMOVE LeaseOwner, LeaseUntil{forgotten}",
        ConditionExpression="LeaseOwner = :owner",
        ExpressionAttributeValues=typed({":owner": owner, **{f":{name}": value for name, value in learned.items()}}),
    )


def _report(**counts: int) -> None:
    """Metrics in the log, where CloudWatch reads them.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    metrics = [{"Name": name, "Unit": "Count"} for name in counts]
    directive = {"Namespace": APPLICATION, "Dimensions": [["FunctionName"]], "Metrics": metrics}
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    print(json.dumps({"_aws": about, "FunctionName": f"{APPLICATION}-sweep-devices", **counts}))  # noqa: T201 - the log is the way to CloudWatch
