# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which devices are looked at one by one where there are too many, and what that says of all of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

__all__ = ["CONFIDENCE", "mark", "most_faulty"]

CONFIDENCE = 0.95


def mark(seed: str) -> Callable[[str], int]:
    """A number for each name that is another one with another seed: the devices with the smallest are the sample."""
    start = zlib.crc32(seed.encode())
    return lambda name: zlib.crc32(name.encode(), start)


def most_faulty(faulty: int, sampled: int) -> float:
    """The share of faulty devices that is not exceeded with a confidence of 95 %, given so many in a random sample.

    The upper limit of Clopper and Pearson (Biometrika 26, 1934): the share at which so few would come out of the
    sample in one case of twenty.
    """
    if faulty >= sampled:
        return 1.0
    low, high = faulty / sampled, 1.0
    for _halving in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(faulty, sampled, middle) > 1 - CONFIDENCE else (low, middle)
    return high


def _at_most(faulty: int, sampled: int, share: float) -> float:
    """The probability of at most so many faulty ones (binomial distribution)."""
    logs = (
        math.lgamma(sampled + 1) - math.lgamma(k + 1) - math.lgamma(sampled - k + 1)
        + k * math.log(share) + (sampled - k) * math.log1p(-share)
        for k in range(faulty + 1)
    )  # fmt: skip
    return sum(math.exp(each) for each in logs) if 0 < share < 1 else float(share == 0)
