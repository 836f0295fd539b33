# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was counted to what AWS would charge."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.joining.prices import FIRST_CONTACT, FIRST_CONTACTS, PRICES, QUOTAS

WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}


@dataclass(frozen=True)
class Line:
    """``count`` units a device, of what ``PRICES`` calls ``unit``; whether every design has to pay them."""

    what: str
    count: float
    unit: str
    unavoidable: bool = False

    @property
    def usd(self) -> float:
        """USD per million devices."""
        return self.count * PRICES[self.unit]


def total(lines: Iterable[Line]) -> float:
    """USD per million devices."""
    return sum(line.usd for line in lines)


def item_bytes(item: Mapping[str, Any]) -> int:
    """Size of a DynamoDB item (in DynamoDB's JSON) as it is charged.

    Source: "DynamoDB item sizes and formats" of the Amazon DynamoDB Developer Guide.
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(typed: Mapping[str, Any]) -> int:
    [(kind, value)] = typed.items()
    if kind == "M":
        return 3 + item_bytes(value) + len(value)
    if kind == "L":
        return 3 + sum(_value_bytes(each) + 1 for each in value)
    if kind in ("SS", "NS", "BS"):
        return sum(_value_bytes({kind[0]: each}) for each in value)
    if kind == "N":
        return math.ceil(len(value.lstrip("-").replace(".", "")) / 2) + 1
    return 1 if kind in ("BOOL", "NULL") else len(value.encode() if isinstance(value, str) else value)


def matches(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT topic filter matches a topic."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(one in ("+", other) for one, other in zip(wanted, given, strict=True))


@dataclass(frozen=True)
class Rate:
    """The most devices a second that default quotas let in, and the quota that binds."""

    devices: float
    quota: str


def rates(entry: Mapping[str, float], other: Mapping[str, float]) -> tuple[Rate, Rate]:
    """The rate of devices that all enter through one of two regions, and of those that enter evenly through both.

    ``entry`` and ``other``: IoT calls a device by operation, in the region that it enters through and in the other one.

    Raises:
        KeyError: an operation whose quota is not known.

    """
    one: dict[str, float] = {FIRST_CONTACT: FIRST_CONTACTS}
    two: dict[str, float] = {FIRST_CONTACT: 2 * FIRST_CONTACTS}
    for operation in {**entry, **other}:
        here, there = entry.get(operation, 0.0), other.get(operation, 0.0)
        one[operation] = QUOTAS[operation] / max(here, there)
        two[operation] = 2 * QUOTAS[operation] / (here + there)
    return _least(one), _least(two)


def _least(limits: Mapping[str, float]) -> Rate:
    lowest = min(limits.values())
    return Rate(round(lowest, 1), ", ".join(sorted(name for name, limit in limits.items() if limit == lowest)))
