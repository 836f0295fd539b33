# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS charges, in USD in us-east-1. Private to the collection.

eu-west-1 differs in DynamoDB only, about 13 % more; some regions are 10 % dearer throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PRICE_LIST = "AWS price list"
PRICE_PAGE = "price page of the service"
QUOTED = "quoted in public, to be verified"
MILLION = 1e6


@dataclass(frozen=True)
class Price:
    """``usd`` for ``per`` units, as ``source`` said on ``date``."""

    unit: str
    usd: float
    source: str
    date: str
    per: float = MILLION


_RECORDS = (
    Price("connection minute", 0.08, PRICE_LIST, "2026-09"),
    Price("iot message", 1.00, PRICE_LIST, "2026-09"),  # of 5 KB; CONNECT is one, refused or not
    Price("rule", 0.15, QUOTED, "2026-09"),  # triggered, 5 KB
    Price("action", 0.15, QUOTED, "2026-09"),
    Price("registry operation", 1.25, QUOTED, "2026-09"),  # 1 KB; those on certificates and policies are free
    Price("index update", 2.25, QUOTED, "2026-09"),  # 1 KB
    Price("transition", 25.0, PRICE_PAGE, "2026-09"),  # of a STANDARD state machine, retries included
    Price("express request", 1.00, PRICE_PAGE, "2026-09"),
    Price("express GB-s", 16.67, QUOTED, "2026-09"),
    Price("lambda request", 0.20, PRICE_LIST, "2026-09"),
    Price("lambda GB-s", 16.6667, PRICE_LIST, "2026-09"),
    Price("write unit", 0.625, PRICE_LIST, "2026-09"),  # on demand, 1 KB; in each replica
    Price("read unit", 0.125, PRICE_LIST, "2026-09"),  # 4 KB, or 8 KB when eventually consistent
    Price("stream read", 0.20, QUOTED, "2026-09"),
    Price("stored GB-month", 0.25, PRICE_PAGE, "2026-09", per=1),
    Price("backup GB-month", 0.20, QUOTED, "2026-09", per=1),  # point-in-time recovery
    Price("replicated GB", 0.02, QUOTED, "2026-09", per=1),  # out of one region into another
    Price("custom event", 1.00, QUOTED, "2026-09"),  # 64 KB
    Price("pipe request", 0.40, QUOTED, "2026-09"),  # 64 KB, after the filter
    Price("queue request", 0.40, QUOTED, "2026-09"),
    Price("log byte", 0.50, QUOTED, "2026-09", per=1e9),
    Price("hosted zone", 0.50, QUOTED, "2026-09", per=1),
    Price("health check", 0.75, QUOTED, "2026-09", per=1),
    Price("latency query", 0.60, QUOTED, "2026-09"),
)
PRICES = {price.unit: price for price in _RECORDS}
# Messages of a region and month: from so many on, USD per million.
MESSAGE_TIERS = ((0.0, 1.00), (1e9, 0.80), (5e9, 0.70))


def usd(unit: str, count: float) -> float:
    """What so many units cost, without a discount for many."""
    price = PRICES[unit]
    return count * price.usd / price.per


def messages_usd(count: float) -> float:
    """What so many messages of a month cost in one region; 5 KB each."""
    ends = [start for start, _price in MESSAGE_TIERS[1:]] + [math.inf]
    return sum(
        max(0.0, min(count, end) - start) * price / MILLION
        for (start, price), end in zip(MESSAGE_TIERS, ends, strict=True)
    )


__all__ = ["MILLION", "PRICES", "Price", "messages_usd", "usd"]
