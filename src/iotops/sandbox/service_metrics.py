# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of queues, functions and logs, and alarms that follow them without being asked.

AWS/SQS ApproximateNumberOfMessagesVisible and ApproximateAgeOfOldestMessage, AWS/Lambda of every way to invoke a
function, and the metric filters of log groups. Sources: "Available CloudWatch metrics for Amazon SQS", "Types of
metrics for Lambda functions" and "Filter pattern syntax for metric filters" of the AWS documentation.
"""

from __future__ import annotations

import re
import threading
import time
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import cloudwatch, cloudwatch_logs, eventbridge, lambda_svc, sqs

from iotops.sandbox import execution_metrics, execution_role
from iotops.sandbox.patching import replace

__all__ = ["install"]

_PHRASE = re.compile(r'"((?:[^"\\]|\\.)*)"')  # a backslash before a quote that is meant
_LOOK = 1.0  # seconds between two looks at the alarms


# --- queues ----------------------------------------------------------------------------------------------------------


def _evaluate(original: Any) -> Any:
    def evaluate_alarm(alarm: dict[str, Any]) -> None:
        if alarm.get("Namespace") == "AWS/SQS":
            _sample(alarm)
        original(alarm)

    return evaluate_alarm


def _sample(alarm: dict[str, Any]) -> None:
    """What the alarm's queue shows now; one point for as long as it shows the same, up to a third of the period."""
    dimensions = alarm.get("Dimensions") or {}
    dimensions = dimensions if isinstance(dimensions, dict) else cloudwatch._dims_from_list(dimensions)
    queue = sqs._queues.get(sqs._queue_name_to_url.get(dimensions.get("QueueName")) or "")
    value = _value(queue, alarm.get("MetricName") or "") if queue else None
    if value is None:
        return
    points = cloudwatch._metric_bucket(("AWS/SQS", alarm["MetricName"], cloudwatch._dims_key(dimensions)))
    fresh = time.time() - alarm.get("Period", 60) / 3
    if not points or points[-1]["Value"] != value or points[-1]["Timestamp"] < fresh:
        cloudwatch.record_metric("AWS/SQS", alarm["MetricName"], value, "Count", dimensions)


def _value(queue: dict[str, Any], metric: str) -> float | None:
    messages, now = list(queue["messages"]), time.time()
    if metric == "ApproximateNumberOfMessagesVisible":
        return sum(message.get("visible_at", 0) <= now for message in messages)
    if metric == "ApproximateAgeOfOldestMessage":
        return float(int(now - min((message.get("sent_at", now) for message in messages), default=now)))
    return None


# --- functions -------------------------------------------------------------------------------------------------------


def _emit(original: Any) -> Any:
    def emit_lambda_metrics(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        """Of a throttled invocation only: the base counts the others on some ways and not as what they became."""
        if throttle:
            original(function_name, duration_ms, error, throttle)

    return emit_lambda_metrics


def _counted(original: Any) -> Any:
    def execute_function_warm(func: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        started = time.monotonic()
        result: dict[str, Any] = original(func, event, request_id)
        dimensions = {"FunctionName": (func.get("config") or func).get("FunctionName", "")}
        _tally("Invocations", 1, "Count", dimensions)
        _tally("Errors", int(bool(result.get("error"))), "Count", dimensions)
        _tally("Duration", (time.monotonic() - started) * 1000, "Milliseconds", dimensions)
        return result

    return execute_function_warm


def _tally(metric: str, value: float, unit: str, dimensions: dict[str, str]) -> None:
    """Add a value to the statistic set of this second: thousands of invocations are not thousands of points."""
    now = time.time()
    points = cloudwatch._metric_bucket(("AWS/Lambda", metric, cloudwatch._dims_key(dimensions)))
    if points and now - points[-1]["Timestamp"] < 1 and (known := points[-1].get("_stat")):
        known["SampleCount"] += 1
        known["Sum"] += value
        known["Minimum"], known["Maximum"] = min(known["Minimum"], value), max(known["Maximum"], value)
    else:
        found = {"SampleCount": 1, "Sum": value, "Minimum": value, "Maximum": value}
        cloudwatch._store_datum("AWS/Lambda", metric, dimensions, now, unit, None, None, None, found)


def _logged(original: Any) -> Any:
    def emit_lambda_logs(func: dict[str, Any], *arguments: Any, **named: Any) -> None:
        """Only where the function's role may write: a function without that permission has no log on AWS either."""
        config = func.get("config") or func
        group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config.get('FunctionName')}"
        arn = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}"
        try:
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                execution_role.require_allowed(
                    config.get("Role"), "lambda.amazonaws.com", action, f"{arn}:log-stream:any"
                )
        except PermissionError as error:
            lambda_svc.logger.warning("no log of Lambda %s: %s", config.get("FunctionName"), error)
            return
        original(func, *arguments, **named)

    return emit_lambda_logs


# --- logs ------------------------------------------------------------------------------------------------------------


def _fanout(original: Any) -> Any:
    def fanout_to_subscription_filters(group_name: str, stream_name: str, events: list[dict[str, Any]]) -> None:
        original(group_name, stream_name, events)
        for (group, _name), found in list(cloudwatch_logs._metric_filters.items()):
            if group == group_name:
                _filter(found, events)

    return fanout_to_subscription_filters


def _filter(metric_filter: dict[str, Any], events: list[dict[str, Any]]) -> None:
    pattern = metric_filter.get("filterPattern") or ""
    matching = sum(_matches(pattern, event.get("message") or "") for event in events)
    for change in metric_filter.get("metricTransformations") or []:
        for _ in range(matching):
            value = float(change.get("metricValue") or 1)
            cloudwatch.record_metric(change["metricNamespace"], change["metricName"], value)


def _matches(pattern: str, message: str) -> bool:
    """One quoted phrase is taken whole, which the base splits; all else is as the base has it."""
    if phrase := _PHRASE.fullmatch(pattern):
        return re.sub(r"\\(.)", r"\1", phrase[1]) in message
    return bool(cloudwatch_logs._compile_filter_pattern(pattern)(message))


# --- alarms ----------------------------------------------------------------------------------------------------------


def _look() -> None:
    while True:
        time.sleep(_LOOK)
        for account, region in {key[:2] for key in list(cloudwatch._alarms._data)}:
            with request_scope(account, region), execution_metrics._counting:
                cloudwatch._evaluate_all_alarms()


def _start(original: Any) -> Any:
    def start_scheduler() -> None:
        original()
        threading.Thread(target=_look, name="alarms", daemon=True).start()

    return start_scheduler


def install() -> None:
    """Measure, and look at the alarms once a second; to be installed after what evaluates them."""
    replace(cloudwatch, "_evaluate_alarm", "alarm", _evaluate)
    replace(lambda_svc, "_emit_lambda_metrics", "function_name, duration_ms, error, throttle", _emit)
    replace(lambda_svc, "_execute_function_warm", "func, event, request_id", _counted)
    replace(lambda_svc, "_emit_lambda_logs", "func, request_id, log_text, error, duration_ms, log_source", _logged)
    replace(eventbridge, "start_scheduler", "", _start)
    replace(cloudwatch_logs, "_fanout_to_subscription_filters", "group_name, stream_name, events", _fanout)
