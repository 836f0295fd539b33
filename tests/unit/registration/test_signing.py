# SPDX-License-Identifier: GPL-3.0-or-later
"""Each request is signed once, and what was signed for nothing is taken back."""

from __future__ import annotations

import threading
from pathlib import Path
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
    """boto3's client as far as it is used; ``error`` is AWS's answer to those whose name it is given for."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self.keys, self.error, self.signed, self.deleted = keys, {}, [], []
        self._lock = threading.Lock()

    def create_certificate_from_csr(self, certificateSigningRequest: str, setAsActive: bool) -> dict[str, str]:
        assert not setAsActive
        [name] = x509.load_pem_x509_csr(certificateSigningRequest.encode()).subject
        if code := self.error.get(name.value):
            answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(answer, "CreateCertificateFromCsr")
        with self._lock:
            self.signed.append(name.value)
        return {"certificatePem": issue("AWS IoT Certificate", key=self.keys[name.value]).pem}


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
    signing.plan()
    assert [request.name for request in signing.new] == ["new"]
    assert reasons(signing) == {
        "taken": "the name is taken: the registry has a device of it, ACTIVE, with another key",
        "revoked": "the device is REVOKED",
        "stranger": "it is not on the allow-list",
        "other": "the allow-list names a certificate of another issuer",
    }


def test_what_is_in_the_folder_or_in_the_row_is_not_signed_again(tmp_path: Path) -> None:
    signing = lot(tmp_path, "stored", "lost", "new")
    keys = signing.iot.keys
    (tmp_path / "stored.cert.pem").write_text(issue("x", key=keys["stored"]).pem)
    lost = issue("y", key=keys["lost"])
    signing.dynamodb.tables["device_inventory"] = {"lost": row("lost", lost)}
    signing.plan()
    lines: list[str] = []
    signing.sign(unpaced(), 4, lines.append)
    assert signing.iot.signed == ["new"] == signing.signed
    assert (tmp_path / "lost.cert.pem").read_text() == lost.pem
    assert sorted(signing.certificates.found) == ["lost", "new", "stored"]
    assert lines == ["1 of 1 certificates signed"]


def test_one_that_aws_refuses_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    signing = lot(tmp_path, "good", "odd")
    signing.iot.error["odd"] = "InvalidRequestException"
    signing.plan()
    signing.sign(unpaced(), 1, lambda _line: None)
    assert signing.signed == ["good"]
    assert reasons(signing)["odd"].startswith("AWS IoT refuses it: ")


def test_after_any_other_error_nothing_more_is_signed(tmp_path: Path) -> None:
    signing = lot(tmp_path, *(f"dev-{number}" for number in range(50)))
    signing.iot.error["dev-0"] = "UnauthorizedException"
    signing.plan()
    with pytest.raises(AnsibleAWSError, match="have AWS IoT sign"):
        signing.sign(unpaced(), 1, lambda _line: None)
    assert signing.iot.signed == []


def test_a_certificate_that_cannot_be_stored_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signing, removed = lot(tmp_path, "dev-1", "dev-2"), []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "dev-1.cert.pem"))

    monkeypatch.setattr(Certificates, "store", full)
    monkeypatch.setattr(f"{Signing.__module__}.ensure_absent", lambda _iot, key, **_: removed.append(key))
    signing.plan()
    with pytest.raises(FleetError, match="No space left"):
        signing.sign(unpaced(), 1, lambda _line: None)
    assert len(removed) == len(signing.iot.signed) == 1


def test_what_the_registry_did_not_take_is_taken_back_when_it_was_signed_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, removed = lot(tmp_path, "stored", "new", "well"), []
    (tmp_path / "stored.cert.pem").write_text(issue("x", key=signing.iot.keys["stored"]).pem)
    monkeypatch.setattr(f"{Signing.__module__}.ensure_absent", lambda _iot, key, **_: removed.append(key))
    signing.plan()
    signing.sign(unpaced(), 1, lambda _line: None)
    made = signing.certificates.found["new"].certificate_id
    signing.settle({"stored": "the device is REVOKED", "new": "the device is REVOKED"})
    assert removed == [made]
    assert (tmp_path / "stored.cert.pem").exists()
    assert not (tmp_path / "new.cert.pem").exists()
    assert (signing.signed, sorted(reasons(signing))) == (["well"], ["new", "stored"])
