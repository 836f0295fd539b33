# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each region's MQTT listener lives: one loopback address per region, on the port AWS uses."""

from __future__ import annotations

import errno
import functools
import socket
from collections.abc import Mapping

MQTT_PORT = 8883
# Without further loopback addresses (macOS has only 127.0.0.1) the regions get ports from here on.
SHARED_ADDRESS_PORT = 18883


@functools.cache
def iot_regions() -> tuple[str, ...]:
    """Every region of the partition ``aws`` that has AWS IoT, in alphabetical order."""
    import botocore.session  # not wanted by every command of the CLI

    return tuple(sorted(botocore.session.get_session().get_available_regions("iot")))


def loopback_address(region: str) -> str:
    """The address that belongs to ``region``: 127.0.10.1 for the first region of the alphabet, and so on."""
    return f"127.0.10.{iot_regions().index(region) + 1}"


def bind_region(region: str, remembered: Mapping[str, str] | None = None) -> socket.socket:
    """A bound TCP socket for the region's listener.

    Tried in turn: the address and port of the last run (``remembered``: region -> ``host:port``), port 8883 of the
    region's own address, a free port of it, and, where only 127.0.0.1 exists, a fixed and then a free port of that.
    """
    own, index = loopback_address(region), iot_regions().index(region)
    candidates = []
    if remembered and region in remembered:
        host, _, port = remembered[region].rpartition(":")
        candidates.append((host, int(port)))
    candidates += [(own, MQTT_PORT), (own, 0), ("127.0.0.1", SHARED_ADDRESS_PORT + index), ("127.0.0.1", 0)]
    for address in candidates[:-1]:
        try:
            return bind(*address)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
                raise
    return bind(*candidates[-1])


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket bound to ``host:port`` (0 = any free port).

    Raises:
        OSError: the address is not there or the port is taken.

    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def endpoint_of(bound: socket.socket) -> str:
    """``host:port`` of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"
