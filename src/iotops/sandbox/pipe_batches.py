# SPDX-License-Identifier: GPL-3.0-or-later
"""One batch of a pipe: what of it is wanted, how it is sent, and what becomes of what the target does not take."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import now_iso
from ministack.services import cloudwatch, eventbridge
from ministack.services import pipes as base

from iotops.sandbox import execution_role
from iotops.sandbox.queues import queue_url

__all__ = ["PRINCIPAL", "deliver", "matches", "problem", "stream_setting"]

PRINCIPAL = "pipes.amazonaws.com"
_LONGEST_DELAY = 5.0  # seconds between two attempts
_DEFAULTS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
}
_TARGETS = ("events", "lambda", "sns", "sqs", "states")
_PLACEHOLDER = re.compile(r"<(\$[^>]*)>")


class _PartlyRefusedError(Exception):
    """The target took the first ``taken`` records and refused the next one."""

    def __init__(self, taken: int, message: str) -> None:
        super().__init__(message)
        self.taken = taken


def problem(pipe: dict[str, Any]) -> str | None:
    """Why the pipe cannot be made; None when it can."""
    service = base._arn_service(pipe.get("Target") or "")
    if service not in _TARGETS:
        return f"the sandbox's pipes have no target {pipe.get('Target')} (they have {', '.join(_TARGETS)})"
    if pipe.get("Enrichment"):
        return "the sandbox's pipes have no enrichment"
    for pattern in _patterns(pipe):
        try:
            if not eventbridge._compiled_pattern(pattern):
                return f"Filter pattern is not valid: {pattern}"
        except ValueError as error:
            return f"Filter pattern is not valid: {error}"
    return None


def stream_setting(pipe: dict[str, Any], name: str) -> float:
    """A number of ``SourceParameters.DynamoDBStreamParameters``, AWS's default when it is not set."""
    return float(_stream(pipe).get(name, _DEFAULTS[name]))


def _stream(pipe: dict[str, Any]) -> dict[str, Any]:
    return (pipe.get("SourceParameters") or {}).get("DynamoDBStreamParameters") or {}


def _patterns(pipe: dict[str, Any]) -> list[str]:
    criteria = (pipe.get("SourceParameters") or {}).get("FilterCriteria") or {}
    return [entry["Pattern"] for entry in criteria.get("Filters") or []]


def matches(pipe: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether one of the pipe's filters (or none being there) lets the stream record through."""
    patterns = _patterns(pipe)
    return not patterns or any(
        eventbridge._matches_detail(record, alternative)
        for pattern in patterns
        for alternative in eventbridge._compiled_pattern(pattern) or []
    )


def deliver(pipe: dict[str, Any], records: list[dict[str, Any]], wanted: Callable[[], bool]) -> bool:
    """Send the records, again and again as the pipe's settings say, in the end to its dead letters.

    True when the pipe is done with them; False when ``wanted`` said that the pipe was stopped, changed or deleted.
    """
    attempts = 0
    while wanted():
        try:
            _send(pipe, records)
            pipe["StateReason"] = ""
            return True
        except (ClientError, BotoCoreError, PermissionError, _PartlyRefusedError) as error:
            base.logger.warning("Pipes %s: %s", pipe["Name"], error)
            pipe["StateReason"] = str(error)[:512]
            taken = getattr(error, "taken", 0)
            metric = "ExecutionPartiallyFailed" if taken else "ExecutionFailed"
            cloudwatch.record_metric("AWS/EventBridge/Pipes", metric, 1, "Count", {"PipeName": pipe["Name"]})
            records = records[taken:]
        attempts += 1
        condition = _exhausted(pipe, records, attempts)
        if (condition and len(records) == 1) or (condition and not _bisects(pipe)):
            _bury(pipe, records, condition)
            return True
        if _bisects(pipe) and len(records) > 1:
            middle = len(records) // 2
            return deliver(pipe, records[:middle], wanted) and deliver(pipe, records[middle:], wanted)
        _pause(attempts, wanted)
    return False


def _bisects(pipe: dict[str, Any]) -> bool:
    return _stream(pipe).get("OnPartialBatchItemFailure") == "AUTOMATIC_BISECT"


def _exhausted(pipe: dict[str, Any], records: list[dict[str, Any]], attempts: int) -> str | None:
    limit, age = stream_setting(pipe, "MaximumRetryAttempts"), stream_setting(pipe, "MaximumRecordAgeInSeconds")
    if 0 <= limit < attempts:
        return "RetryAttemptsExhausted"
    if age > 0 and time.time() - _arrival(records[0]) > age:
        return "RecordAgeExceeded"
    return None


def _arrival(record: dict[str, Any]) -> float:
    return float(record["dynamodb"].get("ApproximateCreationDateTime") or time.time())


def _pause(attempts: int, wanted: Callable[[], bool]) -> None:
    until = time.monotonic() + random.uniform(0.1, min(0.2 * 2**attempts, _LONGEST_DELAY))  # noqa: S311 - jitter
    while wanted() and time.monotonic() < until:
        time.sleep(0.05)


def _bury(pipe: dict[str, Any], records: list[dict[str, Any]], condition: str) -> None:
    """Tell the dead letter queue where in the stream the records are; AWS does not send the records themselves."""
    target = (_stream(pipe).get("DeadLetterConfig") or {}).get("Arn")
    if not target:
        return
    first, last = records[0], records[-1]
    note = {
        "context": {"partnerResourceArn": pipe["Arn"], "condition": condition},
        "version": "1.0",
        "timestamp": now_iso(),
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000000000000000000-00000000",
            "startSequenceNumber": first["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": last["dynamodb"]["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _arrival(first),
            "approximateArrivalOfLastRecord": _arrival(last),
            "batchSize": len(records),
            "streamArn": pipe["Source"],
        },
    }
    service = base._arn_service(target)
    try:
        client = _client(pipe, service)
        if service == "sns":
            client.publish(TopicArn=target, Message=json.dumps(note))
        else:
            client.send_message(QueueUrl=queue_url(target), MessageBody=json.dumps(note))
    except (ClientError, BotoCoreError, PermissionError) as error:
        base.logger.error("Pipes %s: dead letter refused: %s", pipe["Name"], error)


# --- sending ---------------------------------------------------------------------------------------------------------


def _client(pipe: dict[str, Any], service: str) -> Any:
    return execution_role.client(pipe.get("RoleArn"), service, PRINCIPAL, source_arn=pipe["Arn"])


def _send(pipe: dict[str, Any], records: list[dict[str, Any]]) -> None:
    # One call a batch tells the journal, and fault rules, that the pipe reads its stream.
    _client(pipe, "dynamodbstreams").describe_stream(StreamArn=pipe["Source"])
    template = (pipe.get("TargetParameters") or {}).get("InputTemplate")
    bodies = [_render(template, record) if template else json.dumps(record) for record in records]
    service = base._arn_service(pipe["Target"])
    if service in ("events", "sns", "sqs"):
        {"events": _put_events, "sns": _publish, "sqs": _enqueue}[service](pipe, records, bodies)
    elif service == "states":
        _client(pipe, "stepfunctions").start_execution(stateMachineArn=pipe["Target"], input=f"[{','.join(bodies)}]")
    else:
        _invoke(pipe, records, f"[{','.join(bodies)}]")


def _put_events(pipe: dict[str, Any], records: list[dict[str, Any]], bodies: list[str]) -> None:
    settings = (pipe.get("TargetParameters") or {}).get("EventBridgeEventBusParameters") or {}
    entries = [
        {
            "EventBusName": pipe["Target"],
            "Detail": body,
            "Source": _dynamic(settings.get("Source"), record) or f"Pipe {pipe['Name']}",
            "DetailType": _dynamic(settings.get("DetailType"), record) or "Event from aws:dynamodb",
            "Resources": settings.get("Resources") or [],
        }
        for record, body in zip(records, bodies, strict=True)
    ]
    client = _client(pipe, "events")
    for start in range(0, len(entries), 10):
        answer = client.put_events(Entries=entries[start : start + 10])
        for index, result in enumerate(answer["Entries"]):
            if result.get("ErrorCode"):
                raise _PartlyRefusedError(start + index, f"{result['ErrorCode']}: {result.get('ErrorMessage')}")


def _publish(pipe: dict[str, Any], _records: list[dict[str, Any]], bodies: list[str]) -> None:
    client = _client(pipe, "sns")
    for body in bodies:
        client.publish(TopicArn=pipe["Target"], Message=body)


def _enqueue(pipe: dict[str, Any], _records: list[dict[str, Any]], bodies: list[str]) -> None:
    client = _client(pipe, "sqs")
    for body in bodies:
        client.send_message(QueueUrl=queue_url(pipe["Target"]), MessageBody=body)


def _invoke(pipe: dict[str, Any], records: list[dict[str, Any]], payload: str) -> None:
    settings = (pipe.get("TargetParameters") or {}).get("LambdaFunctionParameters") or {}
    kind = {"FIRE_AND_FORGET": "Event"}.get(settings.get("InvocationType", ""), "RequestResponse")
    answer = _client(pipe, "lambda").invoke(FunctionName=pipe["Target"], Payload=payload, InvocationType=kind)
    text = answer["Payload"].read().decode("utf-8", "replace")
    if answer.get("FunctionError"):
        raise _PartlyRefusedError(0, text)
    taken = _taken(records, text) if kind == "RequestResponse" else len(records)
    if taken < len(records):
        raise _PartlyRefusedError(taken, f"{pipe['Target']} reports failed records: {text}")


def _taken(records: list[dict[str, Any]], text: str) -> int:
    """How many records come before the first that the function reports as failed, by sequence number."""
    answer = json.loads(text or "null")
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return len(records)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    failed = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in failures]
    return min((numbers.index(number) if number in numbers else 0) for number in failed)


def _dynamic(value: Any, record: dict[str, Any]) -> Any:
    return _look_up(record, value) if isinstance(value, str) and value.startswith("$.") else value


def _look_up(record: Any, path: str) -> Any:
    """The value at a path such as ``$.dynamodb.NewImage.Tags.L[0].S``; None when it is not there."""
    for name in re.findall(r"[^.\[\]]+", path)[1:]:
        try:
            record = record[int(name)] if isinstance(record, list) else record[name]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return record


def _render(template: str, record: dict[str, Any]) -> str:
    """Fill ``<$.path>``: as JSON where it stands alone, as text inside a string; what is missing is an empty string."""

    def one(match: re.Match[str]) -> str:
        value = _look_up(record, match.group(1))
        value = "" if value is None else value
        inside = template[: match.start()].replace('\\"', "").count('"') % 2
        if not inside:
            return json.dumps(value)
        return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value).replace('"', '\\"')

    return _PLACEHOLDER.sub(one, template)
