# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's part: it runs one generator out of process, and puts what that tells into Locust's figures."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from gevent import subprocess
from hdrh.histogram import HdrHistogram
from locust.stats import StatsEntry, bucket_response_time

from iotops.loadtest.distributed.master import FAILED, INTERVAL, PLAN, READY, RESULT, START, STOP

_METHOD = "MQTT"


class Worker:
    """Carries the share that the master gives it. ``identities``: where they are here, if not as in the plan."""

    def __init__(self, environment: Any, identities: str) -> None:
        self._stats, self._runner, self._identities = environment.stats, environment.runner, identities
        self._process: Any = None
        self._main = ""
        self._runner.register_message(PLAN, self._carry, concurrent=True)
        self._runner.register_message(START, self._pass_on)
        self._runner.register_message(STOP, self._stop)
        environment.events.quitting.add_listener(self._kill)

    def _carry(self, msg: Any, **_more: Any) -> None:
        order = json.loads(msg.data["order"])
        self._main = main_latency(order["plan"])
        soak = order["plan"]["scenario"] == "soak"
        if self._identities:
            order["plan"]["identities"] = self._identities
        command = [sys.executable, "-m", "iotops.loadtest.generator"]
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._tell(order)
        result, why = None, ""
        for line in process.stdout:
            event = json.loads(line)
            match event.pop("event"):
                case "ready":
                    self._runner.send_message(READY, {})
                case "interval":
                    self._count(event["latencies"])
                    if soak:  # else the result will do, which has them all
                        self._runner.send_message(INTERVAL, {"interval": json.dumps(event)})
                case "error":
                    why = event["message"]
                case "result":
                    result = event
        code = process.wait()
        if result is None:
            self._runner.send_message(FAILED, {"why": why or f"has a generator that ended with {code}"})
        else:
            self._runner.send_message(RESULT, {"result": json.dumps(result)})

    def _tell(self, content: dict[str, Any]) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()

    def _pass_on(self, msg: Any, **_more: Any) -> None:
        self._tell(msg.data)

    def _stop(self, **_more: Any) -> None:
        self._tell({"stop": True})

    def _kill(self, **_more: Any) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _count(self, latencies: dict[str, str]) -> None:
        for kind, text in latencies.items():
            entry = as_entry(self._stats, kind, HdrHistogram.decode(text))
            self._stats.get(kind, _METHOD).extend(entry)
            if kind == self._main:
                self._stats.total.extend(entry)


def main_latency(plan: dict[str, Any]) -> str:
    """The one that Locust's total is made of: it has one for each message, or for each device that is let in."""
    match plan:
        case {"scenario": "command"}:
            return "round_trip"
        case {"scenario": "first-connection"}:
            return "accepted"
        case {"qos": 1}:
            return "publish"
        case {"subscribers": 0}:
            return "late"
    return "end_to_end"


def as_entry(stats: Any, kind: str, histogram: HdrHistogram) -> StatsEntry:
    """A histogram of microseconds as one of Locust's entries, which count milliseconds."""
    entry = StatsEntry(stats, kind, _METHOD)
    for step in histogram.get_recorded_iterator():
        bucket = bucket_response_time(step.value_iterated_to / 1000)
        entry.response_times[bucket] = entry.response_times.get(bucket, 0) + step.count_added_in_this_iter_step
    now = time.time()
    entry.num_requests = count = histogram.get_total_count()
    entry.total_response_time = round(histogram.get_mean_value() * count / 1000)
    entry.min_response_time = round(histogram.get_min_value() / 1000)
    entry.max_response_time = round(histogram.get_max_value() / 1000)
    entry.num_reqs_per_sec = {int(now): count}
    entry.start_time = entry.last_request_timestamp = now
    return entry
