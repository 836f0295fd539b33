# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops loadtest``: put load on a broker from this machine, and say what it carried."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path
from typing import Any

_EXIT_CODES = """exit codes: 0 the load was put on, and the report says what came of it; 1 a generator died, or no
device ever got in; 2 bad input; 130 stopped with ctrl-C, with the report so far"""
_EVERY = 5.0  # seconds between two lines of progress


def add_parser(commands: Any) -> None:
    """Add ``loadtest`` and its commands."""
    from iotops.loadtest.distributed.commands import add_commands
    from iotops.loadtest.options import add_plan

    text = "put load on AWS IoT, the sandbox or any MQTT broker, and report what it carried"
    parser = commands.add_parser("loadtest", help=text, description=text, epilog=_EXIT_CODES)
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    text = "run a scenario from this machine"
    run = sub.add_parser("run", help=text, description=text, epilog=_EXIT_CODES, allow_abbrev=False)
    run.set_defaults(run=_run)
    add_plan(run)
    run.add_argument("--processes", type=int, default=0, help="generators; default: one a core")
    run.add_argument("--report", type=Path, default=Path("loadtest-report"), metavar="DIR", help="default: %(default)s")
    run.add_argument("--estimate", action="store_true", help="say what it would do and cost, and dial nothing")
    add_commands(sub)
    text = "make one report of several of the same run"
    report = sub.add_parser("report", help=text, description=text, allow_abbrev=False)
    report.add_argument("reports", type=Path, nargs="+", metavar="DIR")
    report.add_argument("--report", type=Path, required=True, metavar="DIR", help="where the one report goes")
    report.set_defaults(run=_merge)


def _run(arguments: argparse.Namespace) -> int:
    from iotops.loadtest.options import ready_plan

    plan = ready_plan(arguments, make_devices=not arguments.estimate)
    if arguments.estimate:
        return 0
    return asyncio.run(_put_on(plan, arguments.processes, arguments.report))


async def _put_on(plan: Any, processes: int, directory: Path) -> int:
    from iotops.loadtest import report
    from iotops.loadtest.options import say
    from iotops.loadtest.run import run

    stop = asyncio.Event()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        say("stopping: the report so far follows")
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    progress = _Progress(plan, directory)
    result = await run(plan, processes=processes, stop=stop, tell=progress.hear)
    report.write(directory, plan, result)
    for line in report.headline(plan, result):
        print(line)  # noqa: T201 - what it is run for
    print(f"report: {directory / 'report.html'}")  # noqa: T201
    if interrupted:
        return 130
    return 0 if result.counts["connects"] and not result.notes else 1


class _Progress:
    """Says now and then how it goes; of a soak it keeps the report up to date."""

    def __init__(self, plan: Any, directory: Path) -> None:
        from iotops.loadtest.so_far import SoFar

        self._plan = plan
        self._said = time.monotonic()
        self._connected: dict[int, int] = {}
        self._so_far = SoFar(plan, directory) if plan.scenario == "soak" else None

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event of a generator."""
        from iotops.loadtest.options import say

        if event["event"] not in ("progress", "interval"):
            return
        self._connected[event["share"]] = event["connected"]
        if event["event"] == "interval" and self._so_far:
            self._so_far.add(event)
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            at = f"{event['at']:.0f} s, " if "at" in event else ""
            say(f"{at}{sum(self._connected.values()):,} of {len(self._plan.names):,} devices are connected")


def _merge(arguments: argparse.Namespace) -> int:
    from iotops.loadtest import report
    from iotops.loadtest.result import merge

    read = [report.read(each) for each in arguments.reports]
    plan, result = read[0][0], merge(each for _plan, each in read)
    report.write(arguments.report, plan, result)
    for line in report.headline(plan, result):
        print(line)  # noqa: T201
    return 0
