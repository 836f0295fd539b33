# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator wants of a device, as changes of its row. No AWS calls. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils._registry.rotation import is_awaited
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import (
    OWN_ATTRIBUTES,
    Row,
    last_not_after,
    moment,
    revocation_keys,
)
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# https://docs.aws.amazon.com/iot/latest/apireference/API_AttributePayload.html
ATTRIBUTE_NAME = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}")
ATTRIBUTE_VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{1,800}")
# https://docs.aws.amazon.com/iot/latest/apireference/API_CreateThingGroup.html, API_CreatePolicy.html
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
POLICY_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html: 50 attributes with a thing type, two of them our own
MAX_ATTRIBUTES = 50 - len(OWN_ATTRIBUTES)
MAX_THING_GROUPS = 10
MAX_POLICIES = 10
# A deleted row is kept at least so long: a region that is cut off has to hear of it.
KEPT_AT_LEAST = timedelta(days=30)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a device; None leaves as it is.

    ``certificates`` maps certificate ids to ACTIVE, INACTIVE or REVOKED. Without ``purge_attributes`` attributes that
    are not named stay.
    """

    state: str | None = None
    reason: str | None = None
    attributes: Mapping[str, str] | None = None
    purge_attributes: bool = True
    thing_type: str | None = None
    thing_groups: list[str] | None = None
    policy_names: list[str] | None = None
    certificates: Mapping[str, str] | None = None

    def require_sense(self) -> None:
        """Check what AWS would refuse, in every region and later.

        Raises:
            FleetError: the first input that cannot be.

        """
        for name, value in (self.attributes or {}).items():
            _require_attribute(name, value)
        _require_names("thing_groups", self.thing_groups or [], THING_NAME, MAX_THING_GROUPS)
        _require_names("policy_names", self.policy_names or [], POLICY_NAME, MAX_POLICIES)
        _require_names("thing_type", [] if self.thing_type is None else [self.thing_type], THING_NAME, 1)


def _require_attribute(name: str, value: str) -> None:
    if name in OWN_ATTRIBUTES:
        raise FleetError(f"attributes: {name} is written by convergence; leave it out")
    if not ATTRIBUTE_NAME.fullmatch(name):
        raise FleetError(f"attributes: AWS refuses the name {name!r}; use 1 to 128 of a-z A-Z 0-9 _ . , @ / : # -")
    if not ATTRIBUTE_VALUE.fullmatch(value):
        raise FleetError(
            f"attributes: AWS refuses the value {value!r} of {name}; use 1 to 800 of a-z A-Z 0-9 _ . , @ / : # = [ ] -"
        )


def _require_names(option: str, names: list[str], form: re.Pattern[str], most: int) -> None:
    if len(set(names)) > most:
        raise FleetError(f"{option}: {len(set(names))} are more than the {most} that AWS allows; take some away")
    for name in names:
        if not form.fullmatch(name):
            raise FleetError(f"{option}: AWS refuses the name {name!r}; use 1 to 128 of {form.pattern.split(']')[0]}]")


def changes(row: Row, wanted: Wanted, now: datetime) -> dict[str, Any]:
    """Return the attributes of ``row`` that differ from what is wanted, with their new values (None: to be removed).

    Raises:
        FleetError: a device that is REVOKED or DELETED cannot become that, or has no such certificate.

    """
    after: dict[str, Any] = {
        "Attributes": _attributes(row, wanted),
        "Certificates": _certificates(row, wanted.certificates or {}, now),
        "PolicyNames": None if wanted.policy_names is None else sorted(set(wanted.policy_names)),
        "ThingGroups": None if wanted.thing_groups is None else sorted(set(wanted.thing_groups)),
        "ThingTypeName": wanted.thing_type,
        "State": wanted.state,
        "Reason": wanted.reason,
    }
    differing = {name: value for name, value in after.items() if value is not None and not _same(row.get(name), value)}
    _require_way(row, differing)
    if "State" in differing:
        differing["Reason"] = wanted.reason
        if wanted.state == "DELETED":
            differing["ExpiresAt"] = _expires_at(row, now)
    return differing


def _require_way(row: Row, differing: Mapping[str, Any]) -> None:
    name, state = row["ThingName"], differing.get("State")
    if row["State"] == "REVOKED" and state in ("ACTIVE", "SUSPENDED"):
        raise FleetError(f"state={state}: {name} is REVOKED, which is final; issue a device with another name")
    if row["State"] == "DELETED" and differing:
        raise FleetError(
            f"{name} is DELETED, which is final; let it connect with a new certificate and release that "
            "(playbooks/release_device.yml)"
        )


def _attributes(row: Row, wanted: Wanted) -> dict[str, str] | None:
    if wanted.attributes is None:
        return None
    kept = {} if wanted.purge_attributes else row.get("Attributes") or {}
    after = {**kept, **wanted.attributes}
    if len(after) > MAX_ATTRIBUTES:
        raise FleetError(f"attributes: {len(after)} are more than the {MAX_ATTRIBUTES} that AWS allows; take some away")
    return after


def _certificates(row: Row, statuses: Mapping[str, str], now: datetime) -> dict[str, Row]:
    certificates: dict[str, Row] = dict(row["Certificates"])
    for certificate_id, status in statuses.items():
        if certificate_id not in certificates:
            raise FleetError(
                f"certificate_id={certificate_id}: {row['ThingName']} has {', '.join(certificates) or 'none'}"
            )
        entry = certificates[certificate_id]
        was_revoked = "RevokeAt" in entry and moment(entry["RevokeAt"]) <= now
        if (entry["Status"] == "REVOKED" or was_revoked) and status != "REVOKED":
            raise FleetError(
                f"certificate_state={status}: {certificate_id} is REVOKED, which is final; issue a new one"
            )
        if status == "ACTIVE" and is_awaited(entry) and moment(entry["PresentBy"]) <= now:
            raise FleetError(
                f"certificate_state=ACTIVE: the device did not show up with {certificate_id} by {entry['PresentBy']};"
                " let it rotate again (playbooks/rotate_devices.yml)"
            )
        gone = ("RetireAt", "RevokeAt") if status == "ACTIVE" else ()
        certificates[certificate_id] = {
            **{name: value for name, value in entry.items() if name not in gone},
            "Status": status,
        }
    return certificates


def _same(before: Any, after: Any) -> bool:
    return sorted(before or []) == after if isinstance(after, list) else before == after


def _expires_at(row: Row, now: datetime) -> int:
    last = last_not_after(row)
    at = now + KEPT_AT_LEAST if last is None else max(last + timedelta(days=1), now + KEPT_AT_LEAST)
    return int(at.timestamp())


def keys_to_revoke(row: Row, certificate_ids: list[str]) -> list[str]:
    """The keys of ``revocations`` that stand for the row's state, or for the certificates named of it."""
    if row["State"] == "REVOKED":
        return revocation_keys(row)
    chosen = {**row, "Certificates": {each: row["Certificates"][each] for each in certificate_ids}}
    return revocation_keys(chosen)[1:]


__all__ = ["Wanted", "changes", "keys_to_revoke"]
