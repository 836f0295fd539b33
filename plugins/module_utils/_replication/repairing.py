# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repair of one region: rows first, which all regions get, then devices, then shadows, which need their things."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from typing import Any, BinaryIO, cast

from ansible_collections.iotops.fleet.plugins.module_utils._aws.progress import write_progress
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._registry.tables import read_row
from ansible_collections.iotops.fleet.plugins.module_utils._registry.writes import put_row
from ansible_collections.iotops.fleet.plugins.module_utils._replication import repairs
from ansible_collections.iotops.fleet.plugins.module_utils._replication.execution import Counts, Execution, Machine
from ansible_collections.iotops.fleet.plugins.module_utils._replication.faults import KINDS, Fault
from ansible_collections.iotops.fleet.plugins.module_utils._replication.store import Store
from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call

__all__ = ["Repair"]

Done = dict[str, Any]
REPAIRED = "repaired"  # what the store remembers of repairs, with their names


@dataclass
class Repair:
    """What a check found, to be repaired.

    ``client`` gives boto3's client of a service, ``rates`` are calls of AWS IoT a second by operation, ``timeout`` 0
    does not wait.
    """

    client: Callable[[str], Any]
    store: Store
    plan: repairs.Plan
    machine: Machine
    application: str
    rates: Mapping[str, float]
    concurrency: int
    timeout: float
    progress_path: str | None
    _told: str = ""

    @property
    def name(self) -> str:
        """Of this repair."""
        finished = self.store.scope()["finished_at"]
        return repairs.run_id(finished, self.plan.kinds, remove_orphans=self.plan.remove_orphans)

    @property
    def is_made(self) -> bool:
        """Whether it was made before."""
        return f"{REPAIRED} {self.name}" in self.store.scope()

    def calls(self) -> tuple[int, dict[str, int]]:
        """How many devices the state machine has to take, and its calls of AWS IoT by operation."""
        return repairs.calls(repairs.items(self.plan.wanted()))

    def shown(self, listed: int) -> tuple[str, str]:
        """The faults as they are, and who repairs them: two texts of so many lines."""
        faults = list(islice(self.plan.wanted(), listed))
        before = "".join(f"{_subject(fault)}: {_what(fault)}\n" for fault in faults)
        after = "".join(dict.fromkeys(f"{_subject(fault)}: {KINDS[fault.name].repair}\n" for fault in faults))
        return before, after

    def foreseen(self) -> tuple[bool, Done]:
        """Whether there is something to do, and what."""
        done = self._done(
            devices=self.calls()[0],
            rows=sum(1 for _ in repairs.rows(self.plan.wanted())),
            shadows=sum(1 for _ in repairs.shadows(self.plan.wanted())),
        )
        return not self.is_made and any(done[key] for key in ("devices", "rows", "shadows")), done

    def run(self, listed: int) -> tuple[bool, Done]:
        """Repair, or wait for the repair that is under way; whether something changed, and what was done."""
        running = self.machine.running()
        if running and not running.endswith(f":{self.name}"):
            return True, self._finish(running, listed, resumed=True)
        if self.is_made:
            return False, self._done(resumed=True, finished=True)
        rows = sum(map(self._write, repairs.rows(self.plan.wanted())))
        done, is_new = self._done(rows=rows, finished=True), bool(rows)
        with tempfile.TemporaryFile() as devices:
            if self._list(devices):
                concurrency = repairs.at_a_time(self.concurrency, self.calls()[1], self.rates)
                execution, is_new = self.machine.start(self.name, devices, concurrency=concurrency)
                done = self._finish(execution, listed, resumed=bool(running) or not is_new, rows=rows)
        if done["finished"]:
            done["shadows"] = sum(map(self._hand_over, repairs.shadows(self.plan.wanted())))
            self.store.remember({f"{REPAIRED} {self.name}": timestamp(datetime.now(UTC))})
        return bool(is_new or rows or done["shadows"]), done

    def _list(self, file: BinaryIO) -> int:
        text = TextIOWrapper(cast("Any", file), encoding="utf-8", write_through=True)
        try:
            return repairs.write_list(text, repairs.in_turn(repairs.items(self.plan.wanted()), self.rates))
        finally:
            text.detach()

    def _finish(self, execution: str, listed: int, **more: Any) -> Done:
        if not self.timeout:
            return self._done(execution=execution, devices=self.calls()[0], **more)
        found = self.machine.wait(execution, timeout=self.timeout, tell=self._tell)
        return self._done(execution=execution, finished=True, **self._results(found, listed), **more)

    def _results(self, execution: Execution, listed: int) -> Done:
        counts = self.machine.counts(execution.arn)
        failures: Iterator[Any] = self.machine.failures(execution) if _failed(counts) else iter(())
        return {
            "devices": counts.get("total", 0),
            "repaired": counts.get("succeeded", 0),
            "failed": _failed(counts),
            "failures": [asdict(failure) for failure in islice(failures, listed)],
        }

    def _done(self, **more: Any) -> Done:
        nothing = {"devices": 0, "repaired": 0, "failed": 0, "failures": [], "rows": 0, "shadows": 0}
        about = {"run": self.name, "execution": "", "resumed": False, "finished": False, "left": self.plan.left()}
        return {**about, **nothing, **more}

    def _tell(self, counts: Counts) -> None:
        line = f"{counts.get('succeeded', 0)} of {counts.get('total', 0)} repaired, {_failed(counts)} failed"
        if line != self._told:
            write_progress(self.progress_path, f"{self.store.scope()['region']}: {line}")
            self._told = line

    def _write(self, thing: str) -> bool:
        """Write a row as it is, so that every replica gets it; not where somebody wrote it since the check."""
        table, dynamodb = f"{self.application}-device-inventory", self.client("dynamodb")
        row = read_row(dynamodb, table, thing)
        seen = {write for (write,) in self.store.select("SELECT write_id FROM row WHERE thing = ?", (thing,))}
        if row is None or row["WriteId"] not in seen:
            return False
        return put_row(dynamodb, table, following(row, {}, writer="controller", now=datetime.now(UTC)), row)

    def _hand_over(self, shadow: tuple[str, str]) -> bool:
        thing, name = shadow
        message = {"shadow": "apply", "thing": thing, "name": name, "looks": 0}
        _send(self.client("sqs"), f"{self.application}-record-shadow", json.dumps(message))
        return True


def _failed(counts: Counts) -> int:
    return sum(counts.get(status, 0) for status in ("failed", "timedOut", "aborted"))


def _subject(fault: Fault) -> str:
    return fault.thing_name or f"certificate {fault.certificate_id}"


def _what(fault: Fault) -> str:
    return " ".join(each for each in (fault.name, fault.detail, fault.thing_name and fault.certificate_id) if each)


@api_call("hand a shadow to record-shadow")
def _send(sqs: Any, queue: str, body: str) -> None:
    sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], MessageBody=body)
