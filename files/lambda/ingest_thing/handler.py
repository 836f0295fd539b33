"""Take into the registry table what somebody changed in this region's AWS IoT registry.

An event only says where to look, and is never believed: it may come twice, late and in any order. What events do not
tell (attachments, policies, the status of certificates) is found by looking again. Only a region that has applied the
row may change it, so that an old state of a registry never undoes a newer row.

A message is ``{"look": n, ...}``: an event of AWS IoT's registry; or ``thingName`` or ``definition`` alone, to look at
that. ``"confirmed": true`` on the event of a deletion says that an operator wants it.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import definitions_here
import rows
from aws import aws
from definitions import OWN
from deletions import Deletion
from looks import Look

LOOKS = [int(seconds) for seconds in os.environ["LOOKS"].split(",")]
Message = dict[str, Any]
log = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """AWS Lambda's entry point for a batch of SQS messages; says which of them failed."""
    failed = []
    for record in event["Records"]:
        try:
            take(json.loads(record["body"]))
        except Exception:
            log.exception("Message %s failed", record["messageId"])
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def take(message: Message) -> None:
    """Look where the message points, and have it looked at again later when there may be more to see."""
    definition, thing = subject(message)
    is_complete = False
    if definition:
        again = not definitions_here.look(definition)
    elif not thing or (message["look"] == 0 and is_echo(message)):
        return
    elif message.get("operation") == "DELETED":
        again = Deletion(thing, message).take()
    else:
        about = {"kind": message.get("eventType", ""), "thing_id": message.get("thingId") or ""}
        look = Look(thing, number=message["look"], is_last=message["look"] + 1 >= len(LOOKS), **about)
        again = look.take()
        is_complete = look.is_complete
    if again:
        look_again(message, is_last=is_complete)


def subject(message: Message) -> tuple[str, str]:
    """The definition or the thing that the message is about, the other one being empty."""
    kind = message.get("eventType")
    if kind == "THING_GROUP_MEMBERSHIP_EVENT":
        return "", message["thingArn"].rpartition("/")[2]
    if kind == "THING_GROUP_HIERARCHY_EVENT":
        return f"group#{message['childGroupName']}", ""
    if kind == "THING_GROUP_EVENT":
        return f"group#{message['thingGroupName']}", ""
    if kind == "THING_TYPE_EVENT":
        return (f"type#{message['thingTypeName']}" if message["thingTypeName"] != OWN else ""), ""
    return message.get("definition", ""), message.get("thingName", "")


def is_echo(message: Message) -> bool:
    """Whether convergence itself made the change that the event of a thing tells of."""
    thing_type = message.get("thingTypeName") or ""
    return message.get("operation") != "DELETED" and rows.is_as_written(message.get("attributes") or {}, thing_type)


def look_again(message: Message, *, is_last: bool = False) -> None:
    """Send the next look, or straight away the last one, unless this was it.

    A look costs a DescribeCertificate for each certificate, of which AWS IoT has ten a second.
    """
    before = message["look"]
    look = max(before + 1, len(LOOKS) - 1) if is_last else before + 1
    if look < len(LOOKS):
        aws("sqs").send_message(
            QueueUrl=os.environ["QUEUE_URL"],
            MessageBody=json.dumps({**message, "look": look}),
            DelaySeconds=LOOKS[look] - LOOKS[before],
        )
