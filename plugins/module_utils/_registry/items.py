# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DynamoDB's attribute values as plain Python values. Private to the collection.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Item = dict[str, Any]


def plain_item(item: Mapping[str, Mapping[str, Any]]) -> Item:
    """``{"a": {"S": "x"}, "n": {"N": "1"}}`` as ``{"a": "x", "n": 1}``; sets become sorted lists."""
    return {name: plain_value(value) for name, value in item.items()}


def plain_value(value: Mapping[str, Any]) -> Any:
    """One attribute value, at any depth, without its type letters.

    Raises:
        ValueError: not exactly one type letter.

    """
    if len(value) != 1:
        raise ValueError(f"an attribute value has exactly one type, this one has {sorted(value)}")
    ((kind, content),) = value.items()
    if kind == "M":
        return plain_item(content)
    if kind == "L":
        return [plain_value(each) for each in content]
    if kind == "N":
        return _number(content)
    if kind == "NS":
        return sorted(_number(each) for each in content)
    if kind in ("SS", "BS"):
        return sorted(content)
    return None if kind == "NULL" else content


def typed_item(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The reverse of :func:`plain_item`; a set was a list there and is one here."""
    return {name: _typed_value(value) for name, value in item.items()}


def _typed_value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": str(value)}
        case str():
            return {"S": value}
        case Mapping():
            return {"M": typed_item(value)}
        case _:
            return {"L": [_typed_value(each) for each in value]}


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


__all__ = ["Item", "plain_item", "plain_value", "typed_item"]
