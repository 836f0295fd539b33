# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that an operator names: names, ranges, or a file of them. Private to the collection."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError, one_line
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import expand
from ansible_collections.iotops.fleet.plugins.module_utils._pki.wanted import devices_in_file
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError


def named_devices(patterns: Iterable[str] = (), devices_file: str | None = None) -> list[str]:
    """The names that the patterns stand for, or those in the file (CSV, JSON or JSON lines), each once, in order.

    Names may be as long as AWS IoT allows, 128; those of certificates are shorter.

    Raises:
        FleetError: a range that cannot be, a name that AWS refuses, or a file that cannot be read.

    """
    try:
        found = (
            [device.name for device in devices_in_file(devices_file)]
            if devices_file
            else [name for pattern in patterns for name in expand(pattern.strip())]
        )
    except (PkiError, OSError) as error:
        raise FleetError(one_line(error)) from error
    names = list(dict.fromkeys(found))
    for name in names:
        if not THING_NAME.fullmatch(name):
            raise FleetError(f"device name {name!r}: AWS IoT takes 1 to 128 of a-z A-Z 0-9 : _ -; correct it")
    return names


__all__ = ["named_devices"]
