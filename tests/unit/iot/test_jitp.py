# SPDX-License-Identifier: GPL-3.0-or-later
"""The template of just-in-time provisioning, and the choices that cannot work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot import jitp
from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from tests.certificates import issue

CA, OTHER = issue("Demo JITP CA", ca=True), issue("Demo Issuing CA G1", ca=True)


def registered(
    *, registers: str = "ENABLE", template: str = "demo-jitp", mode: str = "SNI_ONLY", ca: Any = CA
) -> list[dict[str, Any]]:
    known = {"certificate_id": "c1", "fingerprint": fingerprint(ca.pem), "certificate_mode": mode}
    return [{**known, "auto_registration_status": registers, "provisioning_template": template}]


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
    bare = jitp.template("demo", {})
    assert set(bare["Parameters"]) == {f"{jitp.PREFIX}CommonName", f"{jitp.PREFIX}Id"}
    assert set(bare["Resources"]["thing"]["Properties"]) == {"ThingName", "ThingTypeName"}
    assert "AttributePayload" not in bare["Resources"]["thing"]["OverrideSettings"]


@pytest.mark.defect("S3-11")
def test_things_get_the_fleets_own_type_and_policy_and_a_thing_that_is_there_keeps_what_it_has():
    resources = jitp.template("demo", {"land": "Country"})["Resources"]
    assert resources["policy"]["Properties"] == {"PolicyName": "demo-device"}
    assert resources["thing"]["Properties"]["ThingTypeName"] == "demo-device"
    assert resources["thing"]["OverrideSettings"] == {
        "AttributePayload": "MERGE", "ThingTypeName": "DO_NOTHING", "ThingGroups": "DO_NOTHING",
    }  # fmt: skip


@pytest.mark.parametrize(
    "known", [[], registered(), registered(registers="DISABLE", template=""), registered(template="", ca=OTHER)]
)
def test_a_ca_of_its_own_is_taken(choices: jitp.Choices, known: list[dict[str, Any]]):
    assert jitp.problems(choices, known, "eu-west-1") == []


def test_a_generation_of_the_issuing_ca_is_refused_whatever_its_file_is_called(choices: jitp.Choices, tmp_path: Path):
    Path(choices.generations[0]).write_text(f"text before it\n{CA.pem}\n")
    [problem] = jitp.problems(choices, [], "eu-west-1")
    assert f"is the certificate of {tmp_path / 'issuing.pem'}, whose devices register-device lets in" in problem


def test_a_ca_whose_devices_are_registered_without_a_template_is_refused(choices: jitp.Choices):
    [problem] = jitp.problems(choices, registered(template=""), "us-west-2")
    assert problem.startswith("jitp_pki_dir: us-west-2 registers the devices of")
    assert "without a template" in problem


def test_another_mode_than_the_one_that_aws_iot_knows_the_ca_in_is_refused(choices: jitp.Choices):
    [problem] = jitp.problems(choices, registered(mode="DEFAULT"), "eu-west-1")
    assert (
        problem
        == "jitp_mode: SNI_ONLY, and eu-west-1 knows the CA as DEFAULT, which AWS IoT cannot change: use DEFAULT"
    )


@pytest.mark.parametrize("there", [True, False])
def test_the_template_is_not_taken_from_the_ca_that_has_it(choices: jitp.Choices, *, there: bool):
    if not there:
        Path(choices.certificate).unlink()
    [problem] = jitp.problems(choices, registered(ca=issue("Demo JITP CA", ca=True)), "eu-west-1")
    assert problem.startswith("jitp_pki_dir: eu-west-1 provisions the devices of the CA c1 by demo-jitp")


def test_a_region_without_ingestion_is_refused(choices: jitp.Choices):
    [problem] = jitp.problems(dataclasses.replace(choices, ingestion=False), [], "eu-west-1")
    assert problem.startswith("jitp_application: eu-west-1 has no stack demo-ingestion")


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
