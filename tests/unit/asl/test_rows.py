# SPDX-License-Identifier: GPL-3.0-or-later
"""What converge-device takes a row to mean is what rows.py says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from ministack.services import stepfunctions

from ansible_collections.iotops.fleet.plugins.module_utils._registry import rows
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import plain_item, typed_item
from tests.unit.asl.definitions import definition
from tests.unit.registry.generated import NOW, REGIONS, ROWS

# An expression takes some hundredths of a second, so few examples, and none of them made smaller.
FEW = settings(max_examples=20, deadline=None, phases=[Phase.generate])
HERE = REGIONS[0]
STATES: dict[str, Any] = json.loads(json.dumps(definition("converge-device")["States"]).replace("${Region}", HERE))


def evaluated(template: Any, *, given: Any = None, result: Any = None, **variables: Any) -> Any:
    """The value of an expression, or of several in a structure; ``given`` is the execution's input."""
    context = {"variables": variables, "Execution": {"Input": given}}
    return stepfunctions._apply_jsonata_template(template, given, context, result=result)


def leads_to(state: str, target: str, **values: Any) -> bool:
    """Whether the first choice of the state that leads to ``target`` holds."""
    choice = next(each for each in STATES[state]["Choices"] if each["Next"] == target)
    return bool(evaluated(choice["Condition"], **values))


@settings(FEW)
@given(ROWS, ROWS)
def test_a_write_was_lost_when_the_new_row_does_not_descend_from_the_old_one(old: rows.Row, new: rows.Row) -> None:
    event = {"ThingName": "t", "OldImage": typed_item(old), "NewImage": typed_item(new)}
    assert leads_to("WasAWriteLost", "ReadWinner", given=event) == (not rows.descends(new, old))


def test_without_images_nothing_was_lost() -> None:
    assert not leads_to("WasAWriteLost", "ReadWinner", given={"ThingName": "t"})


@settings(FEW)
@given(ROWS, ROWS)
def test_it_is_lost_no_more_when_the_row_descends_from_it_by_now(old: rows.Row, row: rows.Row) -> None:
    event = {"ThingName": "t", "OldImage": typed_item(old)}
    found = leads_to("IsItStillLost", "TakeLease", given=event, winner=typed_item(row), merges=1)
    assert found == rows.descends(row, old)


@settings(FEW)
@given(ROWS, ROWS)
def test_rows_are_merged_alike(winner: rows.Row, loser: rows.Row) -> None:
    event = {"ThingName": "t", "OldImage": typed_item(loser)}
    item = STATES["MergeRows"]["Arguments"]["Item"]
    made = plain_item(evaluated(item, given=event, winner=typed_item(winner)))
    wanted = {**rows.merge(winner, loser), "UpdatedRegion": HERE, "UpdatedAt": made["UpdatedAt"]}
    assert made == wanted
    assert rows.moment(made["UpdatedAt"]) >= NOW


@settings(FEW)
@given(ROWS, st.sets(st.sampled_from(["thing:t", "id:c1", "serial:f1:5ec2", "id:other"])))
def test_a_row_means_the_same(row: rows.Row, revoked: set[str]) -> None:
    assume(row["Certificates"])
    row = {**row, "ThingTypeName": "fleet-device"}
    read = evaluated(STATES["ReadRow"]["Assign"], result={"Item": typed_item(row)}, applied={})
    known = {"thingName": "t", "certificates": read["certificates"]}
    [(table, asked)] = STATES["ReadRevocations"]["Arguments"]["RequestItems"].items()
    keys = [each["Key"]["S"] for each in evaluated(asked["Keys"], **known)]
    assert sorted(keys) == sorted(rows.revocation_keys(row))
    found = [{"Key": {"S": key}} for key in keys if key in revoked]
    answer = {"Responses": {table: found}, "UnprocessedKeys": {}}
    after = evaluated(STATES["ReadRevocations"]["Assign"], result=answer, state=read["state"], **known)
    statuses = {each["id"]: each["status"] for each in after["certificates"]}
    assert statuses == {key: rows.effective_status(row, key, revoked, NOW) for key in row["Certificates"]}
    due = rows.due_at(row, NOW)
    assert read["dueAt"] == (int(due.timestamp()) if due else 0)
    current = {"certificateId": row["CertificateId"]} if "CertificateId" in row else {}
    digest = rows.digest({**row["Attributes"], **current}, "fleet-device")
    written = {**row["Attributes"], **current, "fleetDigest": digest, "fleetNumber": rows.fleet_number(digest)}
    assert read["attributes"] == written
    assert rows.is_as_written(written, "fleet-device")
