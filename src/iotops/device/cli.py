# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device``: be a device, with its keys in files or in a PKCS#11 token."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import math
import sys
from pathlib import Path
from typing import Any

from iotops.device.errors import DeviceError
from iotops.device.keys import DEFAULT, KEY_TYPES

_LEAST_SECONDS = 0.1
_LONGEST_NUMBER = 9
_DAY = 86400
_EXIT_CODES = """exit codes: 0 done; 1 a rotation failed; 2 bad input or files; 3 the provisioning is refused, or the
device is not provisioned; 4 nobody answered in time; 5 a certificate that was accepted before is refused"""


def add_parser(commands: Any) -> None:
    """Add ``device`` and its commands."""
    text = "be a device: be provisioned, connect, do jobs (certificate rotation), send and receive messages"
    parser = commands.add_parser("device", help=text, description=text, epilog=_EXIT_CODES)
    sub = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    line = [_who(), _where(), _limits(give_up=0), _token()]
    by_hand = [_who(), _where(), _limits(give_up=60), _token()]

    provision = _command(
        sub, "provision", "provisioning_command:run", "get a certificate and a region from the API", [_who()]
    )
    _add_provisioning(provision)
    claim = _command(
        sub, "claim", "claiming_command:run", "get a certificate with a claim certificate", [_who(), _where()]
    )
    _add_claim(claim)
    connect = _command(sub, "connect", "commands:connect", "stay connected, do jobs, send telemetry", line)
    _seconds(connect, "--telemetry", 0, "pause between two messages to i/<NAME>/telemetry; default: none")
    _add_asking(connect)
    publish = _command(sub, "publish", "commands:publish", "publish a message", by_hand)
    publish.add_argument("--topic", help="default: i/<NAME>/m, which the fleet keeps")
    publish.add_argument("--message", required=True, metavar="JSON", help="or any text, sent as it is")
    _count(publish, 1, "how often; default: once")
    _seconds(publish, "--interval", 1, "pause between two; default: 1")
    subscribe = _command(sub, "subscribe", "commands:subscribe", "print messages, one a line", line)
    subscribe.add_argument("--topic", required=True, help="may have + and #")
    _count(subscribe, 0, "end after so many; default: never")
    _add_asking(_command(sub, "rotate", "commands:rotate", "do the rotation job that waits, and end", line))
    status = _command(
        sub, "status", "status:run", "what is in the directory, and whether it connects", [_who(), _where(), _token()]
    )
    status.add_argument("--connect", action="store_true", help="ask the broker, too")
    status.add_argument("--json", action="store_true")


def _command(sub: Any, name: str, function: str, text: str, parents: list[argparse.ArgumentParser]) -> Any:
    parser = sub.add_parser(name, help=text, description=text, epilog=_EXIT_CODES, parents=parents)
    parser.set_defaults(run=_run, function=function)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    """Import the command and nothing else: a device may be small."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    module, function = arguments.function.split(":")
    from iotops.device.opening import check_name

    check_name(arguments)
    return int(getattr(importlib.import_module(f"iotops.device.{module}"), function)(arguments))


def _who() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--thing-name", required=True, metavar="NAME", help="also its MQTT client id")
    parser.add_argument(
        "--directory", type=Path, required=True, help="holds <NAME>.cert.pem, <NAME>.key.pem and root.cert.pem"
    )
    parser.add_argument("--root", type=Path, metavar="FILE", help="what it trusts, if not root.cert.pem in there")
    return parser


def _where() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--endpoint", metavar="HOST", help="the server name to ask for; default: as provisioned")
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="what to dial; again for others, which are tried in turn; default: as provisioned, else ENDPOINT:8883",
    )
    return parser


def _limits(*, give_up: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    _seconds(parser, "--give-up", give_up, "end after so long without a connection; 0: never; default: %(default)s")
    _seconds(
        parser,
        "--refused",
        _DAY,
        "end when a certificate that was accepted before is refused for so long; 0: never; default: %(default)s, a day",
    )
    return parser


def _token() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    token = parser.add_argument_group("the key in a PKCS#11 token", "all four; needs awsiotsdk and python-pkcs11")
    token.add_argument("--pkcs11-module", type=Path, metavar="FILE", help="the token's library")
    token.add_argument("--pkcs11-token", metavar="LABEL")
    token.add_argument("--pkcs11-key", metavar="LABEL", help="of the first key pair; the second is LABEL-alternate")
    token.add_argument("--pkcs11-pin-file", type=Path, metavar="FILE")
    return parser


def _add_asking(parser: argparse.ArgumentParser) -> None:
    _seconds(parser, "--ask-again", 60, "for what is signed later; default: 60", zero=False)


def _add_provisioning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="of the API: https://<api>.execute-api.<region>.amazonaws.com")
    parser.add_argument("--protocol", choices=("v1", "s2"), default="v1", help="s2: its predecessor's; default: v1")
    parser.add_argument(
        "--signing-key", type=Path, metavar="FILE", help="signs the request; default: the device's own key"
    )
    parser.add_argument("--key", choices=("own", "cloud"), default="own", help="who makes the key; default: own")
    parser.add_argument("--key-type", choices=KEY_TYPES, default=DEFAULT, help="of an own key; default: %(default)s")
    parser.add_argument("--interactive", action="store_true", help="wait for Enter before each step")
    parser.add_argument("--forge", action="store_true", help="send a wrong signature, to see it refused; keeps nothing")
    parser.add_argument("--https-root", type=Path, metavar="FILE", help="trust this for the API, not the system")
    parser.add_argument("--proxy", action="store_true", help="follow https_proxy and the like")
    _seconds(parser, "--give-up", 600, "end after so long without an answer; 0: never; default: %(default)s")


def _add_claim(parser: argparse.ArgumentParser) -> None:
    text = "the certificate that may ask for others (PEM)"
    parser.add_argument("--claim-certificate", type=Path, required=True, metavar="FILE", help=text)
    parser.add_argument("--claim-key", type=Path, required=True, metavar="FILE", help="its key")
    parser.add_argument("--template", required=True, metavar="NAME", help="of the provisioning: <application>-claim")
    parser.add_argument(
        "--key-type", choices=KEY_TYPES, default=DEFAULT, help="of the device's key; default: %(default)s"
    )
    _seconds(parser, "--give-up", 600, "end after so long without a certificate; 0: never; default: %(default)s")


def _seconds(parser: argparse.ArgumentParser, option: str, default: float, text: str, *, zero: bool = True) -> None:
    def duration(given: str) -> float:
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if (zero and seconds == 0) or _LEAST_SECONDS <= seconds < math.inf:
            return seconds
        raise DeviceError(f"{option} {given}: give {_LEAST_SECONDS:g} seconds or more")

    parser.add_argument(option, type=duration, default=default, metavar="SECONDS", help=text)


def _count(parser: argparse.ArgumentParser, default: int, text: str) -> None:
    def number(given: str) -> int:
        if given.isascii() and given.isdigit() and len(given) <= _LONGEST_NUMBER:
            return int(given)
        raise DeviceError(f"--count {given}: give a number")

    parser.add_argument("--count", type=number, default=default, metavar="N", help=text)
