# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.certificates import issue, new_key
from tests.integration.modules import Region
from tests.requests import forged_request, make_request, weak_request

MODULE = "iot_certificate"
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}})


@pytest.fixture
def named(region: Region) -> Iterator[dict[str, str]]:
    """A policy and a thing."""
    iot, name = region.client("iot"), f"certified-{uuid.uuid4().hex[:8]}"
    iot.create_policy(policyName=name, policyDocument=ANYTHING)
    iot.create_thing(thingName=name)
    yield {"policy": name, "thing": name}
    iot.delete_thing(thingName=name)
    iot.delete_policy(policyName=name)


@pytest.fixture
def files(region: Region, other_region: Region, named: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """Paths of a request and its certificate, which goes before what it is attached to."""
    assert named
    paths = {"csr_path": str(tmp_path / "request.csr"), "certificate_path": str(tmp_path / "cert.pem")}
    (tmp_path / "request.csr").write_text(make_request("sensor"))
    yield paths
    for each in (region, other_region):
        each.run(MODULE, certificate_path=paths["certificate_path"], state="absent")


def read(region: Region, path: str) -> dict[str, Any] | None:
    found = region.run(f"{MODULE}_info", certificate_path=path)["certificates"]
    return found[0] if found else None


def listed(region: Region) -> set[str]:
    pages = region.client("iot").get_paginator("list_certificates").paginate()
    return {each["certificateId"] for page in pages for each in page["certificates"]}


@pytest.mark.defect("S4-5")
def test_has_a_request_signed_once(region: Region, files: dict[str, str], named: dict[str, str]):
    wanted = {**files, "policies": [named["policy"]], "things": [named["thing"]]}
    path, before = files["certificate_path"], listed(region)

    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert listed(region) == before
    assert not Path(path).exists()

    done = region.run(MODULE, **wanted)
    assert done["changed"]
    assert done["certificate"] == read(region, path)
    assert predicted["certificate"].items() <= done["certificate"].items()
    assert done["certificate"]["status"] == "ACTIVE"
    assert done["certificate"]["not_after"] == "2049-12-31T23:59:59Z"
    assert done["certificate_arn"].endswith(f":cert/{done['certificate_id']}")
    assert listed(region) - before == {done["certificate_id"]}
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o644
    made = x509.load_pem_x509_certificate(Path(path).read_bytes())
    asked = x509.load_pem_x509_csr(Path(files["csr_path"]).read_bytes())
    assert made.public_key() == asked.public_key()

    for check in (True, False):
        again = region.run(MODULE, check=check, **wanted)
        assert not again["changed"]
        assert again["certificate_id"] == done["certificate_id"]


def test_changes_status_policies_and_things(region: Region, files: dict[str, str], named: dict[str, str]):
    path = files["certificate_path"]
    region.run(MODULE, policies=[named["policy"]], things=[named["thing"]], **files)
    assert not region.run(MODULE, policies=[], purge_policies=False, **files)["changed"]
    wanted: dict[str, Any] = {"certificate_path": path, "status": "INACTIVE", "policies": [], "things": []}

    before = read(region, path)
    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["changed"]
    assert read(region, path) == before

    done = region.run(MODULE, **wanted)
    assert done["certificate"] == predicted["certificate"] == read(region, path)
    assert done["diff"]["before"]["policies"] == [named["policy"]]
    for check in (True, False):
        assert not region.run(MODULE, check=check, **wanted)["changed"]


def test_removes_an_active_one_that_is_attached(region: Region, files: dict[str, str], named: dict[str, str]):
    region.run(MODULE, policies=[named["policy"]], things=[named["thing"]], **files)
    gone = {"certificate_path": files["certificate_path"], "state": "absent"}

    assert region.run(MODULE, check=True, **gone)["changed"]
    assert read(region, files["certificate_path"])["status"] == "ACTIVE"
    assert region.run(MODULE, **gone)["changed"]
    assert read(region, files["certificate_path"]) is None
    assert Path(files["certificate_path"]).exists()
    for check in (True, False):
        answer = region.run(MODULE, check=check, **gone)
        assert not answer["changed"]
        assert answer["certificate"] is None


def test_the_same_certificate_comes_into_another_region_without_its_ca(
    region: Region, other_region: Region, files: dict[str, str]
):
    made = region.run(MODULE, **files)
    assert made["certificate"]["certificate_mode"] == "DEFAULT"

    copied = other_region.run(MODULE, **files)
    assert copied["certificate_id"] == made["certificate_id"]
    assert copied["certificate"]["status"] == "ACTIVE"
    assert copied["certificate"]["certificate_mode"] == "SNI_ONLY"
    assert not other_region.run(MODULE, **files)["changed"]


def test_a_certificate_of_a_registered_ca_is_registered_with_it(region: Region):
    ca = issue(f"CA {uuid.uuid4()}", ca=True)
    leaf = issue("dev-1", signer=ca)
    region.run("iot_ca_certificate", certificate=ca.pem, auto_registration=False)
    try:
        done = region.run(MODULE, certificate=leaf.pem)
        assert done["certificate"]["ca_certificate_id"] == ca.fingerprint
        assert done["certificate_path"] is None
    finally:
        region.run(MODULE, certificate=leaf.pem, state="absent")
        region.run("iot_ca_certificate", certificate=ca.pem, state="absent")


def test_what_is_revoked_stays_so(region: Region, files: dict[str, str]):
    region.run(MODULE, **files)
    assert region.run(MODULE, status="REVOKED", **files)["certificate"]["status"] == "REVOKED"
    for check in (True, False):
        message = region.refusal(MODULE, check=check, **files)
        assert "REVOKED" in message
        assert "another certificate" in message


@pytest.mark.defect("S4-5")
def test_a_run_that_was_killed_leaves_nothing_active_and_is_finished(
    region: Region, sandbox_only: Any, files: dict[str, str], named: dict[str, str]
):
    """The call after the certificate was stored fails: the policy cannot be attached."""
    fault = {"error": "UnauthorizedException", "status": 401, "message": "no", "effect": "error"}
    rule = sandbox_only.fault(service="iot", operation="AttachPolicy", **fault)
    try:
        assert "attach a policy" in region.refusal(MODULE, policies=[named["policy"]], **files)
    finally:
        sandbox_only.clear_faults(rule)
    left = read(region, files["certificate_path"])
    assert left["status"] == "INACTIVE"

    done = region.run(MODULE, policies=[named["policy"]], **files)
    assert done["changed"]
    assert done["certificate_id"] == left["certificate_id"]


@pytest.mark.parametrize(
    ("request_pem", "why"),
    [
        ("hello", "not a readable certificate request"),
        (forged_request("sensor"), "not signed with its own key"),
        (weak_request("sensor"), "RSA key of 1024 bits"),
    ],
    ids=["text", "forged", "weak"],
)
def test_a_request_that_aws_refuses_is_told_what_is_wrong(
    region: Region, files: dict[str, str], request_pem: str, why: str
):
    Path(files["csr_path"]).write_text(request_pem)
    before = listed(region)
    for check in (True, False):
        message = region.refusal(MODULE, check=check, **files)
        assert files["csr_path"] in message
        assert why in message
    assert listed(region) == before


def test_a_certificate_of_another_key_is_refused(region: Region, files: dict[str, str]):
    other = issue("sensor", key=new_key())
    Path(files["certificate_path"]).write_text(other.pem)
    assert "another key" in region.refusal(MODULE, **files)
    assert read(region, files["certificate_path"]) is None


def test_a_missing_file_is_predicted_in_check_mode_and_nothing_to_remove(region: Region, tmp_path: Path):
    missing = {"certificate_path": str(tmp_path / "none.pem")}
    assert region.run(MODULE, check=True, **missing)["changed"]
    assert str(tmp_path / "none.pem") in region.refusal(MODULE, **missing)
    assert not region.run(MODULE, state="absent", **missing)["changed"]
