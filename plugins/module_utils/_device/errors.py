# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen to a device, told apart by what its owner has to do. Private to the collection."""

from __future__ import annotations


class DeviceError(Exception):
    """A device did not get what it asked for."""


class Unreachable(DeviceError):
    """Nobody answers at the address: network, port or name."""


class Untrusted(DeviceError):
    """The server's certificate does not chain to the device's root or is for another name."""


class Dropped(DeviceError):
    """The broker closed the connection: the certificate is unknown or not ACTIVE, or the action is not allowed."""


class Denied(DeviceError):
    """The broker answered, and refused."""


class Unanswered(DeviceError):
    """The broker kept the connection open and did not answer in time."""


__all__ = ["Denied", "DeviceError", "Dropped", "Unanswered", "Unreachable", "Untrusted"]
