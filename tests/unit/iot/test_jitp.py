# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of just-in-time provisioning, and the choices that cannot work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot import jitp
from tests.certificates import issue

CA, OTHER = issue("Demo JITP CA", ca=True), issue("Demo Issuing CA G1", ca=True)


def registered(*, registers: str = "ENABLE", template: str = "demo-jitp") -> list[dict[str, Any]]:
    return [{"auto_registration_status": registers, "provisioning_template": template}]


@pytest.fixture
def choices(tmp_path: Path) -> jitp.Choices:
    paths = {name: tmp_path / f"{name}.pem" for name in ("jitp", "issuing")}
    paths["jitp"].write_text(CA.pem)
    paths["issuing"].write_text(OTHER.pem)
    return jitp.Choices(
        application="demo",
        attributes={"unit": "OrganizationalUnit"},
        subject={"organization": "demo", "organizational_unit": "Pumps"},
        certificate=str(paths["jitp"]),
        generations=[str(paths["issuing"])],
    )


def test_the_template_declares_what_it_uses_and_nothing_else():
    body = jitp.template("demo", {"unit": "OrganizationalUnit", "land": "Country", "nation": "Country"})
    parts = {name.removeprefix(jitp.PREFIX) for name in body["Parameters"]}
    assert parts == {"CommonName", "Id", "OrganizationalUnit", "Country"}
    assert body["Resources"]["thing"]["Properties"]["AttributePayload"]["nation"] == {"Ref": f"{jitp.PREFIX}Country"}
    assert set(jitp.template("demo", {})["Parameters"]) == {f"{jitp.PREFIX}CommonName", f"{jitp.PREFIX}Id"}


@pytest.mark.defect("S3-11")
def test_things_get_the_fleets_own_type_and_policy_and_a_thing_that_is_there_keeps_what_it_has():
    resources = jitp.template("demo", {})["Resources"]
    assert resources["policy"]["Properties"] == {"PolicyName": "demo-device"}
    assert resources["thing"]["Properties"]["ThingTypeName"] == "demo-device"
    assert resources["thing"]["OverrideSettings"] == {
        "AttributePayload": "MERGE", "ThingTypeName": "DO_NOTHING", "ThingGroups": "DO_NOTHING",
    }  # fmt: skip


@pytest.mark.parametrize("known", [[], registered(), registered(registers="DISABLE", template="")])
def test_a_ca_of_its_own_is_taken(choices: jitp.Choices, known: list[dict[str, Any]]):
    assert jitp.problems(choices, known, "eu-west-1") == []


def test_a_generation_of_the_issuing_ca_is_refused_whatever_its_file_is_called(choices: jitp.Choices, tmp_path: Path):
    Path(choices.generations[0]).write_text(f"text before it\n{CA.pem}\n")
    [problem] = jitp.problems(choices, [], "eu-west-1")
    assert f"is the certificate of {tmp_path / 'issuing.pem'}, whose devices register-device lets in" in problem


def test_a_ca_whose_devices_are_registered_without_a_template_is_refused(choices: jitp.Choices):
    [problem] = jitp.problems(choices, registered(template=""), "us-west-2")
    assert problem.startswith("jitp_authority: us-west-2 registers the devices of this CA without a template")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"application": "x" * 32}, "has 37 characters"),
        ({"attributes": {"fleetDigest": "Country"}}, "fleetDigest is the fleet's own"),
        ({"attributes": {"a b": "Organization"}}, "no name of an attribute"),
        ({"attributes": {"town": "Locality"}}, "town is Locality, which AWS IoT has no part for"),
        ({"attributes": {"land": "Country"}}, "land is Country, and jitp_subject has no country"),
        ({"subject": {"organizational_unit": "two words"}}, "is 'two words'"),
    ],
)
def test_what_would_leave_every_device_waiting_is_refused(choices: jitp.Choices, changes: dict[str, Any], words: str):
    [problem] = jitp.problems(dataclasses.replace(choices, **changes), [], "eu-west-1")
    assert words in problem
    assert problem.startswith("jitp_")
