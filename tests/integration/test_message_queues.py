# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of devices that wait in queues: none is lost, none is stored twice, and queues do not mix."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.features import queues
from tests.integration.operators import HOME, at
from tests.integration.sandbox.mqtt import Device

QUEUES = {"orders": "i/+/orders", "alerts": "i/+/alerts/#"}


@pytest.fixture(scope="module")
def publisher(deployment: Deployment) -> Iterator[Device]:
    """A device of a fleet whose messages are in queues only."""
    deployment.change_stack(HOME, "messages", StoreMessageDefinition="store-message", Enabled="false")
    for name, topic in QUEUES.items():
        queues.deploy(deployment, HOME, name, topic, ConsumerEnabled="false", fastidious="true")
    issued = deployment.issue("publisher")
    deployment.admit(issued, HOME)
    connection = deployment.connected(issued, HOME)
    yield connection
    connection.close()
    deployment.change_stack(HOME, "messages", StoreMessageDefinition="store-message")


class Queue:
    """One of the queues: what waits, what died, and what was stored."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        self.deployment, self.name = deployment, name
        self.sqs = deployment.sandbox.client("sqs", HOME)

    @property
    def full_name(self) -> str:
        return f"{self.deployment.application}-queue-{self.name}"

    def waiting(self, which: str = "") -> int:
        url = self.sqs.get_queue_url(QueueName=f"{self.full_name}{which}")["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(n) for n in self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()
        )

    def dead(self) -> int:
        return self.waiting("-dead-letters")

    def stored(self, thing: str = "publisher") -> list[int]:
        """The numbers of the messages in the table, each as often as it is there."""
        pages = (
            self.deployment.sandbox.client("dynamodb", HOME)
            .get_paginator("query")
            .paginate(
                TableName=f"{self.deployment.application}-data",
                KeyConditionExpression="PK = :thing",
                FilterExpression="contains(topic, :queue)",
                ExpressionAttributeValues={":thing": {"S": thing}, ":queue": {"S": self.name}},
            )
        )
        return sorted(int(item["message"]["M"]["number"]["N"]) for page in pages for item in page["Items"])

    def change(self, **parameters: str) -> None:
        given = queues.parameters(self.deployment, HOME, self.name, QUEUES[self.name], **parameters)
        self.deployment.change_stack(HOME, f"queue-{self.name}", **given)

    def redrive(self, **options: Any) -> dict[str, Any]:
        return at(self.deployment).run("sqs_redrive", queue=self.full_name, **options)


def publish(device: Device, topic: str, numbers: range) -> None:
    """Publish at QoS 1, and wait until the broker has acknowledged all."""
    sent = [device.client.publish(topic, json.dumps({"number": number}), qos=1) for number in numbers]
    for each in sent:
        each.wait_for_publish(60)


def consumed(queue: Queue, count: int, seconds: float, **parameters: str) -> None:
    """A backlog of messages with the consumer off, then on, failing one in twenty; then the dead letters."""
    numbers = list(range(count))
    bad = [number for number in numbers if number % 20 == 0]
    eventually(lambda: queue.waiting() == count, seconds=seconds)
    assert queue.stored() == []
    queue.change(ConsumerEnabled="true", fastidious="true", **parameters)
    eventually(lambda: (queue.waiting(), queue.dead()) == (0, len(bad)), seconds=seconds)
    assert queue.stored() == [number for number in numbers if number not in set(bad)]

    queue.change(ConsumerEnabled="true", **parameters)
    assert queue.redrive(check=True)["moved"] == queue.dead() == len(bad)
    answer = queue.redrive()
    assert (answer["changed"], answer["moved"], answer["left"]) == (True, len(bad), 0)
    eventually(lambda: queue.waiting() == 0, seconds=seconds)
    assert queue.stored() == numbers
    assert not queue.redrive()["changed"]


@pytest.mark.defect("S3-16")
def test_a_backlog_is_consumed_what_failed_is_redriven_and_queues_do_not_mix(
    deployment: Deployment, publisher: Device
) -> None:
    orders, alerts = (Queue(deployment, name) for name in QUEUES)
    publish(publisher, "i/publisher/orders", range(60))
    publish(publisher, "i/publisher/alerts/high", range(40))
    publish(publisher, "i/publisher/neither", range(5))
    eventually(lambda: alerts.waiting() == 40)
    consumed(orders, 60, seconds=60)
    assert (alerts.waiting(), alerts.stored(), alerts.dead()) == (40, [], 0)
    assert len(deployment.messages(HOME, "publisher")) == 60


def test_a_queue_takes_topics_without_a_thing(deployment: Deployment, publisher: Device) -> None:
    del publisher
    queues.deploy(deployment, HOME, "plain", "plain", ConsumerEnabled="true")
    deployment.sandbox.client("iot-data", HOME).publish(topic="plain", payload=b'{"number": 1}', qos=1)
    queue = Queue(deployment, "plain")
    assert eventually(lambda: queue.stored("plain")) == [1]


@pytest.mark.defect("S3-17")
def test_what_cannot_be_queued_is_a_dead_letter_that_goes_to_the_queue_when_it_is_tried_again(
    deployment: Deployment, publisher: Device
) -> None:
    queue = Queue(deployment, "alerts")
    deployment.dead_letters(HOME)
    before = queue.waiting()
    fault = deployment.sandbox.fault(
        region=HOME, service="sqs", operation="SendMessage", effect="error", error="AccessDenied", status=403, times=1
    )
    publish(publisher, "i/publisher/alerts/lost", range(7, 8))
    name = f"{deployment.application}-dead-letters"
    url = queue.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attribute = "ApproximateNumberOfMessages"
    eventually(
        lambda: queue.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"][attribute] == "1"
    )
    deployment.sandbox.clear_faults(fault)
    [letter] = at(deployment).run("fleet_dead_letters", application=deployment.application, state="replayed")[
        "replayed"
    ]
    assert (letter["kind"], letter["outcome"]) == ("topic_rule", "queue queue-alerts")
    assert queue.waiting() == before + 1


def test_what_cannot_be_redriven_is_refused_in_a_line(deployment: Deployment, publisher: Device) -> None:
    del publisher
    region = at(deployment)
    assert "queue=none does not exist" in region.refusal("sqs_redrive", queue="none")
    dead = f"{deployment.application}-queue-orders-dead-letters"
    assert "has no dead letters" in region.refusal("sqs_redrive", queue=dead)
    name = f"{deployment.application}-queue-orders"
    assert "max_per_second=501" in region.refusal("sqs_redrive", queue=name, max_per_second=501)


@pytest.mark.defect("S3-16")
@pytest.mark.long
def test_ten_thousand_messages_wait_are_consumed_and_none_is_lost(deployment: Deployment, publisher: Device) -> None:
    QUEUES["bulk"] = "i/+/bulk"
    patient = {"ConsumerTimeout": "30", "VisibilityTimeout": "30", "MaximumReceives": "3"}
    queues.deploy(deployment, HOME, "bulk", QUEUES["bulk"], ConsumerEnabled="false", fastidious="true", **patient)
    began = time.monotonic()
    publish(publisher, "i/publisher/bulk", range(10_000))
    print(f"published in {time.monotonic() - began:.1f} s")
    consumed(Queue(deployment, "bulk"), 10_000, 1200, **patient)
