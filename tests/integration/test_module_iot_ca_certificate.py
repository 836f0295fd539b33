# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot.ca_certificates import list_all
from tests.certificates import DAY, Issued, issue
from tests.integration.modules import Region

MODULE = "iot_ca_certificate"


@pytest.fixture
def ca(region: Region, other_region: Region, tmp_path: Path) -> Iterator[Issued]:
    made = issue(f"Test Issuing CA {uuid.uuid4()}", ca=True)
    made.write(tmp_path, "ca")
    yield made
    for each in (region, other_region):
        each.run(MODULE, certificate=made.pem, state="absent")


@pytest.fixture
def files(ca: Issued, tmp_path: Path) -> dict[str, str]:
    return ca.write(tmp_path, "ca")


@pytest.fixture
def path(files: dict[str, str]) -> str:
    return files["certificate_path"]


def read(region: Region, path: str) -> dict[str, Any] | None:
    found = region.run(f"{MODULE}_info", certificate_path=path)["ca_certificates"]
    return found[0] if found else None


def test_registers_active_with_auto_registration(region: Region, ca: Issued, path: str):
    wanted = {"certificate_path": path, "tags": {"Application": "demo"}}

    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert read(region, path) is None

    done = region.run(MODULE, **wanted)
    found = read(region, path)
    assert done["changed"]
    assert done["ca_certificate"] == found
    assert predicted["ca_certificate"].items() <= found.items()
    assert found["status"] == "ACTIVE"
    assert found["auto_registration_status"] == "ENABLE"
    assert found["certificate_mode"] == "SNI_ONLY"
    assert found["fingerprint"] == ca.fingerprint
    assert found["tags"] == {"Application": "demo"}
    assert done["diff"]["before"] == {}

    for check in (True, False):
        assert not region.run(MODULE, check=check, **wanted)["changed"]


def test_changes_status_auto_registration_and_tags(region: Region, path: str):
    region.run(MODULE, certificate_path=path, tags={"Application": "demo", "Old": "1"})
    wanted: dict[str, Any] = {
        "certificate_path": path,
        "status": "INACTIVE",
        "auto_registration": False,
        "tags": {"Application": "demo", "New": 2},
    }

    before = read(region, path)
    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert read(region, path) == before

    done = region.run(MODULE, **wanted)
    assert done["changed"]
    for key in ("status", "auto_registration_status", "tags"):
        assert done["ca_certificate"][key] == predicted["ca_certificate"][key]
    assert done["ca_certificate"]["tags"] == {"Application": "demo", "New": "2"}
    assert done["diff"]["after"]["status"] == "INACTIVE"
    for check in (True, False):
        assert not region.run(MODULE, check=check, **wanted)["changed"]


def test_removes_in_the_right_order(region: Region, path: str):
    region.run(MODULE, certificate_path=path)
    gone = {"certificate_path": path, "state": "absent"}

    assert region.run(MODULE, check=True, **gone)["changed"]
    assert read(region, path)["status"] == "ACTIVE"
    assert region.run(MODULE, **gone)["changed"]
    assert read(region, path) is None
    for check in (True, False):
        answer = region.run(MODULE, check=check, **gone)
        assert not answer["changed"]
        assert answer["ca_certificate"] is None


def test_tags_that_are_not_asked_for_stay(region: Region, path: str):
    region.run(MODULE, certificate_path=path, tags={"Application": "demo"})
    assert not region.run(MODULE, certificate_path=path)["changed"]
    assert not region.run(MODULE, certificate_path=path, tags={}, purge_tags=False)["changed"]
    assert read(region, path)["tags"] == {"Application": "demo"}
    assert region.run(MODULE, certificate_path=path, tags={})["changed"]
    assert read(region, path)["tags"] == {}


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_default_mode_proves_possession_of_the_key(region: Region, ca: Issued, tmp_path: Path, passphrase: str | None):
    paths = ca.write(tmp_path, "proved", passphrase=passphrase)
    wanted = {**paths, "mode": "DEFAULT", "private_key_passphrase": passphrase}
    assert region.run(MODULE, **wanted)["ca_certificate"]["certificate_mode"] == "DEFAULT"
    assert not region.run(MODULE, **wanted)["changed"]


def test_a_ca_registered_by_hand_is_adopted(region: Region, ca: Issued, path: str):
    by_hand = region.client("iot").register_ca_certificate(caCertificate=ca.pem, certificateMode="SNI_ONLY")
    done = region.run(MODULE, certificate_path=path)
    assert done["ca_certificate"]["certificate_id"] == by_hand["certificateId"]
    assert done["ca_certificate"]["status"] == "ACTIVE"
    assert done["diff"]["before"]["status"] == "INACTIVE"


def test_the_same_ca_lives_in_two_regions(region: Region, other_region: Region, path: str):
    for each in (region, other_region):
        assert each.run(MODULE, certificate_path=path)["ca_certificate"]["status"] == "ACTIVE"
    region.run(MODULE, certificate_path=path, state="absent")
    assert read(other_region, path)["status"] == "ACTIVE"


def test_the_mode_cannot_change(region: Region, files: dict[str, str]):
    region.run(MODULE, certificate_path=files["certificate_path"])
    for check in (True, False):
        message = region.refusal(MODULE, check=check, mode="DEFAULT", **files)
        assert "SNI_ONLY" in message
        assert "state: absent" in message
    assert read(region, files["certificate_path"])["certificate_mode"] == "SNI_ONLY"


def test_what_cannot_work_is_refused_before_any_change(region: Region, ca: Issued, tmp_path: Path):
    def refused(made: Issued, **more: Any) -> str:
        made.write(tmp_path, "bad")
        return region.refusal(MODULE, certificate=made.pem, **more)

    leaf = issue("dev-1", signer=ca)
    assert "CA:TRUE" in refused(leaf)
    assert "expired" in refused(issue("Old CA", ca=True, start=-9 * DAY, days=1))
    assert "not valid before" in refused(issue("Next CA", ca=True, start=DAY))
    assert "private_key_path" in refused(ca, mode="DEFAULT")
    other_key = leaf.write(tmp_path, "leaf")["private_key_path"]
    assert "not the private key" in refused(ca, mode="DEFAULT", private_key_path=other_key)
    locked = ca.write(tmp_path, "locked", passphrase="open sesame")["private_key_path"]
    assert "passphrase" in refused(ca, mode="DEFAULT", private_key_path=locked)
    wrong = {"private_key_path": locked, "private_key_passphrase": "wrong"}
    assert "passphrase" in refused(ca, mode="DEFAULT", **wrong)
    assert "holds no certificate" in region.refusal(MODULE, certificate="hello")
    assert "holds 2 certificates" in region.refusal(MODULE, certificate=ca.pem + ca.pem)
    assert str(tmp_path / "none.pem") in region.refusal(MODULE, certificate_path=str(tmp_path / "none.pem"))


def test_a_missing_file_is_predicted_in_check_mode_and_nothing_to_remove(region: Region, tmp_path: Path):
    missing = {"certificate_path": str(tmp_path / "none.pem")}
    assert region.run(MODULE, check=True, **missing)["changed"]
    assert not region.run(MODULE, state="absent", **missing)["changed"]


def test_listing_pages(region: Region, path: str, tmp_path: Path):
    others = [issue(f"Other CA {number} {uuid.uuid4()}", ca=True) for number in range(3)]
    try:
        for other in others:
            region.run(MODULE, certificate=other.pem, status="INACTIVE", auto_registration=False)
        region.run(MODULE, certificate_path=path)
        iot = region.client("iot")
        paged = [ca["certificateId"] for ca in list_all(iot, page_size=1)]
        assert sorted(paged) == sorted(ca["certificateId"] for ca in list_all(iot))
        assert len(paged) >= 4
        assert len(region.run(f"{MODULE}_info")["ca_certificates"]) == len(paged)
    finally:
        for other in others:
            region.run(MODULE, certificate=other.pem, state="absent")


def test_info_by_id(region: Region, path: str):
    certificate_id = region.run(MODULE, certificate_path=path)["ca_certificate"]["certificate_id"]
    assert region.run(f"{MODULE}_info", certificate_id=certificate_id)["ca_certificates"] == [read(region, path)]
    assert region.run(f"{MODULE}_info", certificate_id="0" * 64)["ca_certificates"] == []


def test_throttling_is_waited_out(region: Region, sandbox_only: Any, path: str):
    rule = sandbox_only.fault(service="iot", operation="RegisterCACertificate", effect="throttle", times=2)
    try:
        assert region.run(MODULE, certificate_path=path)["changed"]
    finally:
        sandbox_only.clear_faults(rule)


def test_a_registration_whose_answer_was_lost_is_found_again(region: Region, sandbox_only: Any, path: str):
    rule = sandbox_only.fault(service="iot", operation="RegisterCACertificate", effect="fail-after", times=1)
    try:
        assert region.run(MODULE, certificate_path=path)["ca_certificate"]["status"] == "ACTIVE"
    finally:
        sandbox_only.clear_faults(rule)
    assert not region.run(MODULE, certificate_path=path)["changed"]


def test_an_error_of_aws_is_one_line(region: Region, sandbox_only: Any, path: str):
    fault = {"error": "UnauthorizedException", "status": 401, "message": "no", "effect": "error"}
    rule = sandbox_only.fault(service="iot", operation="ListCACertificates", **fault)
    try:
        message = region.refusal(MODULE, certificate_path=path)
    finally:
        sandbox_only.clear_faults(rule)
    assert "list the CA certificates" in message
    assert "UnauthorizedException" in message


def test_the_key_never_shows(region: Region, files: dict[str, str], ca: Issued):
    answers = [region.attempt(MODULE, mode="DEFAULT", private_key_passphrase="secret phrase", **files)]
    answers.append(region.attempt(MODULE, mode="DEFAULT", **files))
    for body in ca.key_pem().splitlines()[1:-1]:
        assert body not in str(answers)
    assert "secret phrase" not in str(answers)


def test_a_template_is_given_kept_and_taken_away(region: Region, path: str):
    region.run(MODULE, certificate_path=path)
    wanted = {"certificate_path": path, "provisioning_template": "demo-jitp"}
    assert region.run(MODULE, check=True, **wanted)["ca_certificate"]["provisioning_template"] == "demo-jitp"
    assert read(region, path)["provisioning_template"] == ""

    assert region.run(MODULE, **wanted)["changed"]
    assert read(region, path)["provisioning_template"] == "demo-jitp"
    assert not region.run(MODULE, **wanted)["changed"]
    assert not region.run(MODULE, certificate_path=path)["changed"], "who does not ask for a template leaves it"

    done = region.run(MODULE, certificate_path=path, provisioning_template="")
    assert done["changed"]
    assert [done["diff"][side]["provisioning_template"] for side in ("before", "after")] == ["demo-jitp", ""]
    assert read(region, path)["auto_registration_status"] == "ENABLE"
    assert not region.run(MODULE, certificate_path=path, provisioning_template="")["changed"]
