# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issued, issue, new_key
from tests.integration.modules import Region

MODULE = "secretsmanager_private_key"


@pytest.fixture
def name(region: Region) -> Iterator[str]:
    unique = f"demo-{uuid.uuid4()}"
    yield unique
    region.run(MODULE, name=unique, state="absent")


@pytest.fixture(scope="module")
def authority() -> Issued:
    return issue("Demo Issuing CA G1", ca=True, key=new_key())


def value(region: Region, name: str) -> str:
    return str(region.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


def test_the_secret_holds_the_key_decrypted_and_nobody_is_shown_it(
    region: Region, name: str, authority: Issued, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {
        "name": name,
        **authority.write(tmp_path, "ca", passphrase="correct horse"),
        "private_key_passphrase": "correct horse",
        "tags": {"Application": "demo"},
    }
    predicted = region.run(MODULE, check=True, **wanted)
    assert predicted["reasons"] == ["created"]
    done = region.run(MODULE, **wanted)
    assert value(region, name) == authority.key_pem() + authority.pem
    assert done["secret"]["certificate_sha256"] == authority.fingerprint
    assert {**done["secret"], "arn": None} == predicted["secret"]
    for check in (True, False):
        assert not region.run(MODULE, check=check, **wanted)["changed"]

    other = issue("Demo Issuing CA G2", ca=True, key=new_key("rsa"))
    renewed = {**wanted, **other.write(tmp_path, "next", passphrase="correct horse"), "tags": {"Application": "next"}}
    answers = [region.run(MODULE, check=check, **renewed) for check in (True, False)]
    for answer in answers:
        assert answer["reasons"] == ["value changed", "tags changed"]
        assert answer["diff"]["before"]["public_key_sha256"] != answer["diff"]["after"]["public_key_sha256"]
    assert answers[0]["secret"] == answers[1]["secret"]
    assert value(region, name) == other.key_pem() + other.pem
    secrets = [line for each in (authority, other) for line in each.key_pem().splitlines()[1:-1]]
    said = json.dumps([predicted, done, *answers])
    assert not [line for line in secrets if line in said]


def test_a_secret_that_waits_for_its_deletion_is_kept_and_one_that_is_to_go_goes_at_once(
    region: Region, name: str, authority: Issued, tmp_path: Path
) -> None:
    wanted = {"name": name, **authority.write(tmp_path, "ca")}
    region.run(MODULE, **wanted)
    region.client("secretsmanager").delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert "restored" in region.run(MODULE, check=True, **wanted)["reasons"]
    assert region.run(MODULE, **wanted)["reasons"] == ["restored"]
    assert value(region, name) == authority.key_pem() + authority.pem
    for check, changed in ((True, True), (False, True), (True, False), (False, False)):
        assert region.run(MODULE, check=check, name=name, state="absent")["changed"] is changed
    listed = region.client("secretsmanager").list_secrets(IncludePlannedDeletion=True)["SecretList"]
    assert name not in {each["Name"] for each in listed}


def test_what_cannot_be_a_ca_is_refused_before_any_call(
    region: Region, name: str, authority: Issued, tmp_path: Path
) -> None:
    files = authority.write(tmp_path, "ca", passphrase="correct horse")
    other = issue("Another CA", ca=True, key=new_key()).write(tmp_path, "other")
    assert "give its passphrase" in region.refusal(MODULE, name=name, **files)
    mixed = {**other, "certificate_path": files["certificate_path"]}
    assert "not the private key of CN=Demo Issuing CA G1" in region.refusal(MODULE, name=name, **mixed)
    missing = {**files, "private_key_path": str(tmp_path / "nowhere")}
    assert f"cannot read {tmp_path}/nowhere" in region.refusal(MODULE, name=name, **missing)
    assert region.run(MODULE, check=True, name=name, **missing)["changed"], "it will be made"
