# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters told apart by their form, and what the rules would have made of them."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.letters import (
    KINDS,
    converge_input,
    input_of_record,
    letter,
)
from ansible_collections.iotops.fleet.plugins.module_utils._dead_letters.rules import (
    queued_item,
    registry_message,
    shadow_message,
    stored_item,
)

KEYS = {"ThingName": {"S": "dev"}}
OLD, NEW = {"Version": {"N": "1"}}, {"Version": {"N": "2"}}


def made(body, **notes: str):
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in notes.items()}
    text = body if isinstance(body, str) else json.dumps(body)
    return letter(
        {
            "MessageId": "m1",
            "Body": text,
            "Attributes": {"SentTimestamp": "1700000000123"},
            "MessageAttributes": attributes,
        }
    )


def of_rule(rule: str, topic: str, payload):
    return made(
        {
            "ruleName": rule,
            "topic": topic,
            "clientId": "dev",
            "base64OriginalPayload": base64.b64encode(json.dumps(payload).encode()).decode(),
            "failures": [{"errorMessage": "denied\nhere"}],
        }
    )


SHOWN = [
    (
        made({"Machine": "m-converge", "Input": {"ThingName": "dev"}, "Error": "E", "Cause": "c"}),
        ("machine", "m-converge", "dev", "E: c"),
    ),
    (
        of_rule("app_register_device", "$aws/events/certificates/registered/ca", {"certificateId": "c1"}),
        ("topic_rule", "app_register_device", "c1", "denied here"),
    ),
    (of_rule("app_store_message", "i/dev/x", 5), ("topic_rule", "app_store_message", "dev", "denied here")),
    (
        made(
            {"detail-type": "DeviceTableUpdate", "detail": {"dynamodb": {"Keys": KEYS}}},
            RULE_ARN="arn:aws:events:r:1:rule/bus/converge",
            ERROR_CODE="NO_PERMISSIONS",
            ERROR_MESSAGE="denied",
        ),
        ("bus_event", "converge", "dev", "NO_PERMISSIONS: denied"),
    ),
    (
        made({"ThingName": "dev"}, RULE_ARN="arn:aws:events:r:1:rule/bus/converge"),
        ("bus_event", "converge", "dev", ""),
    ),
    (
        made(
            {
                "DDBStreamBatchInfo": {"batchSize": 3},
                "context": {"partnerResourceArn": "arn:aws:pipes:r:1:pipe/p", "condition": "RetryAttemptsExhausted"},
            }
        ),
        ("pipe", "p", "3 records", "RetryAttemptsExhausted"),
    ),
    (made({"look": 2, "thingName": "dev"}), ("look", "ingest-thing", "dev", "given up by the function")),
    (
        made({"look": 0, "thingArn": "arn:aws:iot:r:1:thing/dev", "held": "too many"}),
        ("look", "ingest-thing", "dev", "held: too many"),
    ),
    (made({"shadow": "apply", "thing": "dev"}), ("shadow", "record-shadow", "dev", "given up by the function")),
    (
        made({"thingName": "dev", "request": "create", "principal": "c1", "csr": "PEM", "jobId": "app-rotate-1"}),
        ("rotation", "rotate-certificate", "dev", "given up by the function"),
    ),
    (
        made(
            {
                "detail-type": "Step Functions Execution Status Change",
                "detail": {
                    "stateMachineArn": "arn:aws:states:r:1:stateMachine:app-register-device",
                    "input": '{"certificateId": "c1"}',
                    "status": "ABORTED",
                },
            }
        ),
        ("machine", "app-register-device", "c1", "ABORTED"),
    ),
    (
        made({"detail-type": "Scheduled Event", "detail": {}}, RULE_ARN="arn:sweep", ERROR_MESSAGE="denied"),
        ("sweep", "sweep-devices", "", "denied"),
    ),
    (
        made({"detail-type": "Scheduled Event", "resources": ["arn:aws:events:r:1:rule/app-check-certificates"]}),
        ("sweep", "check-certificates", "", ""),
    ),
    (made({}, RequestID="r1", ErrorMessage="too slow"), ("sweep", "sweep-devices", "", "too slow")),
    (made("no JSON"), ("unknown", "", "", "no JSON")),
    (made("[1]"), ("unknown", "", "", "[1]")),
    (made({"Machine": "without input"}), ("unknown", "", "", '{"Machine": "without input"}')),
]


@pytest.mark.parametrize(("given", "shown"), SHOWN)
def test_a_letter_says_what_who_and_why(given, shown) -> None:
    facts = given.shown()
    assert tuple(facts[name] for name in ("kind", "source", "device", "error")) == shown
    assert facts["sent_at"] == "2023-11-14T22:13:20Z"


def test_every_kind_has_an_example_above() -> None:
    assert {each.kind for each, _shown in SHOWN} == set(KINDS)


def test_a_stopped_execution_has_its_input() -> None:
    [stopped] = [each for each, shown in SHOWN if shown[3] == "ABORTED"]
    assert stopped.execution == ("app-register-device", {"certificateId": "c1"})


def test_a_record_wakes_with_both_images_or_with_none() -> None:
    both = {"Keys": KEYS, "OldImage": OLD, "NewImage": NEW}
    assert input_of_record({"dynamodb": both}) == {"ThingName": "dev", "OldImage": OLD, "NewImage": NEW}
    assert input_of_record({"dynamodb": {"Keys": KEYS, "NewImage": NEW}}) == {"ThingName": "dev"}
    assert converge_input({"detail-type": "DeviceTableUpdate", "detail": {"dynamodb": both}})["OldImage"] == OLD
    assert converge_input({"ThingName": "dev", "OldImage": OLD, "NewImage": NEW})["NewImage"] == NEW
    assert converge_input({"detail-type": "another", "detail": {}}) == {}


def test_a_stored_message_has_the_same_key_each_time() -> None:
    given = of_rule("app_store_message", "i/dev/temperature", {"PK": "not a key"})
    item = stored_item(given, "eu-west-1")
    assert item == stored_item(given, "eu-west-1")
    assert item["PK"] == "dev"
    assert item["SK"].startswith("1700000000123#")
    assert item["message"] == {"PK": "not a key"}


def test_a_message_for_a_queue_is_the_item_but_for_the_thing() -> None:
    given = of_rule("app_queue_telemetry", "loadtest", {"number": 1})
    assert queued_item(given, "eu-west-1") == queued_item(given, "eu-west-1")
    assert queued_item(given, "eu-west-1").keys() == {"SK", "region", "topic", "message"}


def test_the_registry_function_looks_from_the_beginning() -> None:
    given = of_rule("app_ingest", "$aws/events/thing/dev/updated", {"thingName": "dev"})
    assert registry_message(given) == {"thingName": "dev", "look": 0}


CURRENT = {"current": {"state": {"reported": {}}, "version": 2}, "timestamp": 1700000000}
UPDATED = {
    "shadow": "updated",
    "thing": "dev",
    "at": 1700000000000,
    "state": {"reported": {}},
    "version": 2,
}
DELETED = {"version": 3, "timestamp": 1700000000, "clientToken": "t"}


@pytest.mark.parametrize(
    ("topic", "payload", "message"),
    [
        ("$aws/things/dev/shadow/update/documents", CURRENT, {**UPDATED, "name": "$classic"}),
        ("$aws/things/dev/shadow/name/update/update/documents", CURRENT, {**UPDATED, "name": "update"}),
        (
            "$aws/things/dev/shadow/delete/accepted",
            DELETED,
            {
                "shadow": "deleted",
                "thing": "dev",
                "name": "$classic",
                "at": 1700000000000,
                "version": 3,
                "clientToken": "t",
            },
        ),
        (
            "$aws/events/thing/dev/deleted",
            {"thingName": "dev", "timestamp": 1700000000123},
            {"shadow": "thing-deleted", "thing": "dev", "at": 1700000000123},
        ),
        ("$aws/things/dev/shadow/get/accepted", DELETED, None),
        ("i/dev/shadow", DELETED, None),
    ],
)
def test_a_shadow_message_is_the_one_of_the_rule(topic: str, payload: dict, message: dict | None) -> None:
    assert shadow_message(of_rule("app_classic_shadow_updated", topic, payload)) == message
