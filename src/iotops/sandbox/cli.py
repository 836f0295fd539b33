# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops sandbox ...``: start, stop, look at and break the sandbox."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iotops.sandbox import endpoints, faults, journal, process
from iotops.sandbox.errors import SandboxError

NOT_RUNNING = 3


def add_parser(commands: Any) -> None:
    """Add ``sandbox`` and its commands."""
    parser = commands.add_parser("sandbox", help="several AWS regions on this machine")
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = _command(sub, "up", _up, "start it, or say that it runs")
    up.add_argument(
        "--port", type=int, default=int(os.environ.get("IOTOPS_SANDBOX_PORT", "4566")), help="0: a free one"
    )
    up.add_argument("--wipe", action="store_true", help="forget the state of earlier runs")
    down = _command(sub, "down", _down, "stop it")
    down.add_argument("--wipe", action="store_true", help="and forget its state")
    status = _command(sub, "status", _status, "where it answers; exit code 3 when it does not run")
    status.add_argument("--json", action="store_true")
    _command(sub, "logs", _logs, "the server's log").add_argument("-f", "--follow", action="store_true")

    calls = _command(sub, "journal", _journal, "the API calls it served")
    calls.add_argument("--json", action="store_true", help="one JSON object per line")
    calls.add_argument("--since", type=_moment, help="epoch seconds or ISO 8601")
    for name in ("region", "service", "operation"):
        calls.add_argument(f"--{name}")

    fault = _command(sub, "fault", _fault, "make calls fail")
    fault.formatter_class = argparse.RawDescriptionHelpFormatter
    fault.epilog = faults.__doc__
    fault.add_argument("action", choices=("add", "list", "clear"))
    fault.add_argument("--json", type=_json, metavar="RULE", help="the rule to add, see below")
    fault.add_argument("--id", help="the rule to clear; default: all")
    region = _command(sub, "region", _region, "cut a region off from the world, or restore it")
    region.add_argument("action", choices=("cut", "restore"))
    region.add_argument("region")
    quotas = _command(sub, "quotas", _quotas, "hold calls to AWS's default quotas of AWS IoT, or do not")
    quotas.add_argument("action", choices=("enforce", "lift"))
    viewers = _command(
        sub, "viewers", _viewers, "which public address a loopback address that calls an HTTP API stands for"
    )
    viewers.add_argument("addresses", nargs="*", metavar="LOOPBACK=PUBLIC", help="all of them; none: each for itself")
    replication = _command(sub, "replication", _replication, "how global tables replicate")
    replication.add_argument("--delay", type=float, metavar="SECONDS")
    replication.add_argument("--jitter", type=float, metavar="SECONDS")
    replication.add_argument("--reorder", type=float, metavar="PROBABILITY")
    seed = _command(sub, "seed", _seed, "make a fleet of onboarded devices, fast")
    seed.add_argument("--devices", type=int, required=True)
    seed.add_argument("--regions", nargs="+", required=True, metavar="REGION")
    seed.add_argument("--application", default="multi-region-iot")
    seed.add_argument("--prefix", default="seed-", help="of their names, a number follows (default: %(default)s)")
    seed.add_argument("--revoked", type=int, default=0, metavar="N", help="the last N of them are revoked")
    seed.add_argument(
        "--authority", nargs=2, type=_path, metavar=("CERT", "KEY"), help="the CA that signs, so that they can connect"
    )
    seed.add_argument("--keys", type=_path, metavar="DIR", help="a key and a certificate of each, as files")


def _command(sub: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = sub.add_parser(name, help=text, description=text)
    default = os.environ.get("IOTOPS_SANDBOX_DIR", ".sandbox")
    parser.add_argument("--dir", type=Path, default=Path(default), help=f"its directory (default: {default})")
    parser.set_defaults(run=run)
    return parser


def _moment(text: str) -> Any:
    try:
        return journal.moment(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither epoch seconds nor an ISO 8601 time") from None


def _path(text: str) -> str:
    """As the server sees it, which has another working directory."""
    return str(Path(text).resolve())


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None


def _up(arguments: argparse.Namespace) -> int:
    directory = arguments.dir.resolve()
    if found := process.running(directory):
        print(f"sandbox: runs already, {found['gateway']} (process {found['pid']})")
        return 0
    if arguments.wipe:
        process.wipe(directory)
    found = process.start(directory, arguments.port)
    print(f"sandbox: up, {found['gateway']} (process {found['pid']}), {len(found['regions'])} regions")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    directory = arguments.dir.resolve()
    print("sandbox: stopped" if process.stop(directory) else "sandbox: does not run")
    if arguments.wipe:
        process.wipe(directory)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = process.running(arguments.dir.resolve())
    if found is None:
        print("{}" if arguments.json else "sandbox: does not run (iotops sandbox up)")
        return NOT_RUNNING
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(f"gateway      {found['gateway']} (process {found['pid']})")
    print(f"account      {found['account_id']}, hosted zone {found['hosted_zone_id']} (example.com)")
    for region, at in found["regions"].items():
        print(f"{region:<16} mqtts://{at['mqtt']}")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    path = arguments.dir.resolve() / process.LOG
    if not path.exists():
        raise SandboxError(f"no log in {path.parent}: iotops sandbox up")
    with path.open(errors="replace") as log:
        while True:
            sys.stdout.write(log.read())
            sys.stdout.flush()
            if not arguments.follow:
                return 0
            time.sleep(0.3)


def _journal(arguments: argparse.Namespace) -> int:
    wanted = {name: getattr(arguments, name) for name in ("region", "service", "operation")}
    for entry in journal.read(arguments.dir.resolve(), arguments.since, **wanted):
        if arguments.json:
            print(json.dumps(entry))
        else:
            print(
                "{time} {region:<14} {status} {service}:{operation} {ms} ms {caller}".format(**entry),
                entry["error"] or "",
            )
    return 0


def _fault(arguments: argparse.Namespace) -> int:
    if arguments.action == "add":
        if not isinstance(arguments.json, dict):
            raise SandboxError("fault add needs --json '{\"effect\": ...}'")
        print(json.dumps(_admin(arguments, "POST", "fault", arguments.json)))
    elif arguments.action == "list":
        for rule in _admin(arguments, "GET", "faults"):
            print(json.dumps({name: value for name, value in rule.items() if value is not None}))
    else:
        _admin(arguments, "DELETE", f"faults/{arguments.id}" if arguments.id else "faults")
    return 0


def _region(arguments: argparse.Namespace) -> int:
    cut = _admin(arguments, "POST", f"regions/{arguments.region}/{arguments.action}")
    print(f"cut off: {', '.join(cut) or 'none'}")
    return 0


def _quotas(arguments: argparse.Namespace) -> int:
    rules = _admin(arguments, "POST", f"quotas/{arguments.action}")["rules"]
    print(f"quotas of AWS IoT: {f'enforced ({rules} fault rules)' if rules else 'not enforced'}")
    return 0


def _viewers(arguments: argparse.Namespace) -> int:
    pairs = [pair.partition("=")[::2] for pair in arguments.addresses]
    print(json.dumps(_admin(arguments, "POST", "viewers", dict(pairs))))
    return 0


def _replication(arguments: argparse.Namespace) -> int:
    names = ("delay", "jitter", "reorder")
    wanted = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    print(json.dumps(_admin(arguments, "POST", "replication", wanted)))
    return 0


def _seed(arguments: argparse.Namespace) -> int:
    names = ("devices", "regions", "application", "prefix", "revoked", "authority", "keys")
    wanted = {name: getattr(arguments, name) for name in names}
    print(json.dumps(_admin(arguments, "POST", "seed", wanted)))
    return 0


def _admin(arguments: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    found = endpoints.read(arguments.dir.resolve())
    if found is None:
        raise SandboxError(f"no sandbox in {arguments.dir}: iotops sandbox up")
    return process.request(found["gateway"], method, path, body)
