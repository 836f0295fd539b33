# SPDX-License-Identifier: GPL-3.0-or-later
"""A device as a program, and as a library for simulations of many devices: see ``iotops.device.device``."""

from __future__ import annotations

from iotops.device.attempts import Limits, Pace
from iotops.device.connection import Endpoint
from iotops.device.credentials import FileCredentials
from iotops.device.device import Device, dialer
from iotops.device.errors import Lost, Refused, Unreachable
from iotops.device.jobs import Job, Message
from iotops.device.rotation import Patience, Step

__all__ = [
    "Device", "Endpoint", "FileCredentials", "Job", "Limits", "Lost", "Message", "Pace", "Patience", "Refused", "Step",
    "Unreachable", "dialer",
]  # fmt: skip
