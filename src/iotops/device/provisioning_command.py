# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device provision``."""

from __future__ import annotations

import argparse
import logging
import sys

from iotops.device import files
from iotops.device.credentials import FileCredentials
from iotops.device.errors import Denied, DeviceError
from iotops.device.https import Api
from iotops.device.protocols import PROTOCOLS
from iotops.device.provisioning import Provisioning, Wish


def run(arguments: argparse.Namespace) -> int:
    """Get a certificate and a region, unless they are there.

    Raises:
        DeviceError: the input is not what it should be, or the API does not give them.

    """
    protocol = PROTOCOLS[arguments.protocol]
    if arguments.protocol == "s2" and not arguments.signing_key:
        raise DeviceError("--protocol s2: give the key that all devices share as --signing-key")
    wish = Wish(
        protocol=protocol,
        signing_key=arguments.signing_key,
        cloud_key=arguments.key == "cloud",
        key_type=arguments.key_type,
        give_up=arguments.give_up,
    )
    api = Api(
        arguments.url,
        protocol.path,
        root=arguments.https_root,
        proxy=arguments.proxy,
        # A key that is in the answer needs a server that is what it says.
        slow_clock=not wish.cloud_key,
    )
    with files.locked(arguments.directory):
        provisioning = Provisioning(
            FileCredentials(arguments.directory, arguments.thing_name, arguments.root),
            wish,
            api.post,
            step=_wait_for_enter if arguments.interactive else _tell,
        )
        if arguments.forge:
            provisioning.forge()
            return 0
        try:
            provisioning.run()
        except Denied as error:
            if "NotAuthorized" in str(error) and not wish.signing_key:
                public = arguments.directory / f"{arguments.thing_name}.pub.pem"
                raise Denied(f"{error}; has its public key been put on the list? It is in {public}") from error
            raise
    return 0


def _tell(text: str) -> None:
    logging.getLogger("iotops.device").info("%s", text)


def _wait_for_enter(text: str) -> None:
    sys.stdout.write(f"Next: {text}. Press Enter. ")
    sys.stdout.flush()
    if not sys.stdin.readline():
        raise DeviceError("--interactive: there is nobody to press Enter: leave it out")
