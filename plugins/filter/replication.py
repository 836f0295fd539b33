# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator is shown of a replication check: answers of modules as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import KINDS

Row = dict[str, Any]
Faults = Mapping[str, Mapping[str, int]]  # numbers by region and kind

ANY = "any"


def replication_rows(answers: Mapping[str, Mapping[str, Any]], regions: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each region: how many devices it has, and how many are not as they should be.

    ``answers`` are those of ``fleet_replication_info`` by region; ``regions`` says ``fleet_replication_report``.
    """
    rows = []
    for region, answer in answers.items():
        found = regions.get(region, {})
        sample = found.get("confidence") or {}
        rows.append({
            "region": region,
            "depth": found.get("depth"),
            "devices": found.get("devices"),
            "faulty": found.get("faulty_devices"),
            "in_motion": found.get("in_motion"),
            "looked_at": found.get("looked_at") or None,
            "at_most_faulty": f"{sample['at_most_faulty']:.2%}" if sample else None,
            "error": None if found else answer.get("msg", "was not asked"),
        })  # fmt: skip
    return rows


def replication_kinds(faults: Faults) -> list[Row]:
    """Return a row for each kind of fault that was found: how many in each region, what it means, who repairs it."""
    return [
        {"fault": name, **{region: faults[region].get(name, 0) for region in faults}, "means": kind.means}
        for name, kind in KINDS.items()
        if any(name in found for found in faults.values())
    ]


def replication_listed(regions: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each fault that the answers list."""
    return [
        {
            "region": region,
            "thing": fault["thing_name"] or None,
            "fault": fault["name"],
            "certificate": fault["certificate_id"][:8] or None,
            "detail": fault["detail"] or None,
        }
        for region, found in regions.items()
        for fault in found["listed"]
    ]


def replication_failures(faults: Faults, fail_on: Sequence[str]) -> list[str]:
    """Return what is to make the play fail, a text for each region and kind.

    Raises:
        AnsibleFilterError: a kind that does not exist.

    """
    kinds = [fail_on] if isinstance(fail_on, str) else list(fail_on)
    unknown = sorted(set(kinds) - {ANY, *KINDS})
    if unknown:
        raise AnsibleFilterError(f"fail_on={', '.join(unknown)} is no kind of fault: use {ANY}, or {', '.join(KINDS)}")
    return [
        f"{region}: {count} {name}"
        for region, found in faults.items()
        for name, count in found.items()
        if ANY in kinds or name in kinds
    ]


def replication_estimate(answers: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each region: what the check calls there, and how long it takes."""
    rows = []
    for region, answer in answers.items():
        estimate = answer.get("estimate", {})
        calls = sum(estimate.get("calls", {}).values()) if estimate else None
        rows.append({
            "region": region,
            "devices": estimate.get("devices"),
            "iot_calls": calls,
            "seconds": estimate.get("seconds"),
            "decided_by": estimate.get("binding") or None,
            "quotas": estimate.get("quotas"),
            "error": answer.get("msg"),
        })  # fmt: skip
    return rows


def digest_ranges(answers: Mapping[str, Mapping[str, Any]]) -> list[list[int]]:
    """Return the ranges of numbers whose things are not the same in all regions.

    ``answers`` are those of ``fleet_digest_info`` by region, to the same question.
    """
    sums = ("count", "sum", "sum_of_squares")
    return [
        each[0]["range"]
        for each in zip(*(answer["digests"] for answer in answers.values()), strict=True)
        if len({tuple(digest[name] for name in sums) for digest in each}) > 1
    ]


def digest_buckets(ranges: Sequence[Sequence[int]], buckets: int) -> list[list[int]]:
    """Return each range in so many parts."""
    parts = []
    for low, high in ranges:
        edges = [low + (high + 1 - low) * number // buckets for number in range(buckets + 1)]
        parts += [[start, end - 1] for start, end in pairwise(edges) if start < end]
    return parts


def digest_things(answers: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each thing that is not the same in all regions, with its number in each."""
    numbers = {
        region: {name: number for digest in answer["digests"] for name, number in digest["things"].items()}
        for region, answer in answers.items()
    }
    names = sorted({name for found in numbers.values() for name in found})
    rows = [{"thing": name, **{region: found.get(name) for region, found in numbers.items()}} for name in names]
    return [row for row in rows if len({row[region] for region in numbers}) > 1]


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            each.__name__: each
            for each in (
                digest_buckets,
                digest_ranges,
                digest_things,
                replication_estimate,
                replication_failures,
                replication_kinds,
                replication_listed,
                replication_rows,
            )
        }
