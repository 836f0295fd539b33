# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadows on the sandbox: the same in both regions, whoever wrote, in whatever order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.features import shadows
from tests.integration.sandbox.mqtt import Issued

HOME, AWAY = "eu-west-1", "us-west-2"
BOTH = (HOME, AWAY)
CLASSIC = "$classic"
QUIET = 1.5  # seconds in which an echo would have come back, several times over


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox")).start()
    yield Deployment(sandbox, tmp_path_factory.mktemp("fleet"), BOTH, features=("shadows",))
    sandbox.stop()


@pytest.fixture(scope="module")
def device(fleet: Deployment) -> Issued:
    issued = fleet.issue("shadowed")
    fleet.admit(issued, HOME)
    eventually(lambda: fleet.settled(AWAY, "shadowed"))
    return issued


@pytest.fixture(autouse=True)
def _calm(fleet: Deployment) -> Iterator[None]:
    yield
    fleet.sandbox.clear_faults()
    fleet.sandbox.replication(delay=0.2, reorder=0)
    for region in BOTH:
        assert fleet.dead_letters(region) == []


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A shadow of each test's own."""
    return str(request.node.name).replace("[", "-").replace("]", "")[:64]


def named(thing: str, name: str) -> dict[str, str]:
    return {"thingName": thing} if name == CLASSIC else {"thingName": thing, "shadowName": name}


def update(fleet: Deployment, region: str, thing: str, name: str, token: str = "", **state: Any) -> None:
    document = {"state": state, "clientToken": token} if token else {"state": state}
    fleet.sandbox.client("iot-data", region).update_thing_shadow(**named(thing, name), payload=json.dumps(document))


def delete(fleet: Deployment, region: str, thing: str, name: str) -> None:
    fleet.sandbox.client("iot-data", region).delete_thing_shadow(**named(thing, name))


def state(fleet: Deployment, region: str, thing: str, name: str) -> dict[str, Any] | None:
    """What is desired and reported; None when there is no such shadow."""
    data = fleet.sandbox.client("iot-data", region)
    try:
        found = json.loads(data.get_thing_shadow(**named(thing, name))["payload"].read())["state"]
    except data.exceptions.ResourceNotFoundException:
        return None
    return {section: value for section, value in found.items() if section != "delta"}


def item(fleet: Deployment, region: str, thing: str, name: str) -> dict[str, Any]:
    answer = fleet.sandbox.client("dynamodb", region).get_item(
        TableName=f"{fleet.application}-shadows",
        Key={"ThingName": {"S": thing}, "ShadowName": {"S": name}},
        ConsistentRead=True,
    )
    return plain_item(answer.get("Item", {}))


def agree(fleet: Deployment, thing: str, name: str, wanted: dict[str, Any] | None, seconds: float = 20) -> None:
    """Wait until shadows and items are ``wanted`` in both regions."""

    def seen() -> list[Any]:
        items = [json.loads(item(fleet, region, thing, name).get("State", "null")) for region in BOTH]
        return [*(state(fleet, region, thing, name) for region in BOTH), *items]

    try:
        eventually(lambda: seen() == [wanted] * 4, seconds=seconds)
    except AssertionError:
        raise AssertionError(f"wanted {wanted}, seen {seen()}") from None


def message(fleet: Deployment, region: str, **body: Any) -> None:
    """Put a message of the topic rules into the queue."""
    sqs = fleet.sandbox.client("sqs", region)
    url = sqs.get_queue_url(QueueName=f"{fleet.application}-record-shadow")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))


def calls(fleet: Deployment, since: Any, operation: str) -> list[str]:
    """Regions of the successful calls that our functions made."""
    journal = fleet.sandbox.journal(since=since, operation=operation)
    return [call["region"] for call in journal if "-shadow" in str(call["caller"]) and call["status"] == 200]


def handled(fleet: Deployment, region: str) -> None:
    """Wait until the queue is empty."""
    sqs = fleet.sandbox.client("sqs", region)
    url = sqs.get_queue_url(QueueName=f"{fleet.application}-record-shadow")["QueueUrl"]
    waiting = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

    def empty() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(waiting))["Attributes"]
        return all(found[each] == "0" for each in waiting)

    eventually(empty)


@pytest.mark.defect("S1-28", "D-13")
@pytest.mark.parametrize(("here", "shadow"), [(HOME, CLASSIC), (AWAY, CLASSIC), (HOME, "config"), (AWAY, "config")])
def test_a_device_and_an_application_see_each_other_across_regions(
    fleet: Deployment, device: Issued, here: str, shadow: str
) -> None:
    there = AWAY if here == HOME else HOME
    path = "$aws/things/shadowed/shadow" + ("" if shadow == CLASSIC else f"/name/{shadow}")
    connection = fleet.connected(device, here)
    assert connection.subscribe(f"{path}/update/delta")
    reported = {"on": True, "level": 1.5, "lamps": [1, {"a": 2}], "net": {"ssid": here, "old": 0}}
    assert connection.publish(f"{path}/update", json.dumps({"state": {"reported": reported}}))
    agree(fleet, "shadowed", shadow, {"reported": reported})
    update(fleet, there, "shadowed", shadow, desired={"on": False})
    agree(fleet, "shadowed", shadow, {"desired": {"on": False}, "reported": reported})
    [(_topic, delta)] = eventually(lambda: connection.received)
    assert json.loads(delta)["state"] == {"on": False}
    gone = {"state": {"reported": {"lamps": None, "net": {"old": None}}}, "clientToken": "the-device's"}
    assert connection.publish(f"{path}/update", json.dumps(gone))
    reported = {"on": True, "level": 1.5, "net": {"ssid": here}}
    agree(fleet, "shadowed", shadow, {"desired": {"on": False}, "reported": reported})
    assert connection.publish(f"{path}/delete", "")
    agree(fleet, "shadowed", shadow, None)
    connection.close()


@pytest.mark.defect("D-7")
def test_each_update_is_recorded_once_and_applied_once(fleet: Deployment, device: Issued, name: str) -> None:
    began = fleet.sandbox.now()
    update(fleet, HOME, "shadowed", name, reported={"a": 1})
    agree(fleet, "shadowed", name, {"reported": {"a": 1}})
    update(fleet, AWAY, "shadowed", name, token="somebody's", desired={"a": 2})
    agree(fleet, "shadowed", name, {"desired": {"a": 2}, "reported": {"a": 1}})
    delete(fleet, HOME, "shadowed", name)
    agree(fleet, "shadowed", name, None)
    time.sleep(QUIET)
    assert sorted(calls(fleet, began, "PutItem")) == [HOME, HOME, AWAY]
    assert sorted(calls(fleet, began, "UpdateThingShadow")) == [HOME, AWAY]
    assert calls(fleet, began, "Publish") == [AWAY]


def test_updates_of_both_regions_at_once_end_equal(fleet: Deployment, device: Issued, name: str) -> None:
    fleet.sandbox.replication(delay=0.3, reorder=0.3)

    def burst(region: str) -> None:
        for number in range(8):
            update(fleet, region, "shadowed", name, reported={"who": region, "number": number})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(burst, BOTH))
    for region in BOTH:
        handled(fleet, region)

    def equal() -> Any:
        seen = [state(fleet, region, "shadowed", name) for region in BOTH]
        return seen[0] if seen[0] == seen[1] else None

    eventually(equal)
    time.sleep(QUIET)
    found = eventually(equal)
    agree(fleet, "shadowed", name, found)
    newest = item(fleet, HOME, "shadowed", name)
    assert newest == item(fleet, AWAY, "shadowed", name)
    assert found["reported"]["number"] == 7, "the last one of a region"
    assert newest["UpdatedRegion"] == found["reported"]["who"]


def test_of_two_items_written_at_once_the_newer_update_holds_in_both_regions(
    fleet: Deployment, device: Issued, name: str
) -> None:
    update(fleet, HOME, "shadowed", name, reported={"n": 0})
    agree(fleet, "shadowed", name, {"reported": {"n": 0}})
    now = int(time.time() * 1000)
    common = {"shadow": "updated", "thing": "shadowed", "name": name, "version": 90}
    with fleet.apart():
        message(fleet, AWAY, **common, state={"reported": {"n": "newer"}}, at=now + 5)
        eventually(lambda: item(fleet, AWAY, "shadowed", name)["UpdatedAtMs"] == now + 5)
        message(fleet, HOME, **common, state={"reported": {"n": "older"}}, at=now + 4)
        eventually(lambda: item(fleet, HOME, "shadowed", name)["UpdatedAtMs"] == now + 4)
    agree(fleet, "shadowed", name, {"reported": {"n": "newer"}})


def test_an_update_that_was_not_recorded_yet_outlives_one_of_the_other_region_that_is_older(
    fleet: Deployment, device: Issued, name: str
) -> None:
    update(fleet, HOME, "shadowed", name, reported={"n": 0})
    agree(fleet, "shadowed", name, {"reported": {"n": 0}})
    slow = fleet.sandbox.fault(region=HOME, service="sqs", operation="SendMessage", effect="delay", delay=2)
    update(fleet, AWAY, "shadowed", name, reported={"n": "older"})
    time.sleep(0.05)
    update(fleet, HOME, "shadowed", name, reported={"n": "newer"})
    eventually(lambda: state(fleet, HOME, "shadowed", name) == {"reported": {"n": "older"}})
    fleet.sandbox.clear_faults(slow)
    agree(fleet, "shadowed", name, {"reported": {"n": "newer"}})


@pytest.mark.defect("D-12")
def test_what_is_old_changes_nothing_and_brings_nothing_back(fleet: Deployment, device: Issued, name: str) -> None:
    update(fleet, HOME, "shadowed", name, reported={"n": 1})
    agree(fleet, "shadowed", name, {"reported": {"n": 1}})
    first = item(fleet, HOME, "shadowed", name)
    again = {
        "shadow": "updated",
        "thing": "shadowed",
        "name": name,
        "state": {"reported": {"n": 1}},
        "version": first["ShadowVersion"],
        "at": first["UpdatedAtMs"],
    }
    update(fleet, AWAY, "shadowed", name, reported={"n": 2})
    agree(fleet, "shadowed", name, {"reported": {"n": 2}})
    began, second = fleet.sandbox.now(), item(fleet, HOME, "shadowed", name)
    message(fleet, HOME, **again)
    handled(fleet, HOME)
    assert calls(fleet, began, "PutItem") == calls(fleet, began, "UpdateThingShadow") == []
    assert item(fleet, HOME, "shadowed", name) == second
    delete(fleet, AWAY, "shadowed", name)
    agree(fleet, "shadowed", name, None)
    buried = item(fleet, HOME, "shadowed", name)
    assert buried["ExpiresAt"] == buried["UpdatedAtMs"] // 1000 + 30 * 86400
    for region in BOTH:
        message(fleet, region, **again)
        handled(fleet, region)
    time.sleep(QUIET)
    agree(fleet, "shadowed", name, None)
    update(fleet, HOME, "shadowed", name, reported={"n": 3})
    agree(fleet, "shadowed", name, {"reported": {"n": 3}})
    assert "ExpiresAt" not in item(fleet, AWAY, "shadowed", name)


def test_a_thing_that_is_not_here_yet_holds_up_nobody_and_gets_its_shadow_when_it_comes(
    fleet: Deployment, device: Issued, name: str
) -> None:
    for region in BOTH:  # the sandbox keeps shadows without things, as AWS may
        assert state(fleet, region, "late", name) is None
    fleet.sandbox.client("iot", HOME).create_thing(thingName="late")
    update(fleet, HOME, "late", name, reported={"n": 1})
    eventually(lambda: item(fleet, AWAY, "late", name))
    update(fleet, HOME, "shadowed", name, reported={"n": 1})
    agree(fleet, "shadowed", name, {"reported": {"n": 1}}, seconds=3)
    assert state(fleet, AWAY, "late", name) is None
    fleet.sandbox.client("iot", AWAY).create_thing(thingName="late")
    fleet.sandbox.client("dynamodb", AWAY).put_item(
        TableName=f"{fleet.application}-device-inventory",
        Item={"ThingName": {"S": "late"}, "State": {"S": "ACTIVE"}, "UpdatedRegion": {"S": AWAY}},
    )
    agree(fleet, "late", name, {"reported": {"n": 1}})


def test_the_shadows_of_a_device_that_is_deleted_go_with_it(fleet: Deployment) -> None:
    device = fleet.issue("doomed")
    fleet.admit(device, HOME)
    eventually(lambda: fleet.settled(AWAY, "doomed"))
    for shadow, region in ((CLASSIC, HOME), ("config", AWAY)):
        update(fleet, region, "doomed", shadow, reported={"n": 1})
    for shadow in (CLASSIC, "config"):
        agree(fleet, "doomed", shadow, {"reported": {"n": 1}})
    fleet.write(HOME, "doomed", State="DELETED")
    for shadow in (CLASSIC, "config"):
        agree(fleet, "doomed", shadow, None)


@pytest.mark.long
def test_a_message_that_cannot_be_recorded_is_a_dead_letter_after_the_fifth_time(
    fleet: Deployment, device: Issued, name: str
) -> None:
    sqs = fleet.sandbox.client("sqs", HOME)
    url = sqs.get_queue_url(QueueName=f"{fleet.application}-record-shadow")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
    broken = {"service": "dynamodb", "operation": "PutItem", "error": "ResourceNotFoundException", "status": 400}
    fleet.sandbox.fault(region=HOME, effect="error", **broken)
    began = fleet.sandbox.now()
    update(fleet, HOME, "shadowed", name, reported={"n": 1})
    [letter] = eventually(lambda: fleet.dead_letters(HOME))
    assert (letter["shadow"], letter["name"], letter["state"]) == ("updated", name, {"reported": {"n": 1}})
    failed = [call for call in fleet.sandbox.journal(since=began, operation="PutItem") if call["status"] == 400]
    assert len(failed) == 5
    fleet.sandbox.clear_faults()
    message(fleet, HOME, **letter)
    agree(fleet, "shadowed", name, {"reported": {"n": 1}})


@pytest.mark.long
def test_switched_off_a_region_has_its_own_shadows_and_switched_on_again_nothing_is_undone(
    fleet: Deployment, device: Issued, name: str
) -> None:
    update(fleet, HOME, "shadowed", name, reported={"n": 1})
    agree(fleet, "shadowed", name, {"reported": {"n": 1}})
    cloudformation = fleet.sandbox.client("cloudformation", AWAY)
    cloudformation.delete_stack(StackName=f"{fleet.application}-shadows")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=f"{fleet.application}-shadows", WaiterConfig={"Delay": 1}
    )
    before = item(fleet, AWAY, "shadowed", name)
    update(fleet, AWAY, "shadowed", name, reported={"n": "its own"})
    time.sleep(QUIET)
    assert item(fleet, AWAY, "shadowed", name) == before
    began = fleet.sandbox.now()
    shadows.deploy(fleet, AWAY)
    time.sleep(QUIET)
    assert state(fleet, AWAY, "shadowed", name) == {"reported": {"n": "its own"}}
    assert state(fleet, HOME, "shadowed", name) == {"reported": {"n": 1}}
    update(fleet, HOME, "shadowed", name, reported={"n": 2})
    agree(fleet, "shadowed", name, {"reported": {"n": 2}})
    assert calls(fleet, began, "UpdateThingShadow") == [AWAY]
