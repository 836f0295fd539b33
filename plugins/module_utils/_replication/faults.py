# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a region can differ from what the rows say: each way, how deep a look finds it, and who puts it right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

# From the cheapest look to the proof; a look finds what the shallower ones find, too.
DEPTHS = ("rows", "registry", "full")

# Who puts it right.
CONVERGE = "converge-device"  # as the row says
EXACT = "converge-device, exactly"  # and what the row does not say goes
ADMIT = "register-device"  # decides whether it may come in
REMOVE = "converge-device, without a row"  # when it is told to
WRITE = "a write of the row"  # which every replica gets
SHADOW = "record-shadow"
ROLE = "the role that deploys it"


class Fault(NamedTuple):
    """One difference; ``thing_name`` and ``certificate_id`` are empty where it is not about a device or certificate."""

    name: str
    thing_name: str
    certificate_id: str
    detail: str


@dataclass(frozen=True)
class Kind:
    """What is known of a kind of fault: ``depth`` is the shallowest that finds it."""

    depth: str
    repair: str
    means: str


KINDS = {
    "row_missing": Kind("rows", WRITE, "the replica of another region lacks a row that is here"),
    "row_differs": Kind("rows", WRITE, "the replica of another region holds an older version of a row, for minutes"),
    "not_applied": Kind("rows", CONVERGE, "device-status does not say that the row was applied"),
    "failed": Kind("rows", CONVERGE, "the row could not be applied"),
    "thing_missing": Kind("registry", EXACT, "there is no such thing"),
    "thing_unwanted": Kind("registry", EXACT, "there is a thing, and the row says that the device is deleted"),
    "certificate_missing": Kind("registry", EXACT, "a certificate of the row is not registered"),
    "certificate_status": Kind("registry", EXACT, "a certificate has another status than it is to have now"),
    "policy_missing": Kind("registry", EXACT, "a policy of the row is not attached to a certificate"),
    "policy_unwanted": Kind("registry", EXACT, "a policy is attached that the row does not name"),
    "attributes": Kind("registry", EXACT, "the thing has other attributes"),
    "type": Kind("registry", EXACT, "the thing has another type"),
    "groups": Kind("registry", EXACT, "the thing is in other groups"),
    "orphan_thing": Kind("registry", REMOVE, "a thing of the fleet's types has no row in any region"),
    "orphan_certificate": Kind("registry", ADMIT, "an active certificate with a policy of the fleet is in no row"),
    "unattached": Kind("full", EXACT, "a certificate of the row is not attached to its thing"),
    "certificate_unwanted": Kind("full", EXACT, "a certificate that the row does not have is attached to the thing"),
    "shadow": Kind("full", SHADOW, "a shadow differs from what the fleet knows of it; looked at when asked for"),
    "policy_document": Kind("registry", ROLE, "a policy does not say what it is to say"),
    "policy_version": Kind("registry", ROLE, "a policy's default version is not its latest one"),
    "ca_missing": Kind("registry", ROLE, "an issuing CA of the fleet is not registered"),
    "ca_inactive": Kind("registry", ROLE, "an issuing CA of the fleet is INACTIVE or does not register devices"),
    "event_configuration": Kind("registry", ROLE, "an event type that the fleet needs is off"),
    "topic_rule": Kind("registry", ROLE, "a topic rule is gone, disabled or says something else than its stack"),
}


def found_at(depth: str) -> list[str]:
    """The kinds that a look of this depth finds."""
    return [name for name, kind in KINDS.items() if DEPTHS.index(kind.depth) <= DEPTHS.index(depth)]


__all__ = [
    "ADMIT",
    "CONVERGE",
    "DEPTHS",
    "EXACT",
    "KINDS",
    "REMOVE",
    "ROLE",
    "SHADOW",
    "WRITE",
    "Fault",
    "Kind",
    "found_at",
]
