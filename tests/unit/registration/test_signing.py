# SPDX-License-Identifier: GPL-3.0-or-later
"""Each request is signed once, and what was signed for nothing is taken back."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509

from ansible_collections.amazon.aws.plugins.module_utils.exceptions import AnsibleAWSError

from ansible_collections.iotops.fleet.plugins.module_utils._aws.pace import Pace
from ansible_collections.iotops.fleet.plugins.module_utils._registration.requested import Certificates, RequestFolder
from ansible_collections.iotops.fleet.plugins.module_utils._registration.signing import Signing
from ansible_collections.iotops.fleet.plugins.module_utils._registry.items import typed_item
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from tests.certificates import Issued, issue, new_key
from tests.requests import make_request


class DynamoDB:
    """boto3's client as far as it is used."""

    def __init__(self, **tables: dict[str, Any]) -> None:
        self.tables = tables

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        [(table, asked)] = RequestItems.items()
        names = [value["S"] for key in asked["Keys"] for value in key.values()]
        items = self.tables.get(table.removeprefix("fleet-").replace("-", "_"), {})
        return {"Responses": {table: [typed_item(items[name]) for name in names if name in items]}}


class Iot:
    """boto3's client as far as it is used; ``error`` is AWS's answer to those whose name it is given for.

    ``registered`` is what DescribeCertificate answers, by id; ``attached`` the things and policies of all of them.
    """

    meta = SimpleNamespace(region_name="eu-west-1")

    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys, self.error, self.signed, self.deleted, self.looks = keys, {}, [], [], 0
        self.registered: dict[str, dict[str, Any]] = {}
        self.attached: dict[str, list[Any]] = {"things": [], "policies": []}
        self._lock = threading.Lock()

    def create_certificate_from_csr(self, certificateSigningRequest: str, setAsActive: bool) -> dict[str, str]:
        assert not setAsActive
        [name] = x509.load_pem_x509_csr(certificateSigningRequest.encode()).subject
        if code := self.error.get(name.value):
            raise refusal(code, "CreateCertificateFromCsr")
        with self._lock:
            self.signed.append(name.value)
        return {"certificatePem": issue("AWS IoT Certificate", key=self.keys[name.value]).pem}

    def describe_certificate(self, certificateId: str) -> dict[str, Any]:
        self.looks += 1
        if certificateId not in self.registered:
            raise refusal("ResourceNotFoundException", "DescribeCertificate")
        return {"certificateDescription": self.registered[certificateId]}

    def get_paginator(self, _operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [self.attached])


def refusal(code: str, operation: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer, operation)


def unpaced() -> Pace:
    return Pace(1000.0, sleep=lambda _seconds: None)


def lot(path: Path, *names: str, allow_list: bool = False, **tables: dict[str, Any]) -> Signing:
    """A folder with a request of each name."""
    keys = {name: new_key() for name in names}
    for name, key in keys.items():
        (path / f"{name}.csr").write_text(make_request(name, key=key))
    return Signing(
        dynamodb=DynamoDB(**tables),
        iot=Iot(keys),
        application="fleet",
        folder=RequestFolder(path),
        certificates=Certificates(path),
        allow_list=allow_list,
    )


def stored(signing: Signing, name: str, **described: Any) -> Issued:
    """A certificate in the folder; with its description in AWS IoT, as of one that AWS signed unless that says else."""
    made = issue("AWS IoT Certificate", key=signing.iot.keys[name])
    signing.certificates.file(name).write_text(made.pem)
    signing.iot.registered[made.fingerprint] = {
        "certificateArn": f"arn:aws:iot:eu-west-1:123456789012:cert/{made.fingerprint}",
        "certificatePem": made.pem,
        "certificateMode": "DEFAULT",
        "status": "INACTIVE",
        **described,
    }
    return made


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The certificates that were deleted from AWS IoT."""
    found: list[str] = []
    monkeypatch.setattr(f"{Signing.__module__}.ensure_absent", lambda _iot, key, **_: found.append(key))
    return found


def reasons(signing: Signing) -> dict[str, str]:
    return {each.name: each.why for each in signing.folder.refused}


def row(name: str, issued: Issued) -> dict[str, Any]:
    return {"ThingName": name, "State": "ACTIVE", "Certificates": {issued.fingerprint: {"Pem": issued.pem}}}


def test_whose_name_is_taken_revoked_or_not_on_the_list_is_not_signed(tmp_path: Path) -> None:
    signing = lot(
        tmp_path, "new", "taken", "revoked", "stranger", "other", allow_list=True,
        device_inventory={"taken": row("taken", issue("taken"))},
        revocations={"thing:revoked": {"Key": "thing:revoked"}},
    )  # fmt: skip
    signing.dynamodb.tables["allow_list"] = {
        name: {"ThingName": name, **({"CertificateId": "5e"} if name == "other" else {})}
        for name in ("new", "taken", "revoked", "other")
    }
    signing.plan(unpaced(), print)
    assert [request.name for request in signing.new] == ["new"]
    assert reasons(signing) == {
        "taken": "the name is taken: the registry has a device of it, ACTIVE, with another key",
        "revoked": "the device is REVOKED",
        "stranger": "it is not on the allow-list",
        "other": "the allow-list names a certificate of another issuer",
    }


def test_what_is_in_the_folder_or_in_the_row_is_not_signed_again(tmp_path: Path) -> None:
    signing = lot(tmp_path, "stored", "known", "lost", "new")
    stored(signing, "stored")
    known, lost = stored(signing, "known"), issue("y", key=signing.iot.keys["lost"])
    signing.dynamodb.tables["device_inventory"] = {"known": row("known", known), "lost": row("lost", lost)}
    signing.plan(unpaced(), print)
    lines: list[str] = []
    signing.sign(unpaced(), 4, lines.append)
    assert signing.iot.signed == ["new"] == signing.signed
    assert (tmp_path / "lost.cert.pem").read_text() == lost.pem
    assert sorted(signing.certificates.found) == ["known", "lost", "new", "stored"]
    assert signing.iot.looks == 1, "only of one that is in no row AWS is asked"
    assert lines == ["1 of 1 certificates signed"]


def test_one_that_aws_refuses_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    signing = lot(tmp_path, "good", "odd")
    signing.iot.error["odd"] = "InvalidRequestException"
    signing.plan(unpaced(), print)
    signing.sign(unpaced(), 1, lambda _line: None)
    assert signing.signed == ["good"]
    assert reasons(signing)["odd"].startswith("AWS IoT refuses it: ")


def test_after_any_other_error_nothing_more_is_signed(tmp_path: Path) -> None:
    signing = lot(tmp_path, *(f"dev-{number}" for number in range(50)))
    signing.iot.error["dev-0"] = "UnauthorizedException"
    signing.plan(unpaced(), print)
    with pytest.raises(AnsibleAWSError, match="have AWS IoT sign"):
        signing.sign(unpaced(), 1, lambda _line: None)
    assert signing.iot.signed == []


def test_a_certificate_that_cannot_be_stored_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: list[str]
) -> None:
    signing = lot(tmp_path, "dev-1", "dev-2")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "dev-1.cert.pem"))

    monkeypatch.setattr(Certificates, "store", full)
    signing.plan(unpaced(), print)
    with pytest.raises(FleetError, match="No space left"):
        signing.sign(unpaced(), 1, lambda _line: None)
    assert len(removed) == len(signing.iot.signed) == 1


@pytest.mark.parametrize(
    ("described", "why"),
    [
        (None, "it is not registered there"),
        ({"caCertificateId": "77ab"}, "it is of the CA 77ab"),
        ({"certificateMode": "SNI_ONLY"}, "it was registered there without its CA"),
    ],
    ids=["unknown", "of a CA", "of another region"],
)
def test_a_certificate_of_another_issuer_is_not_taken_for_one_of_aws(
    tmp_path: Path, removed: list[str], described: dict[str, Any] | None, why: str
) -> None:
    """Whose issuer is recorded wrong, no revocation by serial number would find."""
    signing = lot(tmp_path, "dev-1")
    stored(signing, "dev-1", **described or {})
    if described is None:
        signing.iot.registered.clear()
    signing.plan(unpaced(), print)
    signing.sign(unpaced(), 1, lambda _line: None)
    signing.settle({}, check_mode=False)
    assert reasons(signing)["dev-1"] == (
        f"{tmp_path}/dev-1.cert.pem is none that AWS IoT signed in eu-west-1: {why}; "
        "move it away, or run this in the region that signed it"
    )
    assert (signing.certificates.devices, signing.iot.signed, removed) == ([], [], [])
    assert (tmp_path / "dev-1.cert.pem").exists()


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_the_registry_did_not_take_is_taken_back_whichever_run_had_it_signed(
    tmp_path: Path, removed: list[str], check_mode: bool
) -> None:
    signing = lot(tmp_path, "stored", "new", "well")
    left = stored(signing, "stored")
    signing.plan(unpaced(), print)
    signing.sign(unpaced(), 1, lambda _line: None)
    made = signing.certificates.found["new"].certificate_id
    signing.settle(dict.fromkeys(["stored", "new"], "the device is REVOKED"), check_mode=check_mode)
    assert removed == ([] if check_mode else [left.fingerprint, made])
    assert [(tmp_path / f"{name}.cert.pem").exists() for name in ("stored", "new")] == [check_mode] * 2
    assert (signing.signed, signing.removed, sorted(reasons(signing))) == (["well"], ["stored"], ["new", "stored"])


@pytest.mark.parametrize("use", ["active", "thing", "policy", "revoked"])
def test_a_certificate_that_somebody_uses_or_has_revoked_stays_when_it_is_refused(
    tmp_path: Path, removed: list[str], use: str
) -> None:
    signing = lot(tmp_path, "dev-1")
    found = stored(signing, "dev-1", status="ACTIVE" if use == "active" else "INACTIVE")
    signing.iot.attached["things"] = ["other"] if use == "thing" else []
    signing.iot.attached["policies"] = [{"policyName": "claim"}] if use == "policy" else []
    key = f"id:{found.fingerprint}"
    signing.dynamodb.tables["revocations"] = {key: {"Key": key}} if use == "revoked" else {}
    signing.plan(unpaced(), print)
    signing.settle({"dev-1": "the name is taken"}, check_mode=False)
    assert (removed, signing.removed) == ([], [])
    assert (tmp_path / "dev-1.cert.pem").exists()


def test_the_certificate_in_the_row_is_the_one_that_is_meant_whatever_the_folder_has(
    tmp_path: Path, removed: list[str]
) -> None:
    """Two runs over one folder, of which the one that lost was killed."""
    signing = lot(tmp_path, "dev-1")
    left, won = stored(signing, "dev-1"), issue("AWS IoT Certificate", key=signing.iot.keys["dev-1"])
    signing.dynamodb.tables["device_inventory"] = {"dev-1": row("dev-1", won)}
    signing.plan(unpaced(), print)
    assert signing.certificates.found["dev-1"].certificate_id == won.fingerprint
    assert (signing.removed, removed) == (["dev-1"], [])
    signing.sign(unpaced(), 1, lambda _line: None)
    assert (tmp_path / "dev-1.cert.pem").read_text() == won.pem
    assert (removed, reasons(signing)) == ([left.fingerprint], {})


def test_says_how_far_it_is_when_many_have_to_be_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{Signing.__module__}.REPORT_EVERY", 2)
    signing, lines = lot(tmp_path, *(f"dev-{number}" for number in range(5))), []
    for name in signing.iot.keys:
        stored(signing, name)
    signing.plan(unpaced(), lines.append)
    assert lines == [f"{number} certificates that are in no row looked up" for number in (2, 4)]


def test_whose_row_another_run_wrote_meanwhile_gets_the_certificate_in_it(tmp_path: Path, removed: list[str]) -> None:
    signing = lot(tmp_path, "dev-1")
    signing.plan(unpaced(), print)
    signing.sign(unpaced(), 1, lambda _line: None)
    mine, won = signing.certificates.found["dev-1"], issue("AWS IoT Certificate", key=signing.iot.keys["dev-1"])
    signing.dynamodb.tables["device_inventory"] = {"dev-1": row("dev-1", won)}
    signing.settle({"dev-1": "the device has a row with other certificates"}, check_mode=False)
    assert (tmp_path / "dev-1.cert.pem").read_text() == won.pem
    assert removed == [mine.certificate_id]
    assert (signing.signed, list(signing.lost), reasons(signing)) == ([], ["dev-1"], {})
