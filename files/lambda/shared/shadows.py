"""Shadows that are the same in every region: what an item of the table ``shadows`` says, and making a shadow that.

An item's place in time is ``(UpdatedAtMs, UpdatedRegion)``; the greatest one holds. How everything becomes equal:

- Each write of an item is followed by ``apply`` in every region: here by who wrote it, elsewhere by the pipe.
- ``converge`` reads first the shadow, then the item, changes the version of the shadow that it read or nothing, and
  reads the item again: whichever of a device, a record and a convergence comes last, it sees what the others did. So a
  device's update that is not yet on record may be undone for the moment, and its record brings it back if it is the
  newer one.
- Of two items written at once global tables keep the one that was written last, which may be the older one. A stream
  shows that, and ``restore`` writes the newer one again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from aws import aws, code, plain, typed
from botocore.exceptions import ClientError

Item = dict[str, Any]
CLASSIC = "$classic"
SECTIONS = ("desired", "reported")
# Seconds after which a thing that is not here yet is looked for again.
LOOKS = (3, 15, 60)
# Seconds between two looks at a shadow that is being deleted.
DELETION_TAKES = (0.05, 0.1, 0.2, 0.4, 0.8)
OLDER = "UpdatedAtMs < :at OR (UpdatedAtMs = :at AND UpdatedRegion < :region)"


class ThingNotHereError(Exception):
    """The region has no such thing; ``expected`` says whether its row wants one."""

    def __init__(self, thing: str, *, expected: bool) -> None:
        super().__init__(f"the thing {thing} is not in this region")
        self.expected = expected


class ShadowKeepsChangingError(Exception):
    """Other writers were faster five times, or a deletion takes its time."""


def is_newer(item: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether ``item`` holds against ``other``."""
    return bool((item["UpdatedAtMs"], item["UpdatedRegion"]) > (other["UpdatedAtMs"], other["UpdatedRegion"]))


def difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What makes ``found`` ``wanted`` when it is merged into it: null for what is gone; ``{}`` when they are equal."""
    changes: dict[str, Any] = {name: None for name in found if name not in wanted}
    for name, value in wanted.items():
        before = found.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = difference(value, before)
            if inner:
                changes[name] = inner
        elif name not in found or _text(value) != _text(before):
            changes[name] = value
    return changes


def client_token(write_id: str = "") -> str:
    """What marks an update or deletion as ours: with ``write_id`` that of one write, else how all of them begin.

    At most 64 bytes (https://docs.aws.amazon.com/iot/latest/developerguide/device-shadow-error-messages.html).
    """
    return f"fleet-{os.environ['APPLICATION']}-{write_id[:8]}"


def read(thing: str, name: str) -> Item:
    """The item; ``{}`` when there is none."""
    answer = aws("dynamodb").get_item(TableName=table("shadows"), Key=_key(thing, name), ConsistentRead=True)
    return plain(answer.get("Item", {}))


def put(item: Item, *, unless: str = "", **values: Any) -> bool:
    """Write the item where it is newer than the one that is there, and not ``unless``; whether it was written."""
    condition = f"({OLDER}) AND NOT ({unless})" if unless else OLDER
    try:
        aws("dynamodb").put_item(
            TableName=table("shadows"),
            Item=typed(item),
            ConditionExpression=f"attribute_not_exists(ThingName) OR ({condition})",
            ExpressionAttributeValues=typed({":at": item["UpdatedAtMs"], ":region": item["UpdatedRegion"], **values}),
        )
    except ClientError as error:
        if code(error) != "ConditionalCheckFailedException":
            raise
        return False
    return True


def restore(old: Item, new: Item) -> None:
    """Write ``old`` again when global tables replaced it by an older one."""
    if old and is_newer(old, new):
        put(old)


def state_of(thing: str) -> str:
    """State of the device's row; "" when it has none."""
    answer = aws("dynamodb").get_item(
        TableName=table("device-inventory"),
        Key=typed({"ThingName": thing}),
        ConsistentRead=True,
        ProjectionExpression="#state",
        ExpressionAttributeNames={"#state": "State"},
    )
    return str(plain(answer.get("Item", {})).get("State", ""))


def apply(thing: str, name: str, *, looks: int = 0) -> None:
    """Make the shadow what the item says; later, by the queue, when the thing is not here yet.

    Raises:
        ThingNotHereError: it was looked for often enough, and its row says that it should be here.

    """
    try:
        converge(thing, name)
    except ThingNotHereError as error:
        if looks < len(LOOKS):
            later({"shadow": "apply", "thing": thing, "name": name, "looks": looks + 1}, LOOKS[looks])
        elif error.expected:
            raise


def later(message: dict[str, Any], seconds: int) -> None:
    """Send record-shadow a message."""
    aws("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=json.dumps(message), DelaySeconds=seconds)


def converge(thing: str, name: str) -> None:
    """Make the shadow in this region what the item says.

    Raises:
        ThingNotHereError: the thing is not here, and nobody deleted it.
        ShadowKeepsChangingError: try again.

    """
    for _attempt in range(5):
        shadow = _shadow(thing, name)
        item = read(thing, name)
        if not item or not _differs(item, shadow):
            return
        if _change(item, shadow) and read(thing, name).get("WriteId") == item["WriteId"]:
            return
    raise ShadowKeepsChangingError(f"the shadow {name} of {thing} changed five times meanwhile")


def _differs(item: Item, shadow: dict[str, Any] | None) -> bool:
    if "State" not in item or shadow is None:
        return ("State" in item) != (shadow is not None)
    return bool(difference(_sections(json.loads(item["State"])), _sections(shadow["state"])))


def _change(item: Item, shadow: dict[str, Any] | None) -> bool:
    """Update, make or delete the shadow; False when it is no longer the one that was read."""
    thing, name = item["ThingName"], item["ShadowName"]
    if "State" not in item:
        return _delete(item, shadow["version"] if shadow else 0)
    wanted = _sections(json.loads(item["State"]))
    document: dict[str, Any] = {"clientToken": client_token(item["WriteId"])}
    if shadow is None:
        # AWS may keep shadows of things that are gone: none is made for a device that was deleted.
        state = state_of(thing)
        if state == "DELETED":
            return True
        if not state:
            raise ThingNotHereError(thing, expected=False)
        document["state"] = wanted
    else:
        document |= {"state": difference(wanted, _sections(shadow["state"])), "version": shadow["version"]}
    try:
        aws("iot-data").update_thing_shadow(**_names(thing, name), payload=json.dumps(document).encode())
    except ClientError as error:
        if code(error) == "ConflictException":
            return False
        if code(error) == "ResourceNotFoundException":
            raise ThingNotHereError(thing, expected=True) from error
        raise
    return True


def _delete(item: Item, version: int) -> bool:
    """Delete by a message, which carries our clientToken; DeleteThingShadow would tell nobody that it was us."""
    thing, name = item["ThingName"], item["ShadowName"]
    aws("iot-data").publish(
        topic=f"$aws/things/{thing}/shadow{'' if name == CLASSIC else f'/name/{name}'}/delete",
        qos=1,
        payload=json.dumps({"clientToken": client_token(item["WriteId"])}).encode(),
    )
    for seconds in DELETION_TAKES:
        shadow = _shadow(thing, name)
        if shadow is None or shadow["version"] != version:
            return True
        time.sleep(seconds)
    raise ShadowKeepsChangingError(f"the shadow {name} of {thing} is not deleted yet")


def _shadow(thing: str, name: str) -> dict[str, Any] | None:
    try:
        answer = aws("iot-data").get_thing_shadow(**_names(thing, name))
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return None
    document: dict[str, Any] = json.loads(answer["payload"].read())
    return document


def _sections(state: Mapping[str, Any]) -> dict[str, Any]:
    """Without the delta, and without what is empty, as AWS may or may not show it."""
    return {section: state[section] for section in SECTIONS if state.get(section)}


def table(name: str) -> str:
    """The fleet's table of that name."""
    return f"{os.environ['APPLICATION']}-{name}"


def _key(thing: str, name: str) -> dict[str, Any]:
    return typed({"ThingName": thing, "ShadowName": name})


def _names(thing: str, name: str) -> dict[str, str]:
    return {"thingName": thing} if name == CLASSIC else {"thingName": thing, "shadowName": name}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # Python takes true for 1
