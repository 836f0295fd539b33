# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, told apart by what is to be done about it."""

from __future__ import annotations


class LoadTestError(Exception):
    """The load test cannot work with what it was given: one line for its owner. ``code``: the program's exit code."""

    code = 2


class Malformed(Exception):
    """What came over the network is not MQTT."""


class ConnectionTrouble(Exception):
    """There is no connection."""


class Refused(ConnectionTrouble):
    """The broker turned this device away: it is unknown there, not ACTIVE, or may not do this.

    ``code``: the reason code of the broker's answer, None when it closed the connection without one.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class Unreachable(ConnectionTrouble):
    """Nobody answered, or somebody whom the root does not vouch for."""


class Lost(ConnectionTrouble):
    """There was a connection, and it ended."""
