# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs in a month that a fleet runs. Private to the collection.

Left out is what does not grow with the fleet and is small: alarms, keys, secrets, logs of machines.
"""

from __future__ import annotations

import math

from ansible_collections.iotops.fleet.plugins.module_utils._plan.bill import Line, line
from ansible_collections.iotops.fleet.plugins.module_utils._plan.fleet import Fleet
from ansible_collections.iotops.fleet.plugins.module_utils._plan.load import KEYS_BYTES, write_units
from ansible_collections.iotops.fleet.plugins.module_utils._plan.once import GB, ROW_BYTES, STATUS_BYTES
from ansible_collections.iotops.fleet.plugins.module_utils._plan.prices import messages_usd
from ansible_collections.iotops.fleet.plugins.module_utils._plan.standing import standing

DAYS = 365 / 12
MINUTES = DAYS * 24 * 60
MESSAGE_STEP = 5 * 1024
STORE_TRANSITIONS = 2
STORE_GB_SECONDS = 0.2 * 64 / 1024


def monthly(fleet: Fleet, month: int = 1) -> list[Line]:
    """Lines of the ``month``th month; all messages so far are kept."""
    devices, regions = fleet.devices, len(fleet.shares)
    known = devices + fleet.revoked
    messages = devices * fleet.messages_per_day * DAYS
    connects = devices * fleet.connects_per_day * DAYS
    registry_gb = known * ROW_BYTES / GB
    kept_gb = month * messages * (fleet.message_bytes + KEYS_BYTES) / GB
    tables_gb = regions * (registry_gb + known * STATUS_BYTES / GB + kept_gb)
    lines = [
        line("AWS IoT Core", "connectivity", devices * MINUTES, "connection minute"),
        _broker(fleet, messages, connects),
        *_rules(fleet, messages),
        *stored(fleet.store, messages),
        *_written(fleet, messages),
        line("DynamoDB", "storage", tables_gb, "stored GB-month"),
        line("DynamoDB", "point-in-time recovery", tables_gb, "backup GB-month"),
        *standing(known, DAYS * 24, regions, registry_gb),
        line("Route 53", "queries", connects, "latency query"),
        line("Route 53", "health checks", regions, "health check"),
        line("Route 53", "hosted zone", 1, "hosted zone"),
    ]
    return [each for each in lines if each.units]


def ways(fleet: Fleet) -> list[tuple[str, float]]:
    """What each way to take and to keep a month's messages costs, in USD."""
    messages = fleet.devices * fleet.messages_per_day * DAYS
    machines = {store: sum(each.usd for each in stored(store, messages)) for store in ("EXPRESS", "STANDARD")}
    return [
        ("broker", _broker(fleet, messages, 0).usd),
        ("broker, by Basic Ingest", 0.0),
        ("a rule with one action", sum(each.usd for each in _rules(fleet, messages))),
        ("TABLE: the rule writes the tables", sum(each.usd for each in _written(fleet, messages)[:1])),
        *((f"{store}: a state machine for each, besides", usd) for store, usd in machines.items()),
    ]


def stored(store: str, messages: float) -> list[Line]:
    """The executions, one for each message, that store them; none when the rule writes the table."""
    if store == "STANDARD":
        return [line("Step Functions", "transitions: store-message", messages * STORE_TRANSITIONS, "transition")]
    if store == "EXPRESS":
        return [
            line("Step Functions", "executions: store-message", messages, "express request"),
            line("Step Functions", "duration: store-message", messages * STORE_GB_SECONDS, "express GB-s"),
        ]
    return []


def _steps(fleet: Fleet) -> int:
    """5 KB steps of a message."""
    return math.ceil(fleet.message_bytes / MESSAGE_STEP)


def _broker(fleet: Fleet, messages: float, connects: float) -> Line:
    """Cheaper for many: counted in each region by itself."""
    count = messages * _steps(fleet) + connects
    usd = sum(messages_usd(count * share) for share in fleet.shares.values())
    return Line("AWS IoT Core", "messages, connects included", count, "iot message", usd)


def _rules(fleet: Fleet, messages: float) -> list[Line]:
    count = messages * _steps(fleet)
    return [
        line("AWS IoT Core", "rules triggered", count, "rule"),
        line("AWS IoT Core", "actions", count, "action"),
    ]


def _written(fleet: Fleet, messages: float) -> list[Line]:
    others = len(fleet.shares) - 1
    gigabytes = messages * (fleet.message_bytes + KEYS_BYTES) / GB
    return [
        line("DynamoDB", "writes in every replica", messages * write_units(fleet) * (others + 1), "write unit"),
        line("DynamoDB", "replication to other regions", gigabytes * others, "replicated GB"),
    ]


__all__ = ["monthly", "ways"]
