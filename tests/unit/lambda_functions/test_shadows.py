# SPDX-License-Identifier: GPL-3.0-or-later
"""record-shadow and apply-shadow: what they compute, and that every order of events ends equal in every region."""

from __future__ import annotations

import copy
import importlib
import io
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

LAMBDA = Path(__file__).parents[3] / "files/lambda"
MODULES = ("aws", "shadows", "handler")
REGIONS = ("eu-west-1", "us-west-2")
THING, NAME = "t", "$classic"


def load(function: str) -> SimpleNamespace:
    """The function's modules as they lie in its package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(LAMBDA / function), str(LAMBDA / "shared"), *sys.path])
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded: dict[str, ModuleType] = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
    return SimpleNamespace(**loaded)


RECORD, APPLY = load("record_shadow"), load("apply_shadow")
shadows, record = RECORD.shadows, RECORD.handler


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLICATION", "fleet")
    monkeypatch.setenv("QUEUE_URL", "queue")


def merge(base: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """What the shadow service makes of an update."""
    for name, value in patch.items():
        if value is None:
            base.pop(name, None)
        elif isinstance(value, dict):
            base[name] = merge(base[name] if isinstance(base.get(name), dict) else {}, value)
        else:
            base[name] = value
    return base


LEAVES = st.one_of(st.booleans(), st.integers(0, 2), st.sampled_from([1.0, 0.5, "1", ""]), st.lists(st.integers(0, 1)))
STATES = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8),
    max_size=3,
)


@given(found=STATES, wanted=STATES)
@settings(deadline=None)
def test_a_difference_makes_one_state_the_other_and_is_empty_only_between_equals(found: Any, wanted: Any) -> None:
    changes = shadows.difference(wanted, found)
    assert json.dumps(merge(copy.deepcopy(found), changes), sort_keys=True) == json.dumps(wanted, sort_keys=True)
    assert (changes == {}) == (json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True))


@pytest.mark.parametrize(
    ("found", "wanted", "changes"),
    [
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1}}, {"a": None, "b": {"d": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
    ],
)
def test_what_changes_is_all_that_is_sent(found: Any, wanted: Any, changes: Any) -> None:
    assert shadows.difference(wanted, found) == changes


@pytest.mark.parametrize(
    ("one", "other", "newer"),
    [
        ((2, "a"), (1, "b"), True),
        ((1, "b"), (1, "a"), True),
        ((1, "a"), (1, "a"), False),
        ((1, "a"), (2, "a"), False),
    ],
)
def test_the_later_one_holds_then_the_greater_region(one: Any, other: Any, newer: bool) -> None:
    items = [dict(zip(("UpdatedAtMs", "UpdatedRegion"), each, strict=True)) for each in (one, other)]
    assert shadows.is_newer(*items) is newer


def message(kind: str = "updated", **values: Any) -> dict[str, Any]:
    return {"shadow": kind, "thing": THING, "name": NAME, "version": 7, "at": 100, "state": {}, **values}


def test_a_message_means_the_same_each_time_and_a_deletion_is_kept_for_thirty_days() -> None:
    first, second = (record.item_of(message(state={"desired": {"a": 1}}), "eu-west-1") for _ in range(2))
    assert first.pop("WriteId") != second.pop("WriteId")
    assert first == second
    assert (first["UpdatedAtMs"], first["ShadowVersion"], first["State"]) == (100, 7, '{"desired": {"a": 1}}')
    gone = record.item_of(message("deleted", at=5_000), "eu-west-1")
    assert (gone["ExpiresAt"], "State" in gone) == (5 + 30 * 86400, False)


@pytest.mark.parametrize(
    ("values", "there", "follows"),
    [
        ({"version": 8}, {}, True),  # the same millisecond
        ({"version": 8, "at": 90}, {}, True),  # stamped before it
        ({"version": 7}, {}, False),  # the same message again
        ({"version": 6}, {}, False),
        ({"version": 8, "at": 101}, {}, False),  # newer anyway: something else stood against it
        ({"version": 8}, {"UpdatedRegion": "us-west-2"}, False),
        ({"shadow": "deleted"}, {}, True),  # with the version of the last update
        ({}, {"State": None}, False),  # an update that the deletion followed
    ],
)
def test_within_a_region_the_shadows_version_tells_what_follows(values: Any, there: Any, follows: bool) -> None:
    before = {**record.item_of(message(), "eu-west-1"), **there}
    before = {name: value for name, value in before.items() if value is not None}
    assert record.follows(record.item_of({**message(), **values}, "eu-west-1"), before) is follows


def test_a_tombstone_of_a_deleted_thing_is_newer_than_what_it_replaces() -> None:
    before = record.item_of(message(at=200), "us-west-2")
    buried = record.tombstone(before, 150, "eu-west-1")
    assert shadows.is_newer(buried, before)
    assert (buried["UpdatedRegion"], buried["ShadowVersion"], "State" in buried) == ("eu-west-1", 0, False)


def test_a_client_token_of_the_longest_application_fits() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APPLICATION", "a" * 37)
        assert len(shadows.client_token("12345678-rest")) <= 64
        assert shadows.client_token("12345678-rest").startswith(shadows.client_token())


# --- any order of events ---------------------------------------------------------------------------------------------


class World:
    """Two regions: shadows, replicas of the table, queues, streams; all that is on its way comes in any order.

    Before each call of a function anything else may happen, as a whole.
    """

    def __init__(self, chance: random.Random, *, disorder: int = 0) -> None:
        self.disorder = disorder  # how much too early (ms) a rule may stamp a message; some get the same stamp
        self.chance, self.region, self.depth, self.clock = chance, "", 0, 1000
        self.shadows: dict[str, dict[str, Any]] = {region: {"version": 0, "state": None} for region in REGIONS}
        self.items: dict[str, dict[str, Any]] = {region: {} for region in REGIONS}
        self.stamps = dict.fromkeys(REGIONS, (0, ""))
        self.queues: dict[str, list[dict[str, Any]]] = {region: [] for region in REGIONS}
        self.streams: dict[str, list[dict[str, Any]]] = {region: [] for region in REGIONS}
        self.travelling: list[tuple[str, tuple[int, str], dict[str, Any]]] = []
        self.deletions: list[str] = []
        self.last: dict[str, dict[str, Any]] = {}
        self.calm = False
        self.script: list[Callable[[], Any] | None] = []  # what happens before the next calls

    def tick(self) -> int:
        self.clock += self.chance.choice((0 if self.disorder else 1, 1, 5))
        return self.clock

    # what others do
    def publish_event(self, region: str, kind: str, token: str = "") -> None:
        if token.startswith(shadows.client_token()) and kind == "updated":
            return
        here = self.shadows[region]
        at = self.tick() - self.chance.choice((0, 0, self.disorder))
        event = message(kind, version=here["version"], at=at, state=copy.deepcopy(here["state"]), clientToken=token)
        if not token.startswith(shadows.client_token()):
            self.last[region] = event
        self.queues[region] += [event] * self.chance.choice((1, 1, 2))

    def change(self, region: str, state: dict[str, Any] | None, token: str = "") -> None:
        here = self.shadows[region]
        if state is None and here["state"] is None:
            return
        here["state"] = None if state is None else merge(here["state"] or {}, state)
        here["version"] += state is not None
        self.publish_event(region, "deleted" if state is None else "updated", token)

    def device(self) -> None:
        section, name = self.chance.choice(("desired", "reported")), self.chance.choice("ab")
        value = self.chance.choice((None, 1, 2, {"x": 1}, {"y": 2}))
        delete = self.chance.random() < 0.15
        self.change(self.chance.choice(REGIONS), None if delete else {section: {name: value}})

    def replicate(self) -> None:
        if not self.travelling:
            return
        region, stamp, item = self.travelling.pop(self.chance.randrange(len(self.travelling)))
        if stamp > self.stamps[region]:
            self.store(region, stamp, item)

    def store(self, region: str, stamp: tuple[int, str], item: dict[str, Any]) -> None:
        images = {"NewImage": item, **({"OldImage": self.items[region]} if self.items[region] else {})}
        self.items[region], self.stamps[region] = item, stamp
        if item["UpdatedRegion"]["S"] != region:
            self.streams[region].append({"dynamodb": copy.deepcopy(images)})

    def receive(self, region: str, found: dict[str, Any]) -> None:
        with self.inside(region):
            failed = record.handler({"Records": [{"messageId": "1", "body": json.dumps(found)}]}, None)
        self.queues[region] += [found] if failed["batchItemFailures"] else []

    def wake(self) -> None:
        region = self.chance.choice(REGIONS)
        if self.queues[region] and self.chance.random() < 0.5:
            self.receive(region, self.queues[region].pop(self.chance.randrange(len(self.queues[region]))))
        elif batch := self.streams[region][: self.chance.randrange(1, 3)]:
            del self.streams[region][: len(batch)]
            try:
                with self.inside(region):
                    APPLY.handler.handler(copy.deepcopy(batch), None)
            except APPLY.shadows.ShadowKeepsChangingError:
                self.streams[region][:0] = batch

    @contextmanager
    def inside(self, region: str) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self, "region", region)
            patch.setattr(self, "depth", self.depth + 1)
            patch.setenv("AWS_REGION", region)
            yield

    def interrupt(self) -> None:
        if not self.calm and self.depth < 4 and self.chance.random() < 0.3:
            self.chance.choice((self.device, self.replicate, self.wake))()

    def under_way(self) -> bool:
        return bool(self.travelling or any(self.queues.values()) or any(self.streams.values()))

    # what functions call
    def __call__(self, service: str, region: str | None = None) -> Any:
        del service
        if self.script and (action := self.script.pop(0)):
            action()
        self.interrupt()
        return self

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        if arguments["TableName"] == "fleet-device-inventory":
            return {"Item": {"State": {"S": "ACTIVE"}}}
        return {"Item": copy.deepcopy(self.items[self.region])} if self.items[self.region] else {}

    def put_item(self, **arguments: Any) -> None:
        if not holds(arguments["ConditionExpression"], self.items[self.region], arguments["ExpressionAttributeValues"]):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem")
        self.clock += 1
        stamp = (self.clock, self.region)
        self.store(self.region, stamp, copy.deepcopy(arguments["Item"]))
        [other] = set(REGIONS) - {self.region}
        self.travelling.append((other, stamp, copy.deepcopy(arguments["Item"])))

    def get_thing_shadow(self, **_arguments: Any) -> dict[str, Any]:
        here = self.shadows[self.region]
        if here["state"] is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetThingShadow")
        return {"payload": io.BytesIO(json.dumps(here).encode())}

    def update_thing_shadow(self, *, payload: bytes, **_arguments: Any) -> None:
        document = json.loads(payload)
        if document.get("version", self.shadows[self.region]["version"]) != self.shadows[self.region]["version"]:
            raise ClientError({"Error": {"Code": "ConflictException"}}, "UpdateThingShadow")
        self.change(self.region, document["state"], document["clientToken"])

    def publish(self, *, payload: bytes, **_arguments: Any) -> None:
        self.deletions.append(json.loads(payload)["clientToken"])
        if self.chance.random() < 0.5:
            self.sleep(0)

    def sleep(self, _seconds: float) -> None:
        while self.deletions:
            self.change(self.region, None, self.deletions.pop())

    def send_message(self, *, MessageBody: str, **_arguments: Any) -> None:
        self.queues[self.region].append(json.loads(MessageBody))


def holds(condition: str, item: dict[str, Any], values: dict[str, Any]) -> bool:
    """DynamoDB's answer to a condition of ours."""
    if not item:
        return condition.startswith("attribute_not_exists(ThingName)")
    plain = {name: TypeDeserializer().deserialize(value) for name, value in {**item, **values}.items()}
    text = re.sub(
        r"attribute_(not_)?exists\((\w+)\)", lambda found: str((found[2] in item) != bool(found[1])), condition
    )
    text = re.sub(r"(?<![<>])=", "==", text).replace("AND", "and").replace("OR", "or").replace("NOT", "not")
    text = re.sub(r":?\b(UpdatedAtMs|UpdatedRegion|ShadowVersion|at|region|version|since)\b", r'plain["\g<0>"]', text)
    return bool(eval(text, {"plain": plain}))  # noqa: S307 - a condition of ours


def installed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    for modules in (RECORD, APPLY):
        monkeypatch.setattr(modules.shadows, "aws", world)
        monkeypatch.setattr(modules.shadows.time, "sleep", world.sleep)
    return world


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Where nothing happens by chance."""
    made = installed(World(random.Random(0)), monkeypatch)
    made.calm = True
    return made


HERE, THERE = REGIONS


def apply_item_of_the_other_region(world: World, **values: Any) -> None:
    item = shadows.typed(record.item_of(message(**values), THERE))
    world.store(HERE, (world.tick(), THERE), item)
    with world.inside(HERE):
        APPLY.handler.handler(world.streams[HERE], None)


def test_what_is_recorded_while_another_item_is_applied_is_what_stays(world: World) -> None:
    world.change(HERE, {"reported": {"n": "newer"}})
    [newer, *_] = world.queues[HERE]
    # The calls are: the shadow, the item, the update, the item again.
    world.script = [None, None, lambda: world.receive(HERE, newer)]
    apply_item_of_the_other_region(world, at=newer["at"] - 1, state={"reported": {"n": "older"}})
    assert world.shadows[HERE]["state"] == {"reported": {"n": "newer"}}


def test_an_update_that_comes_in_between_is_not_mixed_with_the_item(world: World) -> None:
    world.change(HERE, {"reported": {"a": 1}})
    world.script = [None, None, lambda: world.change(HERE, {"reported": {"b": 1}})]
    apply_item_of_the_other_region(world, at=world.clock + 1, state={"reported": {"a": 2}})
    assert world.shadows[HERE]["state"] == {"reported": {"a": 2}}


@pytest.mark.parametrize(
    ("messages", "version", "at"),
    [
        ([(1, 100), (2, 100)], 2, 101),  # in one millisecond
        ([(2, 100), (1, 100)], 2, 100),
        ([(1, 100), (2, 99)], 2, 101),  # stamped in another order
        ([(2, 99), (1, 100)], 2, 99),
        ([(2, 100), (2, 100)], 2, 100),  # the same one again
        ([(9, 100), (1, 100 + 60_000)], 1, 100 + 60_000),  # a shadow that began anew
    ],
)
def test_updates_of_a_region_are_recorded_in_the_order_of_their_versions(
    world: World, messages: list[tuple[int, int]], version: int, at: int
) -> None:
    world.change(HERE, {"reported": {}})
    for each in messages:
        world.receive(HERE, message(version=each[0], at=each[1]))
    assert (world.items[HERE]["ShadowVersion"], world.items[HERE]["UpdatedAtMs"]) == (
        {"N": str(version)},
        {"N": str(at)},
    )


@pytest.mark.parametrize("disorder", [0, 3])
@pytest.mark.parametrize("seed", range(60))
def test_every_order_of_events_ends_equal_with_the_last_update(
    seed: int, disorder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    world = installed(World(chance, disorder=disorder), monkeypatch)
    world.device()
    for _ in range(chance.randrange(40)):
        chance.choice((world.device, world.replicate, world.wake, world.wake))()
    world.calm = True
    for _ in range(2000):
        if not world.under_way():
            break
        chance.choice((world.replicate, world.wake))()
    assert not world.under_way(), "it never ends"
    here, there = (world.items[region] for region in REGIONS)
    assert here == there
    item = {name: TypeDeserializer().deserialize(value) for name, value in here.items()}
    wanted = shadows._sections(json.loads(item["State"])) if "State" in item else None
    for region in REGIONS:
        state = world.shadows[region]["state"]
        assert (None if state is None else shadows._sections(state)) == wanted, region
    if disorder:
        return  # equal all the same, with one of those of the same moment
    for region, last in world.last.items():
        if region == item["UpdatedRegion"]:
            assert (item["ShadowVersion"], "State" in item) == (last["version"], last["shadow"] == "updated")
        else:
            assert (last["at"], region) < (item["UpdatedAtMs"], item["UpdatedRegion"])
