# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of devices on the sandbox: stored as they came, each once, by rule or by state machine."""

from __future__ import annotations

import json

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.sandbox.mqtt import Issued

HOME, AWAY = "eu-west-1", "us-west-2"
PAYLOAD = {"PK": "other", "SK": "0", "region": "mars", "a": [1, {"b": None}, []], "t": 21.5, "on": True, "empty": {}}


@pytest.fixture(scope="module")
def device(deployment: Deployment) -> Issued:
    issued = deployment.issue("talker")
    deployment.admit(issued, HOME)
    eventually(lambda: deployment.settled(AWAY, "talker"))
    return issued


@pytest.fixture(params=["TABLE", "STATE_MACHINE"])
def store(request: pytest.FixtureRequest, deployment: Deployment) -> str:
    """The messages stack in each of its two forms."""
    deployment.change_stack(HOME, "messages", StoreMessageDefinition="store-message", Store=request.param)
    return str(request.param)


@pytest.mark.defect("S1-36")
def test_a_message_is_stored_under_its_own_name_and_reaches_the_other_region(
    deployment: Deployment, device: Issued, store: str
) -> None:
    topic = f"i/talker/{store}"
    connection = deployment.connected(device, HOME)
    assert connection.publish("i/talker/certificate/commit", "{}")
    assert connection.publish(topic, json.dumps(PAYLOAD))
    connection.close()
    for region in (HOME, AWAY):
        [item] = eventually(
            lambda region=region: [i for i in deployment.messages(region, "talker") if i["topic"] == topic]
        )
        milliseconds, uuid = item["SK"].split("#")
        assert (item["PK"], item["region"], item["message"]) == ("talker", HOME, PAYLOAD)
        assert milliseconds.isdigit()
        assert len(uuid) == 36
        assert not [each for each in deployment.messages(region, "talker") if "/certificate/" in each["topic"]]


@pytest.mark.defect("S1-36")
def test_messages_of_one_moment_do_not_replace_each_other(deployment: Deployment, device: Issued, store: str) -> None:
    topic = f"i/talker/burst-{store}"
    connection = deployment.connected(device, AWAY)
    for number in range(50):
        connection.client.publish(topic, json.dumps({"number": number}), qos=1)
    assert connection.publish(topic, json.dumps({"number": 50}))
    stored = eventually(
        lambda: len(found := [i for i in deployment.messages(AWAY, "talker") if i["topic"] == topic]) == 51 and found,
        seconds=40,
    )
    connection.close()
    assert {item["message"]["number"] for item in stored} == set(range(51))
    assert {item["region"] for item in stored} == {AWAY}


def test_a_device_cannot_publish_as_another_one(deployment: Deployment, device: Issued) -> None:
    connection = deployment.connected(device, HOME)
    assert not connection.publish("i/somebody/m", "{}")
    connection.close()
    assert deployment.messages(HOME, "somebody") == []


@pytest.mark.defect("S1-32")
def test_a_device_may_listen_to_its_own_topics_only(deployment: Deployment, device: Issued) -> None:
    connection = deployment.connected(device, HOME)
    assert connection.subscribe("e/talker/#")
    deployment.sandbox.client("iot-data", HOME).publish(topic="e/talker/hello", payload=b"hi", qos=1)
    assert eventually(lambda: connection.received) == [("e/talker/hello", b"hi")]
    connection.close()


def test_a_message_that_cannot_be_stored_is_a_dead_letter(deployment: Deployment, device: Issued, store: str) -> None:
    deployment.dead_letters(HOME)
    fault = deployment.sandbox.fault(
        region=HOME,
        service="dynamodb",
        operation="PutItem",
        effect="error",
        error="ResourceNotFoundException",
        status=400,
    )
    connection = deployment.connected(device, HOME)
    assert connection.publish("i/talker/lost", '{"lost": true}')
    connection.close()
    [letter] = eventually(lambda: deployment.dead_letters(HOME))
    deployment.sandbox.clear_faults(fault)
    if store == "TABLE":
        assert letter["topic"] == "i/talker/lost"
        assert letter["failures"][0]["failedAction"] == "DynamoDBv2Action"
    else:
        assert letter["Error"] == "DynamoDb.ResourceNotFoundException"
        assert letter["Input"]["message"] == {"lost": True}
