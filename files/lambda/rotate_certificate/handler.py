"""Gives devices new certificates, and makes them the current ones when devices show up with them.

Messages of the queue, as the topic rule writes them: ``{thingName, request: "create", principal, csr, jobId}`` and
``{thingName, request: "commit", principal, jobId}``. What the device publishes is ``csr`` and ``jobId``, of any type or
missing; ``principal`` is the certificateId of its connection. The answer goes to
``e/<thingName>/certificate/<request>/<accepted, pending or rejected>``. A message that comes twice is answered twice
with the same.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from answers import Answer, RejectedError
from aws import aws
from commit import Commit
from create import Create
from csr import UnfitError
from devices import job_of

Message = dict[str, Any]
REQUESTS: dict[str, type[Create | Commit]] = {"create": Create, "commit": Commit}

_log = logging.getLogger()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point: a batch of the queue to the messages that have to come again."""
    failed = []
    for record in event["Records"]:
        try:
            take(json.loads(record["body"]))
        except Exception:
            _log.exception("message %s has to come again", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def take(message: Message) -> None:
    """Do what the device asks for, and tell it."""
    thing, request, job = message["thingName"], message["request"], job_of(message)
    answer = answer_to(message)
    if answer.kind == "rejected":
        _log.warning("%s of %s for job %s rejected: %s", request, thing, job, answer.members)
    aws("iot-data").publish(
        topic=f"e/{thing}/certificate/{request}/{answer.kind}",
        qos=1,
        payload=json.dumps({"jobId": job, **answer.members}).encode(),
    )


def answer_to(message: Message) -> Answer:
    """What the device is told."""
    try:
        return REQUESTS[message["request"]](message).take()
    except (RejectedError, UnfitError) as rejection:
        return Answer("rejected", {"code": rejection.code, "message": str(rejection)})
