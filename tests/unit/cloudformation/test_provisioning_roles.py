# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS IoT may do to provision a device, which comes by just-in-time provisioning or with a claim."""

from __future__ import annotations

from typing import Any

from tests.unit.templates import template


def role(name: str) -> dict[str, Any]:
    """The properties of the role that AWS IoT provisions as."""
    found: dict[str, Any] = template(name)["Resources"]["ProvisioningRole"]["Properties"]
    return found


def actions(statement: dict[str, Any]) -> set[str]:
    """The actions of a statement."""
    action = statement["Action"]
    return {action} if isinstance(action, str) else set(action)


def test_both_templates_are_applied_with_the_same_rights_and_trust() -> None:
    for part in ("AssumeRolePolicyDocument", "Policies"):
        assert role("jitp")[part] == role("claims")[part]


def test_a_template_makes_neither_policies_nor_certificates_and_takes_nothing_away() -> None:
    [policy] = role("jitp")["Policies"]
    writes = {
        action.removeprefix("iot:"): statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in actions(statement)
        if not action.startswith(("iot:Describe", "iot:Get", "iot:List"))
    }
    attaching = {"AttachPolicy", "AttachPrincipalPolicy", "AttachThingPrincipal"}
    assert set(writes) == attaching | {"CreateThing", "RegisterThing", "UpdateCertificate", "UpdateThing"}
    assert {name for name, resource in writes.items() if resource == "*"} == {"RegisterThing"}
