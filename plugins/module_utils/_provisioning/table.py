# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of devices that may ask for a certificate: what an operator wants of it. Private to the collection.

The function ``provision-device`` writes the same items at the same time, so each write is conditional on the
``revision`` that was read, and what an answer is being made of right now stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._provisioning.entries import Entries, fingerprint
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import Item, plain_item, typed_item
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import LOST, existing
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code

STATES = ("present", "absent", "released", "reset")
STATUSES = FREE, TAKEN, DONE = ("unprovisioned", "provisioning", "provisioned")
ATTEMPTS = 5  # against the function, which writes an item a few times in a second
# What a device that is on the list for the first time has not.
OF_A_CLAIM = ("aws_region", "claim", "nonces", "prov_datetime")


@dataclass(frozen=True)
class Change:
    """One item that differs from what is wanted; ``after`` is None where it goes, ``before`` empty where it comes."""

    name: str
    before: Item
    after: Item | None


@dataclass(frozen=True)
class Plan:
    """What is to be done; ``busy`` is being granted a request, ``unknown`` is not there to be given back."""

    changes: list[Change]
    busy: list[str]
    unknown: list[str]


def plan(state: str, entries: Entries, items: dict[str, Item], now: int) -> Plan:
    """Compare what is wanted with the items; ``now`` in epoch seconds."""
    differing = [name for name in entries if _differs(state, entries[name], items.get(name, {}))]
    busy = [name for name in differing if state != "present" and _is_busy(items[name], now)]
    changes = [
        Change(name, items.get(name, {}), _after(state, name, entries[name], items.get(name, {})))
        for name in differing
        if name not in set(busy)
    ]
    unknown = [] if state in ("present", "absent") else [name for name in entries if name not in items]
    return Plan(changes, busy, unknown)


def _differs(state: str, key: str, item: Item) -> bool:
    if state == "present":
        return not item or bool(key and fingerprint(key) != fingerprint(item.get("public_key", "")))
    if state == "absent":
        return bool(item)
    return item.get("prov_status") == (TAKEN if state == "released" else DONE)


def _is_busy(item: Item, now: int) -> bool:
    return item.get("prov_status") == TAKEN and item.get("claim", {}).get("until", 0) > now


def _after(state: str, name: str, key: str, item: Item) -> Item | None:
    if state == "absent":
        return None
    given = {"public_key": key} if key else {}
    if state == "present":
        known = item or {"thing_name": name, "prov_status": FREE}
        return {**known, **given, "revision": _next(item)}
    kept = {attribute: value for attribute, value in item.items() if attribute not in OF_A_CLAIM}
    return {**kept, **given, "prov_status": FREE, "revision": _next(item)}


def _next(item: Item) -> int:
    return int(item.get("revision", 0)) + 1


def shown(item: Item | None) -> dict[str, Any] | None:
    """An item in short, with the fingerprint of its key; None where there is none."""
    if not item:
        return None
    claim = item.get("claim", {})
    return {
        "thing_name": item["thing_name"],
        "status": item.get("prov_status", ""),
        "region": item.get("aws_region", ""),
        "provisioned_at": item.get("prov_datetime", ""),
        "public_key_sha256": fingerprint(item.get("public_key", "")),
        "certificate_id": claim.get("certificate_id", ""),
        "claimed_until": claim.get("until", 0) if item.get("prov_status") == TAKEN else 0,
    }


@dataclass(frozen=True)
class Table:
    """The table in its region; at most ``threads`` calls at once, ``report`` told of the count from time to time."""

    client: Any
    name: str
    threads: int
    report: Callable[[str], None]

    def read(self, names: Sequence[str]) -> dict[str, Item]:
        """Those of the items that are there, by name."""
        return {item["thing_name"]: item for item in existing(self.client, self.name, "thing_name", names)}

    def make(self, state: str, entries: Entries, now: Callable[[], int]) -> None:
        """Make the items what is wanted; those that are being granted stay.

        Raises:
            FleetError: the function was faster each time.

        """
        left = entries
        for _attempt in range(ATTEMPTS):
            changes = plan(state, left, self.read(list(left)), now()).changes
            lost = [change.name for change, is_done in zip(changes, self._each(changes), strict=True) if not is_done]
            if not lost:
                return
            left = {name: left[name] for name in lost}
        raise FleetError(f"{len(left)} items change all the time, {min(left)} for one: run again")

    def _each(self, changes: list[Change]) -> list[bool]:
        outcomes = []
        with ThreadPoolExecutor(self.threads) as pool:
            for number, outcome in enumerate(pool.map(self._apply, changes), 1):
                outcomes.append(outcome)
                if number % 1000 == 0:
                    self.report(f"written {number}/{len(changes)}")
        return outcomes

    def _apply(self, change: Change) -> bool:
        """Whether the item was as it was read, and is now as wanted."""
        return write(self.client, self.name, change)


@api_call("write an item of the provisioning table")
def write(client: Any, table: str, change: Change) -> bool:
    """Write one item if it is as it was read; whether it was."""
    condition = _unchanged(change.before)
    try:
        if change.after is None:
            client.delete_item(TableName=table, Key=typed_item({"thing_name": change.name}), **condition)
        elif not change.before:
            client.put_item(TableName=table, Item=typed_item(change.after), **condition)
        else:
            client.update_item(TableName=table, Key=typed_item({"thing_name": change.name}), **_update(change))
    except client.exceptions.ClientError as error:
        if error_code(error) != LOST:
            raise
        return False
    return True


def _unchanged(item: Item) -> dict[str, Any]:
    if not item:
        return {"ConditionExpression": "attribute_not_exists(thing_name)"}
    if "revision" not in item:
        return {"ConditionExpression": "attribute_exists(thing_name) AND attribute_not_exists(revision)"}
    return {
        "ConditionExpression": "revision = :read",
        "ExpressionAttributeValues": typed_item({":read": item["revision"]}),
    }


def _update(change: Change) -> dict[str, Any]:
    """Only what differs is written: an item may have attributes that are somebody else's."""
    after, condition = change.after or {}, _unchanged(change.before)
    names = [name for name in after if after[name] != change.before.get(name)]
    gone = [name for name in change.before if name not in after]
    expression = "SET " + ", ".join(f"{name} = :{name}" for name in names)
    return {
        "UpdateExpression": f"{expression} REMOVE {', '.join(gone)}" if gone else expression,
        "ConditionExpression": condition["ConditionExpression"],
        "ExpressionAttributeValues": {
            **condition.get("ExpressionAttributeValues", {}),
            **typed_item({f":{name}": after[name] for name in names}),
        },
    }


@api_call("list the provisioning table")
def listed(client: Any, table: str) -> list[Item]:
    """All devices on the list, in no order."""
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return list(_devices(plain_item(item) for page in pages for item in page["Items"]))


def _devices(items: Iterator[Item]) -> Iterator[Item]:
    """Without what the function keeps for itself, under names that no thing can have."""
    return (item for item in items if "#" not in item["thing_name"])


__all__ = ["STATES", "STATUSES", "Change", "Plan", "Table", "listed", "plan", "shown", "write"]
