# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops loadtest``: put load on a broker from this machine, and say what it carried."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import signal
import sys
import time
from pathlib import Path
from typing import Any

from iotops.loadtest.errors import LoadTestError

_EXIT_CODES = """exit codes: 0 the load was put on, and the report says what came of it; 1 a generator died, or no
device ever got in; 2 bad input; 130 stopped with ctrl-C, with the report so far"""
_MQTT = {"3.1.1": 4, "5": 5}
_EVERY = 5.0  # seconds between two lines of progress
_SAVE_EVERY = 60.0  # seconds between two reports of a soak


def add_parser(commands: Any) -> None:
    """Add ``loadtest`` and its commands."""
    text = "put load on AWS IoT, the sandbox or any MQTT broker, and report what it carried"
    parser = commands.add_parser("loadtest", help=text, description=text, epilog=_EXIT_CODES)
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    text = "run a scenario from this machine"
    run = sub.add_parser("run", help=text, description=text, epilog=_EXIT_CODES, allow_abbrev=False)
    run.set_defaults(run=_run)
    _add_plan(run)
    run.add_argument("--processes", type=int, default=0, help="generators; default: one a core")
    run.add_argument("--report", type=Path, default=Path("loadtest-report"), metavar="DIR", help="default: %(default)s")
    run.add_argument("--estimate", action="store_true", help="say what it would do and cost, and dial nothing")
    text = "make one report of several of the same run"
    report = sub.add_parser("report", help=text, description=text, allow_abbrev=False)
    report.add_argument("reports", type=Path, nargs="+", metavar="DIR")
    report.add_argument("--report", type=Path, required=True, metavar="DIR", help="where the one report goes")
    report.set_defaults(run=_merge)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    from iotops.loadtest.plan import SCENARIOS, Plan

    default = {each.name: each.default for each in dataclasses.fields(Plan)}
    parser.add_argument("scenario", choices=SCENARIOS, metavar="SCENARIO", help=", ".join(SCENARIOS))
    where = parser.add_argument_group("where to")
    where.add_argument(
        "--target", action="append", required=True, metavar="HOST[:PORT]", help="a broker; by choice several"
    )
    where.add_argument(
        "--address", action="append", default=[], help="of the targets in turn, instead of looking them up"
    )
    where.add_argument("--server-name", default="", help="what TLS asks for; default: the host")
    where.add_argument("--root", default="", metavar="FILE", help="what vouches for the broker; default: the system's")
    where.add_argument("--no-tls", action="store_true", help="plain TCP")
    where.add_argument("--mqtt", choices=_MQTT, default="3.1.1")
    where.add_argument("--i-own-this-account", action="store_true", help="and may put load on what is not my machine")
    who = parser.add_argument_group("who")
    who.add_argument("--publishers", "--devices", type=int, default=10, help="default: %(default)s")
    who.add_argument("--subscribers", type=int, default=0, help="who listen to all of them; in command: who command")
    who.add_argument(
        "--identities", default="", metavar="PATH", help="folder, tar or manifest of certificates and keys"
    )
    who.add_argument("--keys", default="", metavar="DIR", help="keys of a manifest; default: beside it")
    who.add_argument(
        "--issuer", type=Path, metavar="FILE", help="CA that --identities are made from where they are missing"
    )
    who.add_argument("--issuer-key", type=Path, metavar="FILE")
    who.add_argument("--issuer-passphrase-file", type=Path, metavar="FILE")
    who.add_argument("--name", default="loadtest-{:05}", help="of devices that are made; default: %(default)s")
    who.add_argument("--persistent", action="store_true", help="sessions outlive their connections")
    what = parser.add_argument_group("what")
    for name, kind, text in (
        ("rate", float, "messages a second of each publisher"),
        ("duration", float, "seconds"),
        ("drain", float, "seconds that late messages have"),
        ("ramp", float, "connects a second, over all processes"),
        ("qos", int, "0 or 1"),
        ("payload_size", int, "least octets of a message"),
        ("keep_alive", int, "seconds"),
        ("prefix", str, "first part of all topics"),
        ("topic", str, "template"),
        ("lose_after", float, "seconds until the first target counts as lost"),
        ("patience", float, "longest pause in seconds between two attempts of a device"),
    ):
        option = f"--{name.replace('_', '-')}"
        what.add_argument(option, type=kind, default=default[name], help=f"{text}; default: {default[name]}")


def plan_of(arguments: argparse.Namespace, *, make: bool) -> Any:
    """The plan that the arguments ask for; with ``make`` the devices are there afterwards.

    Raises:
        LoadTestError: it cannot be run.

    """
    from iotops.loadtest.plan import Plan
    from iotops.loadtest.target import Target

    if len(arguments.address) not in (0, len(arguments.target)):
        raise LoadTestError(f"--address was given {len(arguments.address)} times: give one for each --target, or none")
    if arguments.root and not Path(arguments.root).is_file():
        raise LoadTestError(f"--root={arguments.root}: there is no such file")
    addresses = arguments.address or [""] * len(arguments.target)
    targets = tuple(
        Target.parse(
            each, root=arguments.root, server_name=arguments.server_name, address=address, tls=not arguments.no_tls
        )
        for each, address in zip(arguments.target, addresses, strict=True)
    )
    chosen = {each.name: getattr(arguments, each.name) for each in dataclasses.fields(Plan) if each.name in arguments}
    wanted = arguments.publishers + arguments.subscribers
    plan = Plan(**{**chosen, "targets": targets, "version": _MQTT[arguments.mqtt], "names": _names(arguments, wanted)})
    plan.require_sound()
    if make and arguments.issuer:
        _make(arguments, plan.names)
    return plan


def _names(arguments: argparse.Namespace, wanted: int) -> tuple[str, ...]:
    from iotops.loadtest import identities

    if not arguments.identities or arguments.issuer:
        try:
            names = tuple(arguments.name.format(number) for number in range(1, wanted + 1))
        except (IndexError, KeyError, ValueError) as error:
            raise LoadTestError(
                f"--name={arguments.name}: give it one {{}} for the number, like loadtest-{{:05}}"
            ) from error
        if len(set(names)) < wanted:
            raise LoadTestError(f"--name={arguments.name}: it is the same for all: give it {{}} for the number")
        return names
    keys = Path(arguments.keys) if arguments.keys else None
    found = identities.load(Path(arguments.identities), keys=keys)
    if len(found) < wanted:
        raise LoadTestError(
            f"--identities={arguments.identities} has {len(found)} devices, and {wanted} are wanted: issue more"
        )
    return tuple(each.name for each in found[:wanted])


def _make(arguments: argparse.Namespace, names: tuple[str, ...]) -> None:
    from iotops.loadtest.making import Issuer, make

    if not arguments.identities or not arguments.issuer_key:
        raise LoadTestError("--issuer needs --issuer-key, and --identities for where the devices are kept")
    passphrase = arguments.issuer_passphrase_file.read_text().rstrip("\n") if arguments.issuer_passphrase_file else ""
    issuer = Issuer(arguments.issuer, arguments.issuer_key, passphrase)
    make(
        names,
        Path(arguments.identities),
        issuer,
        progress=lambda done: _say(f"{done:,} of {len(names):,} devices made"),
    )


def _run(arguments: argparse.Namespace) -> int:
    from iotops.loadtest.cost import load_of
    from iotops.loadtest.guard import require_permission

    plan = plan_of(arguments, make=False)
    _say(f"{plan.scenario}: {load_of(plan)}")
    require_permission(plan, owned=arguments.i_own_this_account)
    if arguments.estimate:
        return 0
    if arguments.issuer:
        _make(arguments, plan.names)
    return asyncio.run(_put_on(plan, arguments.processes, arguments.report))


async def _put_on(plan: Any, processes: int, directory: Path) -> int:
    from iotops.loadtest import report
    from iotops.loadtest.run import run

    stop = asyncio.Event()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        _say("stopping: the report so far follows")
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
        from iotops.loadtest.result import Result

        self._plan, self._directory = plan, directory
        self._said = self._saved = time.monotonic()
        self._connected: dict[int, int] = {}
        self._shares: dict[int, Result] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event of a generator."""
        if event["event"] not in ("progress", "interval"):
            return
        self._connected[event["share"]] = event["connected"]
        if event["event"] == "interval" and self._plan.scenario == "soak":
            self._keep(event)
        if time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            at = f"{event['at']:.0f} s, " if "at" in event else ""
            _say(f"{at}{sum(self._connected.values()):,} of {len(self._plan.names):,} devices are connected")

    def _keep(self, event: dict[str, Any]) -> None:
        from iotops.loadtest import report
        from iotops.loadtest.result import Interval, Result, merge

        share = event["share"]
        line = Interval.from_json(
            {name: event[name] for name in ("at", "counts", "connected", "cpu", "lag", "latencies")}
        )
        so_far = self._shares.setdefault(share, Result(notes=[f"of share {share} so far"]))
        so_far.intervals.append(line)
        so_far.counts.update(line.counts)
        so_far.seconds = line.at
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self._saved = time.monotonic()
            report.write(self._directory, self._plan, merge(self._shares.values()))


def _merge(arguments: argparse.Namespace) -> int:
    from iotops.loadtest import report
    from iotops.loadtest.result import merge

    read = [report.read(each) for each in arguments.reports]
    plan, result = read[0][0], merge(each for _plan, each in read)
    report.write(arguments.report, plan, result)
    for line in report.headline(plan, result):
        print(line)  # noqa: T201
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
