# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of what AWS charges. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ansible_collections.iotops.fleet.plugins.module_utils._plan.prices import PRICES, usd


class Line(NamedTuple):
    """``units`` of what the prices call ``unit``, for ``usd``."""

    service: str
    what: str
    units: float
    unit: str
    usd: float

    @property
    def source(self) -> str:
        """Where the price is from."""
        price = PRICES[self.unit]
        return f"{price.source}, {price.date}"


def line(service: str, what: str, count: float, unit: str) -> Line:
    """So many units at their price."""
    return Line(service, what, count, unit, usd(unit, count))


def total(lines: Iterable[Line]) -> float:
    """USD."""
    return sum(each.usd for each in lines)


def by_service(lines: Iterable[Line]) -> dict[str, float]:
    """USD by service, the dearest first."""
    sums: dict[str, float] = {}
    for each in lines:
        sums[each.service] = sums.get(each.service, 0.0) + each.usd
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


__all__ = ["Line", "by_service", "line", "total"]
