# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device``: be a device, with its keys in files or in a PKCS#11 token."""

from __future__ import annotations

import argparse
import logging
import re
import signal
from pathlib import Path
from typing import Any

from iotops.device import files
from iotops.device.connection import Endpoint
from iotops.device.credentials import Credentials, FileCredentials
from iotops.device.device import Device, Dial, dialer
from iotops.device.errors import DeviceError
from iotops.device.rotation import Patience

_THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,64}")
_LEAST_TELEMETRY = 0.1


def add_parser(commands: Any) -> None:
    """Add ``device``."""
    text = "be a device: connect, do its jobs (certificate rotation), send telemetry"
    parser = commands.add_parser("device", help=text, description=text)
    parser.add_argument("--thing-name", required=True, metavar="NAME", help="also its MQTT client id")
    parser.add_argument(
        "--directory", type=Path, required=True, help="holds <NAME>.cert.pem, <NAME>.key.pem and root.cert.pem"
    )
    parser.add_argument("--root", type=Path, metavar="FILE", help="what it trusts, if not root.cert.pem in there")
    parser.add_argument("--endpoint", required=True, metavar="HOST", help="the server name to ask for")
    parser.add_argument("--address", default="", metavar="HOST[:PORT]", help="what to dial; default: HOST:8883")
    parser.add_argument("--telemetry", type=float, default=0, metavar="SECONDS", help="pause between two messages")
    parser.add_argument(
        "--ask-again",
        type=float,
        default=Patience.pending,
        metavar="SECONDS",
        help="for what is signed later; default: 60",
    )
    parser.add_argument("--once", action="store_true", help="end when no job waits")
    token = parser.add_argument_group("the key in a PKCS#11 token", "all four; needs awsiotsdk and python-pkcs11")
    token.add_argument("--pkcs11-module", type=Path, metavar="FILE", help="the token's library")
    token.add_argument("--pkcs11-token", metavar="LABEL")
    token.add_argument("--pkcs11-key", metavar="LABEL", help="of the first key pair; the second is LABEL-alternate")
    token.add_argument("--pkcs11-pin-file", type=Path, metavar="FILE")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Be the device until SIGTERM or SIGINT, or with ``--once`` until no job waits.

    Raises:
        DeviceError: the input is not what it should be.

    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _check(arguments)
    endpoint = Endpoint.parse(arguments.endpoint, arguments.address)
    with files.locked(arguments.directory):
        credentials, dial = _with_token(arguments, endpoint) or _with_files(arguments, endpoint)
        device = Device(
            credentials, dial, telemetry=arguments.telemetry, patience=Patience(pending=arguments.ask_again)
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: device.stop())
        try:
            device.run(once=arguments.once)
        except OSError as error:
            raise DeviceError(f"{error.filename or arguments.directory}: {error.strerror}") from error
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not _THING_NAME.fullmatch(arguments.thing_name):
        raise DeviceError(f"--thing-name {arguments.thing_name!r}: 1 to 64 of a-z A-Z 0-9 : _ - are a name")
    for option in ("telemetry", "ask_again"):
        if (seconds := getattr(arguments, option)) and not seconds >= _LEAST_TELEMETRY:
            name = option.replace("_", "-")
            raise DeviceError(f"--{name} {seconds:g}: give {_LEAST_TELEMETRY:g} seconds or more")


def _with_files(arguments: argparse.Namespace, endpoint: Endpoint) -> tuple[Credentials, Dial]:
    credentials = FileCredentials(arguments.directory, arguments.thing_name, arguments.root)
    return credentials, dialer(credentials, endpoint)


def _with_token(arguments: argparse.Namespace, endpoint: Endpoint) -> tuple[Credentials, Dial] | None:
    options = ("pkcs11_module", "pkcs11_token", "pkcs11_key", "pkcs11_pin_file")
    missing = [f"--{option.replace('_', '-')}" for option in options if not getattr(arguments, option)]
    if len(missing) == len(options):
        return None
    if missing:
        raise DeviceError(f"{', '.join(missing)}: a token needs all four --pkcs11 options")
    if endpoint.host != endpoint.server_name:
        raise DeviceError(
            f"--address {arguments.address}: with a token the name {endpoint.server_name} itself is dialled:"
            " have it resolve to the address (/etc/hosts), and give its port only"
        )
    pin = _pin(arguments.pkcs11_pin_file)
    try:
        from iotops.device import sdk, token  # an environment of its own
    except ImportError as error:
        remedy = "use an environment of requirements/awsiotsdk.txt"
        raise DeviceError(f"--pkcs11-module: {error.name} is not installed here: {remedy}") from error
    opened = token.Token(arguments.pkcs11_module, arguments.pkcs11_token, pin)
    credentials = token.TokenCredentials(
        arguments.directory, arguments.thing_name, opened.open(), arguments.pkcs11_key, arguments.root
    )
    library = sdk.library(opened)
    return credentials, lambda pair: sdk.SdkConnection(
        endpoint, credentials.thing_name, credentials.root, pair, opened, library
    )


def _pin(path: Path) -> str:
    try:
        pin = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DeviceError(f"--pkcs11-pin-file {path}: {reason}: put the token's user PIN there") from error
    if not pin:
        raise DeviceError(f"--pkcs11-pin-file {path}: it is empty: put the token's user PIN there")
    return pin
