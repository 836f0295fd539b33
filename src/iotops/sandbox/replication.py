# SPDX-License-Identifier: GPL-3.0-or-later
"""Replicas of a global table that learn of each other's writes later, perhaps in another order, perhaps not for hours.

A write applies at once where it is made and travels to each other replica on its own. Whole items are compared by time
of writing, then by region: the last writer wins, a deletion counting as a write. All items are applied on the event
loop that serves requests, so that a conditional write never sees half of one. Source: "Global tables: multi-active,
multi-Region replication" of the Amazon DynamoDB Developer Guide (multi-Region eventual consistency).
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import itertools
import random
import threading
import time
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import dynamodb

from iotops.sandbox.patching import replace

__all__ = ["Settings", "install", "settings"]


@dataclasses.dataclass
class Settings:
    """How replication behaves; changed while the sandbox runs."""

    delay: float = 0.2  # seconds from a write to its arrival
    jitter: float = 0.1  # seconds that are added at random
    reorder: float = 0.0  # probability that a write is overtaken by later ones
    cut: set[str] = dataclasses.field(default_factory=set)  # regions that neither send nor receive
    lanes: set[str] = dataclasses.field(default_factory=set)  # ``<from>:<to>`` that stand still, one way each
    source_table_lock_seconds: float = 0.0  # how long a table that seeded a replica cannot be deleted (24 h on AWS)
    ttl_interval: float = 5.0  # seconds between two searches for expired items


settings = Settings()

_HELD_LOOK = 0.2  # seconds between two looks at what a cut holds back
_loop: asyncio.AbstractEventLoop | None = None
_numbers = itertools.count()
_pending: dict[int, dict[str, Any]] = {}  # changes on their way, by number
_held: set[int] = set()  # numbers of those that a cut holds back
_latest: dict[tuple[str, str, str], float] = {}  # (table, from, to): when the last change arrives
_stamps: dict[str, dict[str, list[Any]]] = {}  # TableId: item key: [time of writing in ns, region]
_last_ns = 0


def _now() -> int:
    """Nanoseconds of wall time, never the same twice."""
    global _last_ns
    _last_ns = max(time.time_ns(), _last_ns + 1)
    return _last_ns


def _item_key(table: dict[str, Any], item: dict[str, Any]) -> tuple[Any, Any]:
    """The keys under which the base stores the item."""
    range_name = table["sk_name"]
    return (
        dynamodb._extract_key_val(item.get(table["pk_name"])),
        dynamodb._extract_key_val(item.get(range_name)) if range_name else "__no_sort__",
    )


def _write(_original: Any) -> Any:
    def replicate_write(
        table: dict[str, Any], event_name: str, old_item: dict[str, Any] | None, new_item: dict[str, Any] | None
    ) -> None:
        del event_name
        regions, home = dynamodb._replica_group(table), get_region()
        item = new_item if new_item is not None else old_item
        if not regions or item is None:
            return
        keys, stamp = _item_key(table, item), [_now(), home]
        _stamps.setdefault(table["TableId"], {})[_text(keys)] = stamp
        for region in regions:
            if region != home:
                _send(
                    {
                        "account": get_account_id(),
                        "table": table["TableName"],
                        "to": region,
                        "keys": list(keys),
                        "stamp": stamp,
                        "item": copy.deepcopy(new_item),
                    }
                )

    return replicate_write


def _text(keys: tuple[Any, Any] | list[Any]) -> str:
    return f"{keys[0]}\x00{keys[1]}"


def _send(change: dict[str, Any]) -> None:
    number = next(_numbers)
    _pending[number] = change
    if _loop is None:
        return
    lane, delay = (change["table"], change["stamp"][1], change["to"]), settings.delay
    due = time.monotonic() + delay + random.uniform(0, settings.jitter)  # noqa: S311
    if random.random() < settings.reorder:  # noqa: S311
        due += random.uniform(delay, 5 * delay)  # noqa: S311
    else:
        due = max(due, _latest.get(lane, 0))
        _latest[lane] = due
    _later(due - time.monotonic(), _arrive, number)


def _later(delay: float, function: Any, *arguments: Any) -> None:
    loop = _loop
    if loop is None:
        return
    if threading.current_thread() is threading.main_thread():
        loop.call_later(max(delay, 0), function, *arguments)
    else:
        loop.call_soon_threadsafe(loop.call_later, max(delay, 0), function, *arguments)


def _arrive(number: int) -> None:
    change = _pending.get(number)
    if change is None:
        return
    if _stands_still(change):
        _held.add(number)
        if len(_held) == 1:
            _later(_HELD_LOOK, _release)
        return
    with request_scope(change["account"], change["to"]):
        _apply(change)
    _pending.pop(number, None)


def _stands_still(change: dict[str, Any]) -> bool:
    sender, receiver = change["stamp"][1], change["to"]
    return bool({sender, receiver} & settings.cut) or f"{sender}:{receiver}" in settings.lanes


def _release() -> None:
    """Let go what is no longer cut off."""
    for number in sorted(_held):
        change = _pending.get(number)
        if change is None or not _stands_still(change):
            _held.discard(number)
            _later(random.uniform(0, settings.delay), _arrive, number)  # noqa: S311
    if _held:
        _later(_HELD_LOOK, _release)


def _apply(change: dict[str, Any]) -> None:
    table = dynamodb._tables.get(change["table"])
    if table is None or change["stamp"][1] not in dynamodb._replica_group(table):
        return
    stamps, key = _stamps.setdefault(table["TableId"], {}), _text(change["keys"])
    if stamps.get(key, [0, ""]) >= change["stamp"]:
        return
    hash_key, range_key = change["keys"]
    before = table["items"].get(hash_key, {}).get(range_key)
    after = copy.deepcopy(change["item"])
    if after is not None:
        dynamodb._set_item(table, hash_key, range_key, after)
    elif before is not None:
        dynamodb._remove_item(table, hash_key, range_key)
    stamps[key] = change["stamp"]
    if before is not None or after is not None:
        event = "REMOVE" if after is None else "MODIFY" if before is not None else "INSERT"
        dynamodb._emit_stream_event(change["table"], event, before, after, replicate=False)


def _add_replica(original: Any) -> Any:
    def create_replica(name: str, table: dict[str, Any], region: str) -> None:
        """A new replica starts with what its source has, and is told what is still on its way there."""
        original(name, table, region)
        account, home = get_account_id(), get_region()
        replica = dynamodb._tables.get_scoped(account, region, name)
        replica.pop("_seeded_at", None)
        table["_seeded_at"] = time.time()
        _stamps[replica["TableId"]] = dict(_stamps.get(table["TableId"], {}))
        for change in list(_pending.values()):
            if (change["account"], change["table"], change["to"]) == (account, name, home):
                _send({**change, "to": region})

    return create_replica


# --- expired items ---------------------------------------------------------------------------------------------------


def _expire() -> None:
    """Delete what is past its time to live, as DynamoDB itself does, seen in the stream and in every replica."""
    for (account, region, name), setting in list(dynamodb._ttl_settings.all_items()):
        if setting.get("TimeToLiveStatus") == "ENABLED":
            with request_scope(account, region):
                _expire_table(name, setting["AttributeName"])
    _later(settings.ttl_interval, _expire)


def _expire_table(name: str, attribute: str) -> None:
    table = dynamodb._tables.get(name)
    items = [item for partition in table["items"].values() for item in partition.values()] if table else []
    for item in items:
        until = item.get(attribute, {}).get("N")
        if until is not None and float(until) <= time.time():
            dynamodb._remove_item(table, *_item_key(table, item))
            dynamodb._emit_stream_event(name, "REMOVE", item, None)
            records = dynamodb._stream_records.get(name)
            if records:
                records[-1]["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def _remove(original: Any) -> Any:
    def remove_item(table: dict[str, Any], pk_val: Any, sk_val: Any) -> Any:
        """The base's own search deletes without telling the stream or the replicas: ours does it instead."""
        if threading.current_thread().name == "dynamodb-ttl-reaper":
            return None
        return original(table, pk_val, sk_val)

    return remove_item


# --- state -----------------------------------------------------------------------------------------------------------


def _state(original: Any) -> Any:
    def get_state() -> dict[str, Any]:
        live = {table.get("TableId") for table in dynamodb._tables.all_values()}
        return {
            **original(),
            "stream_records": dynamodb._stream_records,
            "stream_trimmed": dynamodb._stream_trimmed,
            "closed_streams": dynamodb._closed_streams,
            "replication_pending": list(_pending.values()),
            "replication_stamps": {table: stamps for table, stamps in _stamps.items() if table in live},
        }

    return get_state


def _load(original: Any) -> Any:
    def load_persisted_state(data: Any) -> None:
        original(data)
        for store, key in (
            (dynamodb._stream_records, "stream_records"),
            (dynamodb._stream_trimmed, "stream_trimmed"),
            (dynamodb._closed_streams, "closed_streams"),
        ):
            if key in (data or {}):  # a scoped store counts as false when the current region has nothing in it
                store.update(data[key])
        _stamps.update((data or {}).get("replication_stamps") or {})
        for change in (data or {}).get("replication_pending") or []:
            _pending[next(_numbers)] = change
        _attach()

    return load_persisted_state


def _attach() -> None:
    """Start on the loop that serves requests, with what a former run left on its way."""
    global _loop
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if _loop is not None:
        return
    _loop = loop
    for number in list(_pending):
        _later(settings.delay, _arrive, number)
    _later(settings.ttl_interval, _expire)


def _handle(original: Any) -> Any:
    async def handle_request(method: str, path: str, headers: Any, body: bytes, query_params: Any) -> Any:
        _attach()
        return await original(method, path, headers, body, query_params)

    return handle_request


def install() -> None:
    """Replicate later instead of at once, and keep streams and what is on its way across restarts."""
    replace(dynamodb, "_replicate_write", "table, event_name, old_item, new_item", _write)
    replace(dynamodb, "_create_replica", "name, table, region", _add_replica)
    replace(dynamodb, "_remove_item", "table, pk_val, sk_val", _remove)
    replace(dynamodb, "get_state", "", _state)
    replace(dynamodb, "load_persisted_state", "data", _load)
    replace(dynamodb, "handle_request", "method, path, headers, body, query_params", _handle)
