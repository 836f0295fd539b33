# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one quota. Private to the collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# AWS's "select Regions", in which several quotas of AWS IoT Core are smaller.
SELECT_REGIONS = frozenset({
    "ap-east-1", "ca-central-1", "cn-northwest-1", "eu-north-1", "eu-west-3", "me-central-1", "me-south-1",
    "us-gov-east-1", "us-gov-west-1", "us-west-1",
})  # fmt: skip
GENERAL_REFERENCE = "AWS IoT Core endpoints and quotas, AWS General Reference"
GENERAL_REFERENCE_OF = "2023-07-27"


def select(value: float) -> dict[str, float]:
    """Another value in the select regions."""
    return dict.fromkeys(SELECT_REGIONS, value)


@dataclass(frozen=True)
class Quota:
    """A default quota of an account in a region, as ``source`` said on ``date`` (a year, a month or a day).

    ``value`` is in ``unit``, and another one in the regions of ``exceptions``. None: AWS does not publish it.
    ``title`` is AWS's name of it; ``service`` and ``code`` are those of Service Quotas, empty where they are not known.
    """

    name: str
    value: float | None
    service: str = "iotcore"
    code: str = ""
    adjustable: bool = True
    exceptions: Mapping[str, float] = field(default_factory=dict)
    unit: str = "a second"
    title: str = ""
    source: str = GENERAL_REFERENCE
    date: str = GENERAL_REFERENCE_OF

    def in_region(self, region: str) -> float | None:
        """The default value in a region."""
        return self.exceptions.get(region, self.value)

    @property
    def asked_for(self) -> str:
        """What a request to raise it names: AWS's title, and the code where it is known."""
        title = self.title or f"{self.name} API TPS"
        return f"{title} ({self.code})" if self.code else title


__all__ = ["GENERAL_REFERENCE", "GENERAL_REFERENCE_OF", "SELECT_REGIONS", "Quota", "select"]
