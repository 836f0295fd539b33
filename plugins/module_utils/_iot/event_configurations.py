# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Event configurations of AWS IoT: which changes of the registry are published as events.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import api_call

__all__ = ["EVENT_TYPES", "describe", "update"]

EVENT_TYPES = (
    "THING",
    "THING_GROUP",
    "THING_TYPE",
    "THING_GROUP_MEMBERSHIP",
    "THING_GROUP_HIERARCHY",
    "THING_TYPE_ASSOCIATION",
    "JOB",
    "JOB_EXECUTION",
    "POLICY",
    "CERTIFICATE",
    "CA_CERTIFICATE",
)


@api_call("describe the event configurations of AWS IoT")
def describe(iot: Any) -> dict[str, bool]:
    """Event type -> enabled, for every type that AWS knows."""
    configurations = iot.describe_event_configurations().get("eventConfigurations", {})
    return {name: bool(value.get("Enabled")) for name, value in sorted(configurations.items())}


@api_call("update the event configurations of AWS IoT")
def update(iot: Any, changes: Mapping[str, bool]) -> None:
    """Set the types that ``changes`` names; AWS leaves the others as they are."""
    iot.update_event_configurations(eventConfigurations={name: {"Enabled": on} for name, on in changes.items()})
