# SPDX-License-Identifier: GPL-3.0-or-later
"""What was given up on is shown without touching it, and tried again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.integration.deployment import Deployment, eventually
from tests.integration.operators import AWAY, HOME, at

DENIED = {"effect": "error", "error": "AccessDeniedException", "status": 400}


@pytest.fixture(autouse=True)
def _calm(deployment: Deployment) -> Iterator[None]:
    for region in (HOME, AWAY):
        deployment.dead_letters(region)
    yield
    deployment.sandbox.clear_faults()
    for region in (HOME, AWAY):
        deployment.dead_letters(region)


def shown(deployment: Deployment, region: str = HOME, **wanted):
    common = {"application": deployment.application}
    return at(deployment, region).run("fleet_dead_letters_info", **common, **wanted)["letters"]


def replay(deployment: Deployment, region: str = HOME, *, check: bool = False, **wanted):
    common = {"application": deployment.application, "state": "replayed"}
    return at(deployment, region).run("fleet_dead_letters", check=check, **common, **wanted)


def send(deployment: Deployment, region: str = HOME, text: str = "", **body) -> None:
    sqs = deployment.sandbox.client("sqs", region)
    url = sqs.get_queue_url(QueueName=f"{deployment.application}-dead-letters")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=text or json.dumps(body))


def rule_letter(deployment: Deployment, rule: str, topic: str, payload) -> dict:
    name = f"{deployment.application.replace('-', '_')}_{rule}"
    encoded = base64.b64encode(json.dumps(payload).encode()).decode()
    failures = [{"failedAction": "SqsAction", "errorMessage": "denied"}]
    return {"ruleName": name, "topic": topic, "base64OriginalPayload": encoded, "failures": failures}


@pytest.fixture
def queue(deployment: Deployment, request: pytest.FixtureRequest) -> Iterator[str]:
    """The queue of a function, whose stack this deployment may lack."""
    sqs = deployment.sandbox.client("sqs", HOME)
    url = sqs.create_queue(QueueName=f"{deployment.application}-{request.param}")["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def received(deployment: Deployment, url: str):
    messages = deployment.sandbox.client("sqs", HOME).receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in messages.get("Messages", [])]


@pytest.mark.defect("S1-30")
def of(device: str, letters: list[dict]) -> list[dict]:
    """Those about a device: other tests' devices may be given up on while a fault is in force."""
    return [each for each in letters if each["device"] == device]


@pytest.mark.defect("S1-30")
def test_a_device_that_was_given_up_on_at_every_hop_works_after_replays(deployment: Deployment) -> None:
    """The topic rule fails in the first region, the bus rule in the second one, then the machine."""
    device, name = deployment.issue("given-up"), "given-up"
    denied = deployment.sandbox.fault(operation="StartExecution", **DENIED)
    assert not deployment.knock(device, HOME)
    [letter] = eventually(lambda: of(device.id, shown(deployment)))
    assert letter["kind"] == "topic_rule"
    [kept] = of(device.id, replay(deployment, kinds=["topic_rule"])["kept"])
    assert kept["outcome"].startswith("Failed to start an execution")
    assert of(device.id, shown(deployment)) == [letter]
    deployment.sandbox.clear_faults(denied)

    deployment.sandbox.fault(region=AWAY, operation="StartExecution", **DENIED)
    [taken] = of(device.id, replay(deployment)["replayed"])
    assert taken["outcome"] == "register-device"
    eventually(lambda: deployment.settled(HOME, name))
    [letter] = eventually(lambda: of(name, shown(deployment, AWAY)))
    assert letter["kind"] == "bus_event"
    assert letter["error"].startswith("NO_PERMISSIONS")
    deployment.sandbox.clear_faults()
    [taken] = of(name, replay(deployment, AWAY)["replayed"])
    assert taken["outcome"] == "converge-device"
    eventually(lambda: deployment.settled(AWAY, name))
    deployment.connected(device, AWAY).close()

    fault = {"effect": "error", "error": "UnauthorizedException", "status": 401}
    deployment.sandbox.fault(region=AWAY, service="iot", operation="UpdateCertificate", **fault)
    common = {"application": deployment.application, "thing_name": name}
    at(deployment).run("fleet_device", state="SUSPENDED", **common)
    [letter] = eventually(lambda: of(name, shown(deployment, AWAY)))
    assert (letter["kind"], letter["source"]) == ("machine", f"{deployment.application}-converge-device")
    assert "Unauthorized" in letter["error"]
    deployment.sandbox.clear_faults()
    predicted = replay(deployment, AWAY, check=True)
    assert predicted["changed"]
    assert of(name, shown(deployment, AWAY)) == [letter]
    assert len(of(name, replay(deployment, AWAY)["replayed"])) == 1
    eventually(lambda: deployment.certificate(AWAY, device) == "INACTIVE")
    assert of(name, shown(deployment, AWAY)) == []


def test_a_message_that_was_not_stored_is_stored_once(deployment: Deployment) -> None:
    letter = rule_letter(deployment, "store_message", "i/redriven/temperature", {"celsius": 21.5})
    send(deployment, **letter)
    assert [each["outcome"] for each in replay(deployment)["replayed"]] == ["table data"]
    [message] = deployment.messages(HOME, "redriven")
    assert (message["topic"], message["region"], message["message"]) == (
        "i/redriven/temperature",
        HOME,
        {"celsius": 21.5},
    )
    milliseconds, _, _uuid = message["SK"].partition("#")
    assert milliseconds.isdigit()


def test_what_a_pipe_gave_up_on_is_read_from_the_stream_again(deployment: Deployment) -> None:
    device = deployment.issue("piped")
    deployment.admit(device, HOME)
    eventually(lambda: deployment.settled(AWAY, "piped"))
    stream = deployment.stream(AWAY, "device-inventory")
    streams = deployment.sandbox.client("dynamodbstreams", AWAY)
    [shard] = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    common = {"StreamArn": stream, "ShardId": shard["ShardId"]}
    iterator = streams.get_shard_iterator(**common, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    numbers = [
        record["dynamodb"]["SequenceNumber"]
        for record in records
        if record["dynamodb"]["Keys"]["ThingName"]["S"] == "piped"
    ]
    batch = {"streamArn": stream, "shardId": shard["ShardId"], "startSequenceNumber": numbers[0]}
    deployment.sandbox.client("dynamodb", AWAY).delete_item(
        TableName=f"{deployment.application}-device-status", Key={"ThingName": {"S": "piped"}}
    )
    send(deployment, AWAY, DDBStreamBatchInfo={**batch, "endSequenceNumber": numbers[-1], "batchSize": len(numbers)})
    [taken] = replay(deployment, AWAY)["replayed"]
    assert taken["outcome"] == f"converge-device, {len(numbers)} times"
    eventually(lambda: deployment.settled(AWAY, "piped"))


def test_what_a_stream_has_forgotten_is_left_to_the_sweep_or_kept(deployment: Deployment) -> None:
    arn = deployment.stream(HOME, "device-inventory").rpartition("/")[0] + "/2020-01-01T00:00:00.000"
    batch = {
        "shardId": "shardId-00000000000000000000-00000000",
        "startSequenceNumber": "1" * 21,
        "endSequenceNumber": "2" * 21,
    }
    send(deployment, DDBStreamBatchInfo={**batch, "streamArn": arn, "batchSize": 2})
    [kept] = replay(deployment)["kept"]
    assert kept["outcome"] == "the region has no function test-fleet-sweep-devices; deploy it with site.yml"
    assert [each["kind"] for each in shown(deployment)] == ["pipe"]


@pytest.mark.parametrize("queue", ["ingest-thing"], indirect=True)
def test_a_held_deletion_goes_on_only_when_it_is_confirmed(deployment: Deployment, queue: str) -> None:
    deletion = {"look": 0, "eventType": "THING_EVENT", "operation": "DELETED", "thingName": "mass", "thingId": "t1"}
    send(deployment, **deletion, held="more than 10 deletions an hour")
    send(deployment, look=3, thingName="looked-at")
    send(deployment, **rule_letter(deployment, "ingest_thing", "$aws/events/thing/new/created", {"thingName": "new"}))
    answer = replay(deployment)
    assert [each["device"] for each in answer["kept"]] == ["mass"]
    assert "before you confirm it" in answer["kept"][0]["outcome"]
    messages = received(deployment, queue)
    assert sorted(messages, key=lambda each: each["look"]) == [
        {"thingName": "new", "look": 0},
        {"look": 3, "thingName": "looked-at"},
    ]
    assert replay(deployment, confirm_deletions=True)["kept"] == []
    assert received(deployment, queue) == [{**deletion, "confirmed": True}]


@pytest.mark.parametrize("queue", ["record-shadow"], indirect=True)
def test_shadows_go_back_to_their_function(deployment: Deployment, queue: str) -> None:
    document = {"current": {"state": {"desired": {"on": True}}, "version": 4}, "timestamp": 1700000000}
    topic = "$aws/things/lamp/shadow/name/light/update/documents"
    send(deployment, **rule_letter(deployment, "named_shadow_updated", topic, document))
    assert [each["outcome"] for each in replay(deployment)["replayed"]] == ["queue record-shadow"]
    assert received(deployment, queue) == [
        {
            "shadow": "updated",
            "thing": "lamp",
            "name": "light",
            "at": 1700000000000,
            "state": {"desired": {"on": True}},
            "version": 4,
        }
    ]


def test_what_nobody_knows_or_takes_stays_with_a_reason(deployment: Deployment) -> None:
    send(deployment, text="no JSON at all")
    send(deployment, Machine="somebody-elses", Input={})
    send(deployment, shadow="updated", thing="lamp")
    send(deployment, Machine=f"{deployment.application}-converge-device", Input={"ThingName": "nobody"})
    kinds = sorted(each["kind"] for each in shown(deployment))
    assert kinds == ["machine", "machine", "shadow", "unknown"]
    answer = replay(deployment)
    assert [each["device"] for each in answer["replayed"]] == ["nobody"]
    reasons = {each["kind"]: each["outcome"] for each in answer["kept"]}
    assert reasons == {
        "unknown": "nobody knows its form",
        "machine": "the fleet has no state machine somebody-elses",
        "shadow": f"the region has no queue {deployment.application}-record-shadow; deploy it with site.yml",
    }
    assert len(shown(deployment)) == 3
    sqs = deployment.sandbox.client("sqs", HOME)
    sqs.purge_queue(QueueUrl=sqs.get_queue_url(QueueName=f"{deployment.application}-dead-letters")["QueueUrl"])


@pytest.mark.long
def test_more_letters_than_one_reading_hands_out(deployment: Deployment) -> None:
    for number in range(12):
        send(deployment, Machine=f"{deployment.application}-converge-device", Input={"ThingName": f"nobody-{number}"})
    assert len(shown(deployment, most=11)) == 11
    assert len(shown(deployment)) == 12
    assert len(replay(deployment)["replayed"]) == 12
    assert shown(deployment) == []
    assert not replay(deployment)["changed"]


def test_a_region_without_the_fleet_is_named(deployment: Deployment) -> None:
    message = at(deployment, "sa-east-1").refusal("fleet_dead_letters_info", application=deployment.application)
    assert message == "application=test-fleet has no dead letters in sa-east-1: deploy it there with site.yml"
