# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is told on the command line, and the plan that it makes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from iotops.loadtest import identities
from iotops.loadtest.cost import load_of
from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.guard import require_permission
from iotops.loadtest.making import Issuer, make
from iotops.loadtest.plan import SCENARIOS, Plan
from iotops.loadtest.target import Target

_MQTT = {"3.1.1": 4, "5": 5}


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the options that a plan is made of."""
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
    who.add_argument(
        "--names", metavar="FILE", help="a device a line, publishers first; - is standard input; default: the first"
    )
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


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the arguments ask for.

    Raises:
        LoadTestError: it cannot be run.

    """
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
    return plan


def ready_plan(arguments: argparse.Namespace, *, make_devices: bool = True) -> Plan:
    """The plan, which may be run: its estimate was said, and its devices are there.

    Raises:
        LoadTestError: it cannot, or may not be run.

    """
    plan = plan_of(arguments)
    say(f"{plan.scenario}: {load_of(plan)}")
    require_permission(plan, owned=arguments.i_own_this_account)
    if make_devices and arguments.issuer:
        _make(arguments, plan.names)
    return plan


def _names(arguments: argparse.Namespace, wanted: int) -> tuple[str, ...]:
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
    if arguments.names:
        return _read_names(arguments.names)
    keys = Path(arguments.keys) if arguments.keys else None
    found = identities.load(Path(arguments.identities), keys=keys)
    if len(found) < wanted:
        raise LoadTestError(
            f"--identities={arguments.identities} has {len(found)} devices, and {wanted} are wanted: issue more"
        )
    return tuple(each.name for each in found[:wanted])


def _read_names(file: str) -> tuple[str, ...]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LoadTestError(f"--names={file}: {error}: give a file with a device a line") from error
    return tuple(text.split())


def _make(arguments: argparse.Namespace, names: tuple[str, ...]) -> None:
    if not arguments.identities or not arguments.issuer_key:
        raise LoadTestError("--issuer needs --issuer-key, and --identities for where the devices are kept")
    passphrase = arguments.issuer_passphrase_file.read_text().rstrip("\n") if arguments.issuer_passphrase_file else ""
    issuer = Issuer(arguments.issuer, arguments.issuer_key, passphrase)
    make(
        names,
        Path(arguments.identities),
        issuer,
        progress=lambda done: say(f"{done:,} of {len(names):,} devices made"),
    )


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
