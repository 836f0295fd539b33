# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a provisioned device belongs.

In its directory::

<thing>.endpoint      ``<address>::<region>``, the form that other programs know; is there when all else is
<thing>.server.json   the name that the server there is asked for, and the port
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from iotops.device import files
from iotops.device.connection import Endpoint
from iotops.device.errors import DeviceError

_ADDRESS = re.compile(r"[A-Za-z0-9.-]{1,253}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class Home:
    """A region's address, and the name to ask for there."""

    address: str
    region: str
    server_name: str
    port: int = 8883

    def __post_init__(self) -> None:
        for name, form in (("address", _ADDRESS), ("server_name", _ADDRESS), ("region", _REGION)):
            value = getattr(self, name)
            if not (isinstance(value, str) and form.fullmatch(value)):
                raise ValueError(f"{name} {value!r} is none")
        if type(self.port) is not int or not 0 < self.port <= _LARGEST_PORT:
            raise ValueError(f"port {self.port!r} is none")

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What to dial: the region, then whatever region answers to the fleet's name."""
        own = Endpoint(self.address, self.port, self.server_name)
        return (own,) if self.address == self.server_name else (own, Endpoint(self.server_name, 8883, self.server_name))


def is_region(text: str) -> bool:
    """Whether it may be a region's name."""
    return bool(_REGION.fullmatch(text))


def _paths(directory: Path, thing_name: str) -> tuple[Path, Path]:
    return directory / f"{thing_name}.endpoint", directory / f"{thing_name}.server.json"


def read(directory: Path, thing_name: str) -> Home | None:
    """Return where the device belongs; None when it was not provisioned.

    Raises:
        DeviceError: what is on the disk was not left there by a provisioning.

    """
    endpoint, server = _paths(directory, thing_name)
    try:
        address, _, region = endpoint.read_text(encoding="utf-8").strip().partition("::")
        known = json.loads(server.read_bytes()) if server.exists() else {}
        return Home(address, region, known.get("serverName", address), known.get("port", Home.port))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DeviceError(f"{endpoint}: {reason}: remove it and provision the device again") from error


def write(directory: Path, thing_name: str, home: Home) -> None:
    """Remember where the device belongs: the device is provisioned then."""
    endpoint, server = _paths(directory, thing_name)
    files.write(server, json.dumps({"serverName": home.server_name, "port": home.port}).encode())
    files.write(endpoint, f"{home.address}::{home.region}".encode())
