# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch that DynamoDB read in part decides nothing."""

from __future__ import annotations

from typing import Any

import pytest
from jsonata import Jsonata

from tests.unit.asl.definitions import definition, tasks

ID = "a" * 64
REVOKED = {"Key": {"S": "thing:lamp"}}
UNREAD = {"${RevocationsTable}": {"Keys": [REVOKED]}}


def verdict(revocations: list[Any], unprocessed: dict[str, Any]) -> str:
    """What register-device thinks of a new device."""
    expression = tasks("register-device")["ReadRow"]["Assign"]["verdict"]
    compiled = Jsonata.jsonata(expression.removeprefix("{%").removesuffix("%}").strip())
    compiled.assign("thingName", "lamp")
    compiled.assign("certificateId", ID)
    tables = {"${InventoryTable}": [], "${AllowListTable}": [], "${RevocationsTable}": revocations}
    compiled.assign("states", {"result": {"Responses": tables, "UnprocessedKeys": unprocessed}})
    return str(compiled.evaluate(None))


def test_a_new_device_is_told_from_a_revoked_one_and_from_one_that_is_not_known_yet() -> None:
    assert verdict([], {}) == "new"
    assert verdict([REVOKED], {}) == "the device is REVOKED"
    assert verdict([{"Key": {"S": f"id:{ID}"}}], {}) == "the certificate is revoked"
    assert verdict([], UNREAD) == "unread"


@pytest.mark.parametrize(
    ("machine", "reader", "choice"),
    [("register-device", "ReadRow", "Decide"), ("converge-device", "ReadRevocations", "IsDeviceWanted")],
)
def test_what_was_not_read_is_read_again_and_not_for_ever(machine: str, reader: str, choice: str) -> None:
    states = definition(machine)["States"]
    assert states[reader]["Next"] == choice
    later = [each["Next"] for each in states[choice]["Choices"] if "unread" in each["Condition"]]
    assert later[0] == "RecordError"
    assert states[later[1]] | {"Comment": ""} == {"Comment": "", "Type": "Wait", "Seconds": 2, "Next": reader}
