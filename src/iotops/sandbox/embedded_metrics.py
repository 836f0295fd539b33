# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics that log events bring along, in CloudWatch's embedded metric format.

Source: "Specification: Embedded metric format" of the Amazon CloudWatch User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs

from iotops.sandbox.patching import replace

__all__ = ["install", "metrics"]

Metric = tuple[str, str, float, str, dict[str, str]]  # namespace, name, value, unit, dimensions


def metrics(message: str) -> Iterator[Metric]:
    """The metrics in a log event: each with each of its sets of dimensions; none in one of another form."""
    try:
        event = json.loads(message)
    except ValueError:
        return
    about = event.get("_aws") if isinstance(event, dict) else None
    for directive in (about or {}).get("CloudWatchMetrics", []):
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(event[name]) for name in names if name in event}
            for metric in directive.get("Metrics", []):
                value = event.get(metric["Name"])
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, int | float) and len(dimensions) == len(names):
                        yield directive["Namespace"], metric["Name"], each, metric.get("Unit", "None"), dimensions


def _fanout(original: Any) -> Any:
    def fanout_to_subscription_filters(group_name: str, stream_name: str, events: list[dict[str, Any]]) -> None:
        original(group_name, stream_name, events)
        for event in events:
            for namespace, name, value, unit, dimensions in metrics(event.get("message") or ""):
                cloudwatch.record_metric(namespace, name, value, unit, dimensions)

    return fanout_to_subscription_filters


def install() -> None:
    """Look at every event that is put into a log; to be installed after what else looks at them."""
    replace(cloudwatch_logs, "_fanout_to_subscription_filters", "group_name, stream_name, events", _fanout)
