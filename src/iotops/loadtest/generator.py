# SPDX-License-Identifier: GPL-3.0-or-later
"""One process of a load test: carries its share of the devices, and says once an interval how it goes.

``python -m iotops.loadtest.generator`` reads lines of JSON: ``{"plan": {...}, "share": 0, "of": 2}``; when it has said
that it is ready ``{"start": <Unix time>}``, the same one to all; by choice ``{"stop": true}``. The end of its input,
SIGINT and SIGTERM stop it, too: it ends as if the time were over. It writes lines of JSON with the member ``event``:
``progress`` while devices connect, ``ready``, ``interval``, ``error`` (one line for a person), and at the end
``result``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from iotops.loadtest import identities, sockets
from iotops.loadtest.device import Device, Network, microseconds
from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.identities import Identity
from iotops.loadtest.measures import Latencies, Work, disorder, memory_peak, received_from
from iotops.loadtest.payload import Writer, host_id
from iotops.loadtest.plan import Plan
from iotops.loadtest.result import Interval, Result
from iotops.loadtest.scenarios import SCENARIOS
from iotops.loadtest.scenarios.base import Stage

_FAREWELL = 200  # sessions that are closed at a time
Say = Callable[[dict[str, Any]], None]


class Generator:
    """Runs one share of a plan. ``say`` gets the events; ``started`` waits for the common start (Unix time)."""

    def __init__(
        self, plan: Plan, share: int, of: int, say: Say, started: Callable[[], Coroutine[Any, Any, float]]
    ) -> None:
        self._plan, self._share, self._say, self._started = plan, plan.share(share, of), say, started
        sockets.allow(len(self._share.publishers) + len(self._share.subscribers))
        self._host, self._work = host_id(), Work()
        self._latencies, self._counts = Latencies(), Counter[str]()
        self._network = Network(plan, self._counts, self._latencies)
        publishers, subscribers = (self._devices(names) for names in (self._share.publishers, self._share.subscribers))
        stage = Stage(
            plan, self._share, self._host, self._network, self._latencies, self._work, publishers, subscribers
        )
        self._devices_all = [*subscribers, *publishers]  # who listens is there first
        self._scenario = SCENARIOS[plan.scenario](stage)
        self._scenario.prepare()
        self._intervals: list[Interval] = []
        self._before: Counter[str] = Counter()

    def _devices(self, names: tuple[str, ...]) -> list[Device]:
        known = _identities(self._plan, names)
        size = self._plan.payload_size
        return [Device(name, known.get(name), self._network, Writer(name, self._host, size)) for name in names]

    async def run(self, stop: asyncio.Event) -> Result:
        """Do all of it, until it is over or ``stop`` is set."""
        async with asyncio.TaskGroup() as tasks:
            connecting: list[asyncio.Task[None]] = []
            stopping = tasks.create_task(stop.wait())
            if not self._plan.connects_at_start:
                connecting = self._connect(tasks, microseconds())
                await _first_of(tasks, stopping, self._all_connected())
            self._say({"event": "ready", "connected": self._network.connected})
            unix = await _first_of(tasks, stopping, self._started())
            start = microseconds() + round(((unix or time.time()) - time.time()) * 1e6)
            if self._plan.connects_at_start:
                connecting = self._connect(tasks, start)
            self._work.since_last()
            telling = tasks.create_task(self._tell(start))
            if not stop.is_set():
                await _first_of(tasks, stopping, self._scenario.run(start))
            seconds = max(0.0, (microseconds() - start) / 1e6)
            if unix is not None:
                await asyncio.sleep(self._plan.drain)
            telling.cancel()
            self._interval(start)
            for task in (*connecting, stopping):
                task.cancel()
        await self._close()
        return self._result(seconds, unix or time.time())

    def _connect(self, tasks: asyncio.TaskGroup, start: int) -> list[asyncio.Task[None]]:
        async def later(device: Device, position: int) -> None:
            moment = (position * self._share.of + self._share.index) / self._plan.ramp
            await asyncio.sleep(moment + (start - microseconds()) / 1e6)
            await device.stay_connected()

        return [tasks.create_task(later(each, position)) for position, each in enumerate(self._devices_all)]

    async def _all_connected(self) -> None:
        async def tell() -> None:
            while True:
                await asyncio.sleep(1)
                self._say(self._progress())

        telling = asyncio.ensure_future(tell())
        try:
            for device in self._devices_all:
                await device.connected()
        finally:
            telling.cancel()

    def _progress(self) -> dict[str, Any]:
        told = {name: self._counts[name] for name in ("attempts", "refused", "unreachable")}
        return {"event": "progress", "connected": self._network.connected, "of": len(self._devices_all), **told}

    async def _tell(self, start: int) -> None:
        every = self._plan.interval
        while True:
            elapsed = (microseconds() - start) / 1e6
            await asyncio.sleep((int(elapsed / every) + 1) * every - elapsed if elapsed > 0 else every - elapsed)
            self._interval(start)

    def _interval(self, start: int) -> None:
        cpu, lag = self._work.since_last()
        self._counts["due"] = self._scenario.schedule.due or self._counts["sent"]
        counts = Counter({name: self._counts[name] - self._before[name] for name in self._counts})
        self._before = Counter(self._counts)
        at = (microseconds() - start) / 1e6
        told = Interval(at, counts, self._network.connected, [cpu], lag, self._latencies.fold())
        self._intervals.append(told)
        self._say({"event": "interval", "share": self._share.index, **told.to_json()})

    async def _close(self) -> None:
        for first in range(0, len(self._devices_all), _FAREWELL):
            some = self._devices_all[first : first + _FAREWELL]
            await asyncio.gather(*(each.close() for each in some), return_exceptions=True)

    def _result(self, seconds: float, started: float) -> Result:
        receivers = self._scenario.receivers
        self._latencies.fold()
        self._counts["duplicates"], self._counts["reordered"] = disorder(receivers)
        return Result(
            seconds=seconds,
            started=started,
            counts=self._counts,
            receivers=self._scenario.listening,
            sent_by=Counter({each.name: each.sent for each in self._scenario.senders}),
            received_from=Counter(received_from(receivers)),
            latencies=self._latencies.total,
            intervals=self._intervals,
            processes=[
                {
                    "host": self._host.decode(),
                    "share": self._share.index,
                    "devices": len(self._devices_all),
                    "memory": memory_peak(),
                    "ended": True,
                }
            ],
        )


def _identities(plan: Plan, names: tuple[str, ...]) -> dict[str, Identity]:
    if not plan.identities:
        return {}
    keys = Path(plan.keys) if plan.keys else None
    known = {each.name: each for each in identities.load(Path(plan.identities), keys=keys)}
    missing = [name for name in names if name not in known]
    if missing:
        raise LoadTestError(f"{plan.identities} has no certificate and key of {missing[0]}: issue them")
    return known


async def _first_of(tasks: asyncio.TaskGroup, stopping: asyncio.Task[Any], work: Coroutine[Any, Any, Any]) -> Any:
    """What ``work`` returns, or None when it was stopped before."""
    task = tasks.create_task(work)
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    return None


async def _main() -> int:
    loop = asyncio.get_running_loop()
    stop, start = asyncio.Event(), loop.create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    reader = asyncio.StreamReader(limit=2**28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = json.loads(await reader.readline())

    async def listen() -> None:
        while line := await reader.readline():
            said = json.loads(line)
            if "start" in said and not start.done():
                start.set_result(float(said["start"]))
            if said.get("stop"):
                break
        stop.set()

    async def started() -> float:
        return float(await start)

    listening = asyncio.ensure_future(listen())
    try:
        generator = Generator(Plan.from_json(order["plan"]), order["share"], order["of"], _say, started)
        result = await generator.run(stop)
    except* LoadTestError as errors:
        _say({"event": "error", "message": _first_line(errors)})
    else:
        _say({"event": "result", **result.to_json()})
        return 0
    finally:
        listening.cancel()
    return LoadTestError.code


def _first_line(error: BaseException) -> str:
    """What the first device said that could not work with its files: with one cause all say the same."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _say(event: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Run as a process of a load test, on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_main())
    return int(uvloop.run(_main()))


if __name__ == "__main__":
    raise SystemExit(main())
