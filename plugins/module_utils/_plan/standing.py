# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on by the clock in every region, measured by benchmarks/onboarding.py (docs/performance.md). Private."""

from __future__ import annotations

from ansible_collections.iotops.fleet.plugins.module_utils._plan.bill import Line, line

SWEEPS_AN_HOUR = 4
LISTINGS_A_DAY = 1
# A device in each region: units of a sweep, and of a listing of things.
SWEEP_READS = 0.2533
SWEEP_GB_SECONDS = 0.000173
LISTING_OPERATIONS = 0.3305
# A region: polls a second of pipes (three streams of a shard each, four times a second) and of functions.
PIPES = 3
POLLS = 4
QUEUE_POLLS = 0.5
PARTITION_GB = 10  # a stream has a shard for each partition of its table


def standing(devices: float, hours: float, regions: int, row_gb: float) -> list[Line]:
    """Lines of so many devices, on average, and hours. ``row_gb``: how large the registry's table is."""
    each = devices * regions
    shards = PIPES - 1 + max(1.0, row_gb / PARTITION_GB)
    sweeps, listings = hours * SWEEPS_AN_HOUR, hours / 24 * LISTINGS_A_DAY
    polled = hours * 3600 * regions
    return [
        line("DynamoDB", "sweep: reads", each * sweeps * SWEEP_READS, "read unit"),
        line("Lambda", "sweep: duration", each * sweeps * SWEEP_GB_SECONDS, "lambda GB-s"),
        line("AWS IoT Core", "sweep: listings of things", each * listings * LISTING_OPERATIONS, "registry operation"),
        line("DynamoDB", "pipes look at their streams", polled * POLLS * shards, "stream read"),
        line("SQS", "functions look at their queues", polled * QUEUE_POLLS, "queue request"),
    ]


__all__ = ["standing"]
