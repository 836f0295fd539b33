# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS/States metrics of executions, and alarms that look at their own metric and fall silent again.

The base publishes none, evaluates an alarm over every metric of its name whatever the dimensions, and never ends an
ALARM for want of data. Sources: "CloudWatch metrics for Step Functions" of the AWS Step Functions Developer Guide,
"Configuring how CloudWatch alarms treat missing data" of the Amazon CloudWatch User Guide.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import request_scope
from ministack.services import cloudwatch
from ministack.services import stepfunctions as sfn

from iotops.sandbox.patching import replace

__all__ = ["install"]

_METRICS = {
    "ExecutionAborted": "ExecutionsAborted",
    "ExecutionFailed": "ExecutionsFailed",
    "ExecutionSucceeded": "ExecutionsSucceeded",
    "ExecutionTimedOut": "ExecutionsTimedOut",
}
_SILENCE = {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA"}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_counting = threading.Lock()


def _count(machine_arn: str, metric: str) -> None:
    where = parse_arn(machine_arn)
    with request_scope(where.account_id, where.region), _counting:
        cloudwatch._store_datum(
            "AWS/States", metric, {"StateMachineArn": machine_arn}, time.time(), "Count", 1, None, None, None
        )
        cloudwatch._evaluate_all_alarms()


def _event(original: Any) -> Any:
    def add_event(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
        event = original(execution, event_type, details)
        if event_type in _METRICS:
            _count(execution["stateMachineArn"], _METRICS[event_type])
        return event

    return add_event


def _evaluate(_original: Any) -> Any:
    def evaluate_alarm(alarm: dict[str, Any]) -> None:
        since = time.time() - alarm.get("Period", 60) * alarm.get("EvaluationPeriods", 1)
        points = [point for point in _points(alarm) if point["Timestamp"] >= since]
        if points:
            statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
            value = cloudwatch._stat_value(cloudwatch._calc_stats(points), statistic, points)
            compare = _COMPARISONS.get(alarm.get("ComparisonOperator", ""))
            if value is not None and compare is not None:
                threshold = alarm.get("Threshold", 0)
                state = "ALARM" if compare(value, threshold) else "OK"
                _change(alarm, state, f"Threshold Crossed: {statistic} {value} to {threshold}")
        elif alarm["StateUpdatedTimestamp"] < since:
            silence = _SILENCE.get(alarm.get("TreatMissingData") or "missing", alarm["StateValue"])
            _change(alarm, silence, "Unchecked: no data")

    return evaluate_alarm


def _points(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    dimensions = alarm.get("Dimensions") or {}
    if not isinstance(dimensions, dict):
        dimensions = cloudwatch._dims_from_list(dimensions)
    key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
    return list(cloudwatch._metrics.get(key) or [])


def _change(alarm: dict[str, Any], state: str, reason: str) -> None:
    old = alarm["StateValue"]
    if old == state:
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _describe(original: Any) -> Any:
    def describe_alarms(params: Any, cbor_data: Any, is_cbor: bool, is_json: bool = False) -> Any:
        with _counting:
            cloudwatch._evaluate_all_alarms()
        return original(params, cbor_data, is_cbor, is_json)

    return describe_alarms


def install() -> None:
    """Count executions, and let alarms follow their metrics."""
    replace(sfn, "_add_event", "execution, event_type, details", _event)
    replace(cloudwatch, "_evaluate_alarm", "alarm", _evaluate)
    replace(cloudwatch, "_describe_alarms", "params, cbor_data, is_cbor, is_json", _describe)
