# SPDX-License-Identifier: GPL-3.0-or-later
"""From the command line to what a line is made of: credentials, endpoints and what dials them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from iotops.device import home
from iotops.device.connection import Endpoint
from iotops.device.credentials import Credentials, FileCredentials
from iotops.device.device import dialer
from iotops.device.errors import DeviceError
from iotops.device.line import Dial

_THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,64}")


def check_name(arguments: argparse.Namespace) -> None:
    """Require that the thing's name is one.

    Raises:
        DeviceError: it is not.

    """
    if not _THING_NAME.fullmatch(arguments.thing_name):
        raise DeviceError(f"--thing-name {arguments.thing_name!r}: 1 to 64 of a-z A-Z 0-9 : _ - are a name")


def endpoints(arguments: argparse.Namespace) -> tuple[Endpoint, ...]:
    """Return what to dial in turn: what the options say, and where they do not, what the provisioning has left.

    Raises:
        DeviceError: neither says it.

    """
    belongs = None if arguments.endpoint else home.read(arguments.directory, arguments.thing_name)
    server_name = arguments.endpoint or (belongs and belongs.server_name)
    if not server_name:
        raise DeviceError(
            f"--endpoint: {arguments.thing_name} is not provisioned in {arguments.directory}:"
            " give the name of the server, or provision the device"
        )
    if belongs and not arguments.address:
        return belongs.endpoints
    return tuple(Endpoint.parse(server_name, address) for address in arguments.address or [""])


def opened(arguments: argparse.Namespace) -> tuple[Credentials, Dial]:
    """Return the device's credentials and what dials with them.

    Raises:
        DeviceError: the input is not what it should be.

    """
    dialled = endpoints(arguments)
    token = _with_token(arguments, dialled[0])
    if token:
        return token
    credentials = FileCredentials(arguments.directory, arguments.thing_name, arguments.root)
    return credentials, dialer(credentials, *dialled)


def _with_token(arguments: argparse.Namespace, endpoint: Endpoint) -> tuple[Credentials, Dial] | None:
    options = ("pkcs11_module", "pkcs11_token", "pkcs11_key", "pkcs11_pin_file")
    missing = [f"--{option.replace('_', '-')}" for option in options if not getattr(arguments, option)]
    if len(missing) == len(options):
        return None
    if missing:
        raise DeviceError(f"{', '.join(missing)}: a token needs all four --pkcs11 options")
    if endpoint.host != endpoint.server_name:
        raise DeviceError(
            f"--address {endpoint.host}: with a token the name {endpoint.server_name} itself is dialled:"
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
