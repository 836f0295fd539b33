# SPDX-License-Identifier: GPL-3.0-or-later
"""``iotops device claim``."""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path

from iotops.device import files, signing
from iotops.device.certificates import public_bytes, read_certificates
from iotops.device.claiming import Claiming, Wish
from iotops.device.connection import Endpoint, Turns
from iotops.device.credentials import FileCredentials, Pair
from iotops.device.device import dialer
from iotops.device.errors import Denied, DeviceError
from iotops.device.mqtt import PahoConnection
from iotops.device.opening import endpoints

_LONGEST_CLIENT_ID = 128


def run(arguments: argparse.Namespace) -> int:
    """Get a certificate with a claim, unless it is there.

    Raises:
        DeviceError: the input is not what it should be, or AWS IoT does not give one.

    """
    dialled = endpoints(arguments)
    pair = _pair(arguments.claim_certificate, arguments.claim_key)
    credentials = FileCredentials(arguments.directory, arguments.thing_name, arguments.root)
    wish = Wish(
        template=arguments.template, endpoint=dialled[0], key_type=arguments.key_type, give_up=arguments.give_up
    )
    turns, dial = Turns(dialled), dialer(credentials, *dialled)

    def claim(peer: Endpoint | None) -> PahoConnection:
        return PahoConnection(Turns([peer]) if peer else turns, client_id(arguments.thing_name), credentials.root, pair)

    with files.locked(arguments.directory):
        claiming = Claiming(
            credentials,
            wish,
            claim,
            lambda peer: (dialer(credentials, peer) if peer else dial)(credentials.pair("current")),
            step=logging.getLogger("iotops.device").info,
        )
        try:
            claiming.run()
        except Denied as error:
            if "AccessDenied" in str(error):
                raise Denied(f"{error}; is {arguments.thing_name} on the allow-list, and no other device's?") from error
            raise
    return 0


def client_id(thing_name: str) -> str:
    """Under which a device asks: no thing can have this name. AWS IoT takes 128 bytes."""
    whole = f"claim.{thing_name}"
    return whole if len(whole) <= _LONGEST_CLIENT_ID else f"claim.{hashlib.sha256(thing_name.encode()).hexdigest()}"


def _pair(certificate: Path, key: Path) -> Pair:
    first, *_others = read_certificates(certificate)
    if public_bytes(first.public_key()) != public_bytes(signing.read_key(key).public_key()):
        raise DeviceError(
            f"--claim-certificate {certificate} is not for the key {key}: give those that belong together"
        )
    return Pair(certificate, str(key))
