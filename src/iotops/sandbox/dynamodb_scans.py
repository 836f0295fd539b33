# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan of a table, a page at a time: the base sorts, hashes and filters the whole table again for each page.

The first page of a segment remembers the keys that there are; each page then looks up those that it shows, so that it
costs the same in a table of any size. What is added meanwhile is left out, as a Scan may. Scans of an index, with a
filter or a limit, or of parts of attributes are the base's.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_right
from collections import OrderedDict
from typing import Any

from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import dynamodb

from iotops.sandbox.patching import replace

__all__ = ["install"]

Answer = tuple[int, dict[str, str], bytes]
Key = tuple[str, str]
_KNOWN = {
    "TableName", "ProjectionExpression", "ExpressionAttributeNames", "Segment", "TotalSegments", "ExclusiveStartKey",
}  # fmt: skip
_PLACEHOLDERS = re.compile(r"\s*#\w+\s*(,\s*#\w+\s*)*")
_KEPT = 64  # segments whose keys are remembered

_remembered: OrderedDict[tuple[str, str, str, int, int], list[Key]] = OrderedDict()


def _scan(original: Any) -> Any:
    def scan(data: dict[str, Any]) -> Answer:
        table, names = dynamodb._tables.get(data.get("TableName")), _names(data)
        if table is None or names is None or not _is_plain(data, table):
            return tuple(original(data))
        where = (get_account_id(), get_region(), data["TableName"])
        scope = (*where, data.get("TotalSegments", 1), data.get("Segment", 0))
        start = data.get("ExclusiveStartKey")
        if start is None or scope not in _remembered:
            _remember(scope, table)
        keys = _remembered[scope]
        shown, is_last = _page(table, keys, bisect_right(keys, _key(table, start)) if start else 0)
        items = [{name: item[name] for name in names if name in item} for item in shown] if names else shown
        answer = {"Items": items, "Count": len(shown), "ScannedCount": len(shown)}
        if is_last:
            del _remembered[scope]
        else:
            answer["LastEvaluatedKey"] = dynamodb._build_key(shown[-1], table["pk_name"], table["sk_name"])
        return tuple(json_response(answer))

    return scan


def _is_plain(data: dict[str, Any], table: dict[str, Any]) -> bool:
    """Whether there is nothing to refuse and nothing that only the base does."""
    segment, segments, start = data.get("Segment", 0), data.get("TotalSegments", 1), data.get("ExclusiveStartKey")
    key = {name for name in (table["pk_name"], table["sk_name"]) if name}
    return (
        data.keys() <= _KNOWN
        and ("Segment" in data) == ("TotalSegments" in data)
        and isinstance(segment, int)
        and isinstance(segments, int)
        and 0 <= segment < segments
        and (start is None or start.keys() == key)
    )


def _names(data: dict[str, Any]) -> list[str] | None:
    """The attributes that are asked for, [] for all; None where the base has to look at the expression."""
    expression, names = data.get("ProjectionExpression"), data.get("ExpressionAttributeNames") or {}
    if expression is None:
        return None if names else []
    if not _PLACEHOLDERS.fullmatch(expression):
        return None
    asked = [each.strip() for each in expression.split(",")]
    found = [names[each] for each in asked if each in names]
    return found if len(set(found)) == len(asked) == len(names) else None


def _key(table: dict[str, Any], item: dict[str, Any]) -> Key:
    """As the base stores the item."""
    range_name = table["sk_name"]
    return (
        dynamodb._extract_key_val(item[table["pk_name"]]),
        dynamodb._extract_key_val(item[range_name]) if range_name else "__no_sort__",
    )


def _remember(scope: tuple[str, str, str, int, int], table: dict[str, Any]) -> None:
    """Remember the keys of a segment, ascending."""
    segments, segment = scope[3:]
    _remembered[scope] = sorted(
        (hash_key, range_key)
        for hash_key, partition in table["items"].items()
        if zlib.crc32(str(hash_key).encode()) % segments == segment
        for range_key in partition
    )
    while len(_remembered) > _KEPT:
        _remembered.popitem(last=False)


def _page(table: dict[str, Any], keys: list[Key], position: int) -> tuple[list[Any], bool]:
    """Items from there on up to 1 MB, and whether they are the last."""
    shown: list[Any] = []
    size, items = 0, table["items"]
    for hash_key, range_key in keys[position:]:
        item = items.get(hash_key, {}).get(range_key)
        if item is None:
            continue
        size += dynamodb._item_size_bytes(item)
        if shown and size > dynamodb._DDB_PAGE_SIZE_BYTES:
            return shown, False
        shown.append(item)
    return shown, True


def install() -> None:
    """Put it before the base's; to be installed before what reads tables."""
    replace(dynamodb, "_scan", "data", _scan)
