# SPDX-License-Identifier: GPL-3.0-or-later
"""The master's part: shares for the workers, one start for all, one report of their results."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gevent

from iotops.loadtest import report
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Result, merge
from iotops.loadtest.so_far import SoFar

PLAN, START, STOP, READY, INTERVAL, RESULT, FAILED = (
    f"iotops_{n}" for n in ("plan", "start", "stop", "ready", "interval", "result", "failed")
)
_SOON = 1.0  # seconds until the start, for all to hear of it
_LOOK = 0.5
_PATIENCE = 30.0  # seconds that a worker has to end in, beside its drain
_GONE = "missing"


class Master:
    """Steers the workers that there are when the test starts. ``results``: by worker; None of one without."""

    def __init__(self, environment: Any, plan: Path, directory: Path) -> None:
        self._environment, self._runner, self._directory = environment, environment.runner, directory
        self._plan = Plan.from_json(json.loads(plan.read_text()))
        self._shares: dict[str, int] = {}
        self._ready: set[str] = set()
        self._results: dict[str, Result | None] = {}
        self._notes: list[str] = []
        self._begun = 0.0
        self._reported = True
        self._so_far: SoFar | None = None
        for kind, listener in (
            (READY, self._is_ready), (INTERVAL, self._has_interval), (RESULT, self._has_result),
            (FAILED, self._has_failed),
        ):  # fmt: skip
            self._runner.register_message(kind, listener)
        environment.events.test_start.add_listener(self._begin)
        environment.events.test_stopping.add_listener(self._finish)

    def _begin(self, **_more: Any) -> None:
        workers = sorted(each.id for each in self._runner.clients.all if each.state != _GONE)
        self._shares = {worker: share for share, worker in enumerate(workers)}
        self._ready, self._results, self._notes, self._begun = set(), {}, [], 0.0
        self._reported = False
        self._so_far = SoFar(self._plan, self._directory)
        for worker, share in self._shares.items():
            order = {"plan": self._plan.to_json(), "share": share, "of": len(workers)}
            self._runner.send_message(PLAN, {"order": json.dumps(order)}, worker)
        gevent.spawn(self._watch)

    def _watch(self) -> None:
        while not self._is_over():
            gevent.sleep(_LOOK)
            self._miss_workers()
            waited_for = self._shares.keys() - self._results.keys()
            if not self._begun and waited_for and waited_for <= self._ready:
                self._begun = time.time() + _SOON
                self._runner.send_message(START, {"start": self._begun})
        self._runner.quit()
        if self._environment.web_ui and self._environment.parsed_options.autostart:
            self._environment.web_ui.stop()  # else it would wait for another start

    def _is_over(self) -> bool:
        return self._results.keys() >= self._shares.keys()

    def _miss_workers(self) -> None:
        there = {each.id for each in self._runner.clients.all if each.state != _GONE}
        for worker in self._shares.keys() - self._results.keys() - there:
            self._give_up(worker, "is gone")

    def _give_up(self, worker: str, why: str) -> None:
        self._results[worker] = None
        self._notes.append(f"worker {self._shares[worker]} ({worker.rpartition('_')[0]}) {why}: it is not counted")

    def _is_ready(self, msg: Any, **_more: Any) -> None:
        self._ready.add(msg.node_id)

    def _has_interval(self, msg: Any, **_more: Any) -> None:
        if self._so_far and msg.node_id in self._shares:
            self._so_far.add(json.loads(msg.data["interval"]))

    def _has_result(self, msg: Any, **_more: Any) -> None:
        self._results[msg.node_id] = Result.from_json(json.loads(msg.data["result"]))

    def _has_failed(self, msg: Any, **_more: Any) -> None:
        if msg.node_id in self._shares and msg.node_id not in self._results:
            self._give_up(msg.node_id, msg.data["why"])

    def _finish(self, **_more: Any) -> None:
        """Write the report once, of what there is if it was stopped before its time; Locust may tell us again."""
        if self._reported:
            return
        self._reported, interrupted = True, not self._is_over()
        if interrupted:
            self._runner.send_message(STOP, {})
            end = time.monotonic() + self._plan.drain + _PATIENCE
            while not self._is_over() and time.monotonic() < end:
                gevent.sleep(_LOOK)
                self._miss_workers()
            for worker in self._shares.keys() - self._results.keys():
                self._give_up(worker, "did not end")
        result = merge(each for each in self._results.values() if each is not None)
        result.notes += self._notes
        gone = [share for worker, share in self._shares.items() if self._results[worker] is None]
        result.processes += [{"share": share, "ended": False} for share in gone]
        report.write(self._directory, self._plan, result)
        for line in report.headline(self._plan, result):
            print(line, flush=True)  # noqa: T201 - what it is run for
        failed = result.notes or not result.counts["connects"]
        self._environment.process_exit_code = 130 if interrupted else 1 if failed else 0
