"""One look at a thing: what somebody changed in it becomes a change of its row."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import Any

import definitions_here
import merging
import rows
from aws import aws
from definitions import OWN
from observing import comes_by_a_template, describe, observe
from rows_table import REGION, change, put, read

Row = dict[str, Any]


class Look:
    """The look ``number`` at the thing ``name`` because of an event of type ``kind`` ("": for no event).

    ``thing_id`` is that of the thing which the event is about; "" where it does not say.

    ``is_complete`` says afterwards that the thing has all that a device needs, and is what its row says.
    """

    def __init__(
        self, name: str, *, kind: str = "", thing_id: str = "", number: int = 0, is_last: bool = False
    ) -> None:
        self._name = name
        self._kind = kind
        self._thing_id = thing_id
        self._number = number
        self._is_last = is_last
        self._begin()

    def _begin(self) -> None:
        self._again, self._converge, self._force, self._exact = True, False, False, False
        self.is_complete = False

    def take(self) -> bool:
        """Change the row, have it converged here; whether a later look may see more."""
        change("device-inventory", self._decide, ThingName=self._name)
        if self._converge:
            converge(self._name, force=self._force, exact=self._exact)
        return self._again

    def _decide(self, row: Row) -> Row | None:
        self._begin()
        status = read("device-status", ThingName=self._name)
        if row and not is_applied(row, status):
            self._converge = True
            return None
        thing = describe(self._name)
        if thing is None:
            self._of_no_thing(row, status)
            return None
        if not row:
            return self._of_a_new_thing(thing)
        if row["State"] == "DELETED":
            return None if status.get("ThingId") else self._of_a_revived_thing(thing, row)
        return self._of_a_known_thing(thing, row, status)

    def _of_no_thing(self, row: Row, status: Row) -> None:
        """Its deletion has an event of its own; what vanished without one is made again, but not while one may come."""
        vanished = row and row["State"] in ("ACTIVE", "SUSPENDED") and status.get("ThingId")
        self._converge = self._force = bool(vanished and not self._kind and self._is_last)

    def _of_a_new_thing(self, thing: Row) -> Row | None:
        if rows.is_as_written(thing.get("attributes") or {}, thing.get("thingTypeName") or ""):
            return None  # its row is gone, and the thing should be
        return self._defined(merging.new_row(observe(thing, {}), arn=thing["thingArn"], **_common()), {})

    def _of_a_revived_thing(self, thing: Row, row: Row) -> Row | None:
        """Somebody made it again; but not AWS IoT by a template, which asks nobody, and attaches a little later."""
        seen = observe(thing, {})
        is_its_last = self._is_last and self._thing_id in ("", thing["thingId"])
        if not seen["Certificates"] and not is_its_last:
            return None
        if comes_by_a_template(seen):
            self._converge = self._exact = True
            return None
        return self._defined(merging.revived(row, seen, arn=thing["thingArn"], **_common()), row)

    def _of_a_known_thing(self, thing: Row, row: Row, status: Row) -> Row | None:
        seen, now, thing_id = observe(thing, row), datetime.now(UTC), status.get("ThingId", "")
        applied = status.get("Applied", {}) if thing_id == seen["ThingId"] else {}
        changed = merging.changes(row, applied, seen, settled=merging.is_settled(status, now), **_common())
        self._force = merging.has_drifted({**row, **changed}, thing_id, seen, now)
        if changed:
            return self._defined(changed, row)
        self._converge = self._force
        definitions_here.look_at_policies(seen["PolicyNames"])
        # A membership that was applied is convergence's own. Whoever makes a thing by hand has other events too.
        self._again = self._force or self._kind != "THING_GROUP_MEMBERSHIP_EVENT"
        is_whole = row.get("CertificateId") in seen["Certificates"] and bool(seen["PolicyNames"])
        self.is_complete = is_whole and self._number > 0 and not self._force
        return None

    def _defined(self, changed: Row, row: Row) -> Row:
        """The change, after all that it refers to was sent to the other regions."""
        self._converge = True
        definitions_here.look_at_references(changed)
        for key in merging.revoked_here(row, changed):
            now = rows.timestamp(datetime.now(UTC))
            put("revocations", {"Key": key, "Reason": f"revoked in {REGION}", "RevokedAt": now})
        return changed


def _common() -> Row:
    return {"default_type": OWN, "region": REGION, "now": datetime.now(UTC)}


def is_applied(row: Row, status: Row) -> bool:
    """Whether this region's registry was made what the row says."""
    return bool(status.get("AppliedWriteId") == row["WriteId"]) and "Error" not in status


def converge(name: str, *, force: bool = False, exact: bool = False) -> None:
    """Start convergence of the device in this region; the others hear of the row from their streams."""
    event = {"ThingName": name} | ({"Force": True} if force else {}) | ({"Exact": True} if exact else {})
    aws("stepfunctions").start_execution(stateMachineArn=os.environ["CONVERGE_MACHINE"], input=json.dumps(event))
