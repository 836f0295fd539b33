# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, told apart by what is to be done about it."""

from __future__ import annotations


class DeviceError(Exception):
    """The device cannot work with what it was given: one line for its owner. ``code``: the program's exit code."""

    code = 2


class Failed(DeviceError):
    """The device did what it was told to, and it came to nothing."""

    code = 1


class Denied(DeviceError):
    """The provisioning API will not have this device, or not like this: to ask again is of no use."""

    code = 3


class NotNow(DeviceError):
    """Nobody answered, or only with "later", for as long as the device was to try."""

    code = 4


class TurnedAway(DeviceError):
    """A certificate that was accepted before is refused for good: revoked, most likely."""

    code = 5


class Unable(Exception):
    """A new pair cannot be made or kept; the old one still works."""


class Unfit(Unable):
    """A certificate that the device was sent is not for it."""


class ConnectionProblem(Exception):
    """There is no connection."""


class Refused(ConnectionProblem):
    """The broker turned this certificate away: it is unknown there, or not ACTIVE."""


class Unreachable(ConnectionProblem):
    """Nobody answered, or somebody whom the device's root does not vouch for."""


class Lost(ConnectionProblem):
    """There was a connection, and it ended."""
