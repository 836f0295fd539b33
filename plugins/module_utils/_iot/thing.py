# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thing of AWS IoT in one region: made, changed or deleted. Private to the collection.

https://docs.aws.amazon.com/iot/latest/developerguide/thing-registry.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._devices.calls import delete_thing, detach
from ansible_collections.iotops.fleet.plugins.module_utils._devices.removal import DETACHING_CODES
from ansible_collections.iotops.fleet.plugins.module_utils._iot.things import Thing, describe_thing, principals_of
from ansible_collections.iotops.fleet.plugins.module_utils._registry.changes import THING_NAME, Wanted
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import OWN_ATTRIBUTES
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError, api_call, error_code, poll


@dataclass(frozen=True, kw_only=True)
class WantedThing:
    """What is wanted of a thing; None leaves as it is. ``principals`` are ARNs; ``thing_type`` "" stands for none."""

    name: str
    thing_type: str | None = None
    attributes: Mapping[str, str] | None = None
    purge_attributes: bool = True
    principals: list[str] | None = None
    purge_principals: bool = True
    exclusive: bool = False

    def require_sense(self) -> None:
        """Check what AWS would refuse.

        Raises:
            FleetError: the first input that cannot be.

        """
        if not THING_NAME.fullmatch(self.name):
            raise FleetError(f"thing_name: AWS refuses the name {self.name!r}; use 1 to 128 of a-z A-Z 0-9 : _ -")
        Wanted(attributes=self.attributes, thing_type=self.thing_type or None).require_sense()

    def after(self, before: Thing | None) -> Thing:
        """The thing as it is to be."""
        known = before or {"thing_name": self.name, "thing_type_name": "", "attributes": {}, "principals": {}}
        return {
            **known,
            "thing_type_name": known["thing_type_name"] if self.thing_type is None else self.thing_type,
            "attributes": self._attributes(known["attributes"]),
            "principals": self._principals(known["principals"]),
        }

    def _attributes(self, known: Mapping[str, str]) -> dict[str, str]:
        if self.attributes is None:
            return dict(known)
        kept = {name: value for name, value in known.items() if name in OWN_ATTRIBUTES or not self.purge_attributes}
        return {**kept, **self.attributes}

    def _principals(self, known: Mapping[str, str]) -> dict[str, str]:
        if self.principals is None:
            return dict(known)
        kept = {arn: kind for arn, kind in known.items() if arn in self.principals or not self.purge_principals}
        return dict.fromkeys(self.principals, self._kind) | kept

    @property
    def _kind(self) -> str:
        return "EXCLUSIVE_THING" if self.exclusive else "NON_EXCLUSIVE_THING"


def find(iot: Any, thing_name: str) -> Thing | None:
    """The thing with its ``principals``; None when there is none."""
    thing = describe_thing(iot, thing_name)
    principals = principals_of(iot, thing_name) if thing else None
    return None if thing is None or principals is None else {**thing, "principals": principals}


@api_call("create the thing")
def _create(iot: Any, **request: Any) -> None:
    iot.create_thing(**request)


@api_call("update the thing")
def _update(iot: Any, **request: Any) -> None:
    iot.update_thing(**request)


@api_call("attach a principal to the thing")
def _attach(iot: Any, thing_name: str, principal: str, kind: str) -> None:
    iot.attach_thing_principal(thingName=thing_name, principal=principal, thingPrincipalType=kind)


def ensure_present(
    iot: Any, wanted: WantedThing, *, check_mode: bool, timeout: float
) -> tuple[Thing | None, Thing | None]:
    """Make the thing, or bring it to what is wanted; before and after, in check mode the second is the prediction."""
    before = find(iot, wanted.name)
    after = wanted.after(before)
    if check_mode or _state(after) == _state(before):
        return before, after
    if before is None:
        _create(iot, **_creation(after))
    else:
        _change(iot, before, after)
    _attach_and_detach(iot, wanted.name, (before or {}).get("principals", {}), after["principals"])
    seen = poll(
        lambda: find(iot, wanted.name),
        lambda now: _state(now) == _state(after),
        timeout=timeout,
        describe=f"the changes of thing {wanted.name} to show in {iot.meta.region_name}",
    )
    return before, seen


def ensure_absent(iot: Any, wanted: WantedThing, *, check_mode: bool, timeout: float) -> Thing | None:
    """Detach all that the thing has, and delete it; the thing as it was."""
    before = find(iot, wanted.name)
    if before is not None and not check_mode:
        _delete(iot, wanted.name, timeout)
    return before


def _state(thing: Thing | None) -> dict[str, Any] | None:
    return {name: thing[name] for name in ("thing_type_name", "attributes", "principals")} if thing else None


def _creation(thing: Thing) -> dict[str, Any]:
    request: dict[str, Any] = {"thingName": thing["thing_name"]}
    if thing["thing_type_name"]:
        request["thingTypeName"] = thing["thing_type_name"]
    if thing["attributes"]:
        request["attributePayload"] = {"attributes": thing["attributes"]}
    return request


def _change(iot: Any, before: Thing, after: Thing) -> None:
    request: dict[str, Any] = {}
    if after["attributes"] != before["attributes"]:
        request["attributePayload"] = {"attributes": after["attributes"], "merge": False}
    if after["thing_type_name"] != before["thing_type_name"]:
        kind = after["thing_type_name"]
        request |= {"thingTypeName": kind} if kind else {"removeThingType": True}
    if request:
        # All attributes are written: somebody else's change since they were read must not be lost.
        _update(iot, thingName=before["thing_name"], expectedVersion=before["version"], **request)


def _attach_and_detach(iot: Any, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    for arn in after.keys() - before.keys():
        _attach(iot, name, arn, after[arn])
    _detach_all(iot, name, before.keys() - after.keys())


def _detach_all(iot: Any, name: str, arns: Iterable[str]) -> None:
    for arn in sorted(arns):
        detach(iot, name, arn)


def _delete(iot: Any, name: str, timeout: float) -> None:
    """AWS answers a detachment seconds before it is done, and refuses to delete until then."""

    def refusal() -> str:
        _detach_all(iot, name, principals_of(iot, name) or {})
        try:
            delete_thing(iot, name)
        except AnsibleAWSError as error:
            if error_code(error) not in DETACHING_CODES:
                raise
            return str(error)
        return ""

    poll(
        refusal,
        lambda why: not why,
        timeout=timeout,
        describe=lambda why: f"thing {name} to be deleted in {iot.meta.region_name}: {why}",
    )


__all__ = ["WantedThing", "ensure_absent", "ensure_present", "find"]
