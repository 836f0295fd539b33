# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters told apart by their form (docs/architecture.md, "Dead letters"). No AWS calls. Private."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp

KINDS = ("machine", "topic_rule", "bus_event", "pipe", "look", "shadow", "rotation", "sweep", "unknown")
# Functions with a queue of the same name, by the kind of their messages.
FUNCTIONS = {"look": "ingest-thing", "shadow": "record-shadow", "rotation": "rotate-certificate"}
# Functions that a schedule wakes and that may be woken again at any time.
SCHEDULED = ("sweep-devices", "check-certificates")
# Of a STANDARD execution: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
STOPPED = "Step Functions Execution Status Change"
SHOWN_CHARACTERS = 200

Body = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """One message of the queue. ``body`` is {} when it is no JSON object; ``notes`` are its message attributes."""

    message_id: str
    text: str
    body: Body
    notes: Mapping[str, str]
    sent_at: datetime

    @property
    def kind(self) -> str:
        """One of ``KINDS``."""
        body = self.body
        forms = {
            "machine": ("Machine" in body and "Input" in body) or body.get("detail-type") == STOPPED,
            "topic_rule": "ruleName" in body,
            "pipe": "DDBStreamBatchInfo" in body,
            # Either its schedule could not wake the function, or the function failed.
            "sweep": body.get("detail-type") == "Scheduled Event" or "RequestID" in self.notes,
            # A bus rule leaves the event, or what it made of the event for its target.
            "bus_event": "detail-type" in body or "RULE_ARN" in self.notes,
            "look": "look" in body,
            "shadow": "shadow" in body,
            "rotation": "request" in body and "principal" in body,
        }
        return next((kind for kind, fits in forms.items() if fits), "unknown")

    @property
    def payload(self) -> Any:
        """What the message that a topic rule could not pass on was, as JSON; None when it is no JSON."""
        try:
            return json.loads(base64.b64decode(self.body.get("base64OriginalPayload", "")))
        except (binascii.Error, ValueError):
            return None

    @property
    def execution(self) -> tuple[str, Any]:
        """Name of the state machine, and the input of the execution that failed or was stopped.

        Raises:
            KeyError: AWS left the input out, as it was too long.

        """
        if "Machine" in self.body:
            return str(self.body["Machine"]), self.body["Input"]
        detail = self.body["detail"]
        return str(detail["stateMachineArn"]).rpartition(":")[2], json.loads(detail["input"])

    @property
    def function(self) -> str:
        """Which function its schedule wakes, by the schedule's name, without the application; the sweep without one."""
        rule = _last(str((self.body.get("resources") or [""])[0]))
        return next((name for name in SCHEDULED if rule.endswith(f"-{name}")), SCHEDULED[0])

    @property
    def is_held(self) -> bool:
        """Whether it is a deletion that only an operator may let go on."""
        return "held" in self.body

    def shown(self) -> dict[str, Any]:
        """``kind``, ``source``, ``device``, ``error`` and ``sent_at``, for a person; "" for what the letter lacks."""
        source, device, error = _FACTS[self.kind](self)
        return {
            "message_id": self.message_id,
            "kind": self.kind,
            "source": source,
            "device": device,
            "error": " ".join(error.split())[:SHOWN_CHARACTERS],
            "sent_at": timestamp(self.sent_at),
        }


def letter(message: Mapping[str, Any]) -> Letter:
    """The letter in a message as SQS's ReceiveMessage returns it."""
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = None
    return Letter(
        message_id=message["MessageId"],
        text=message["Body"],
        body=body if isinstance(body, dict) else {},
        notes={name: value.get("StringValue", "") for name, value in (message.get("MessageAttributes") or {}).items()},
        sent_at=datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC),
    )


def _subject(content: Any) -> str:
    """Which device an input or an event is about."""
    names = ("ThingName", "thingName", "thing", "PK", "definition", "certificateId", "CertificateId")
    if not isinstance(content, dict):
        return ""
    for name in names:
        if content.get(name):
            return str(content[name])
    return str(content.get("thingArn", "")).rpartition("/")[2]


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]


def _of_machine(each: Letter) -> tuple[str, str, str]:
    body = each.body
    if "Machine" in body:
        return body["Machine"], _subject(body["Input"]), f"{body.get('Error', '')}: {body.get('Cause', '')}"
    detail = body.get("detail", {})
    subject = _subject(json.loads(detail.get("input") or "{}"))
    return str(detail.get("stateMachineArn", "")).rpartition(":")[2], subject, str(detail.get("status", ""))


def _of_topic_rule(each: Letter) -> tuple[str, str, str]:
    failures = each.body.get("failures") or [{}]
    device = _subject(each.payload) or each.body.get("clientId") or each.body.get("topic", "")
    return each.body["ruleName"], str(device), str(failures[0].get("errorMessage", ""))


def _of_bus_event(each: Letter) -> tuple[str, str, str]:
    error = f"{each.notes.get('ERROR_CODE', '')}: {each.notes.get('ERROR_MESSAGE', '')}".strip(": ")
    return _last(each.notes.get("RULE_ARN", "")), _subject(converge_input(each.body)), error


def _of_pipe(each: Letter) -> tuple[str, str, str]:
    batch, context = each.body["DDBStreamBatchInfo"], each.body.get("context", {})
    return (
        _last(context.get("partnerResourceArn", "")),
        f"{batch.get('batchSize')} records",
        context.get("condition", ""),
    )


def _of_message(each: Letter) -> tuple[str, str, str]:
    function = FUNCTIONS[each.kind]
    return function, _subject(each.body), f"held: {each.body['held']}" if each.is_held else "given up by the function"


def _of_sweep(each: Letter) -> tuple[str, str, str]:
    return each.function, "", each.notes.get("ErrorMessage") or each.notes.get("ERROR_MESSAGE", "")


def _of_unknown(each: Letter) -> tuple[str, str, str]:
    return "", "", each.text


_FACTS = {
    "machine": _of_machine,
    "topic_rule": _of_topic_rule,
    "bus_event": _of_bus_event,
    "pipe": _of_pipe,
    "look": _of_message,
    "shadow": _of_message,
    "rotation": _of_message,
    "sweep": _of_sweep,
    "unknown": _of_unknown,
}


def converge_input(body: Body) -> Body:
    """The input of converge-device that a bus event stands for; {} when it stands for none."""
    record = body.get("detail", {}).get("dynamodb") if "detail-type" in body else None
    if record is None:
        return body if "ThingName" in body else {}
    return input_of_record({"dynamodb": record})


def input_of_record(record: Mapping[str, Any]) -> Body:
    """The input of converge-device that a stream record of ``device-inventory`` stands for; images as in the stream."""
    change = record["dynamodb"]
    images = {name: change[name] for name in ("OldImage", "NewImage") if change.get(name)}
    return {"ThingName": change["Keys"]["ThingName"]["S"], **(images if len(images) == 2 else {})}


__all__ = ["FUNCTIONS", "KINDS", "Letter", "converge_input", "input_of_record", "letter"]
