# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one quota. Private to the collection."""

from __future__ import annotations

from dataclasses import dataclass

# AWS's "select Regions", in which several quotas of AWS IoT Core are smaller.
SELECT_REGIONS = frozenset({
    "ap-east-1", "ca-central-1", "cn-northwest-1", "eu-north-1", "eu-west-3", "me-central-1", "me-south-1",
    "us-gov-east-1", "us-gov-west-1", "us-west-1",
})  # fmt: skip
GENERAL_REFERENCE = "AWS IoT Core endpoints and quotas, AWS General Reference"
GENERAL_REFERENCE_OF = "2023-07-27"


@dataclass(frozen=True)
class Quota:
    """A default quota of an account in a region, as ``source`` said on ``date`` (a year, a month or a day).

    ``value`` is in ``unit``; in the regions ``other_in`` it is ``other`` instead. None: AWS does not publish it.
    ``service`` and ``code`` are those of Service Quotas; ``code`` is empty where it is not known.
    """

    name: str
    value: float | None
    service: str = "iotcore"
    code: str = ""
    adjustable: bool = True
    other: float | None = None
    other_in: frozenset[str] = SELECT_REGIONS
    unit: str = "a second"
    source: str = GENERAL_REFERENCE
    date: str = GENERAL_REFERENCE_OF

    def in_region(self, region: str) -> float | None:
        """The default value in a region."""
        return self.other if self.other is not None and region in self.other_in else self.value


__all__ = ["GENERAL_REFERENCE_OF", "SELECT_REGIONS", "Quota"]
