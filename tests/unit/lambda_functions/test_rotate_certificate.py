# SPDX-License-Identifier: GPL-3.0-or-later
"""rotate-certificate: what a device is told, what becomes of its row, and what the function signs."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.certificates import Request, Signer
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name
from tests.certificates import Issued, issue, new_key

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/rotate_certificate",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
)
MODULES = (
    "aws", "rows", "rotation", "rows_table", "answers", "devices", "csr", "signing", "create", "commit", "handler",
)  # fmt: skip
ENVIRONMENT = {
    "APPLICATION": "fleet",
    "AWS_REGION": "eu-west-1",
    "SIGNER": "function",
    "LIFETIME_DAYS": "365",
    "PRESENT_WITHIN_SECONDS": "3600",
    "GRACE_SECONDS": "86400",
    "CONVERGE_MACHINE": "arn:aws:states:eu-west-1:123456789012:stateMachine:fleet-converge-device",
}
JOB = "fleet-rotate-1"
OLD = issue("lamp", key=new_key())
KEY = new_key()


class Cloud:
    """AWS as the function meets it: rows, revocations, one job, one CA, and what was published and started."""

    def __init__(self, package: SimpleNamespace) -> None:
        self._package = package
        self.ca = issue("Demo Issuing CA", ca=True, key=new_key())
        self.rows: dict[str, dict[str, Any]] = {"lamp": row()}
        self.revoked: set[str] = set()
        self.requests: list[dict[str, Any]] = []
        self.execution: str | Exception = "IN_PROGRESS"
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.started: list[str] = []
        self.before_put: list[Callable[[], None]] = []  # what others do meanwhile, once each

    def __call__(self, service: str, region: str | None = None) -> Any:
        assert service in ("dynamodb", "iot", "iot-data", "secretsmanager", "stepfunctions")
        return self

    def get_item(self, TableName: str, Key: dict[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        assert ConsistentRead
        key = next(iter(self._package.aws.plain(Key).values()))
        found = {
            "fleet-device-inventory": self.rows,
            "fleet-revocations": {each: {"Key": each} for each in self.revoked},
        }[TableName].get(key)
        return {"Item": self._package.aws.typed(found)} if found else {}

    def put_item(self, TableName: str, Item: dict[str, Any], **condition: Any) -> None:
        item = self._package.aws.plain(Item)
        if TableName == "fleet-certificate-requests":
            self.requests.append(item)
            return
        if self.before_put:
            self.before_put.pop()()
        if condition["ExpressionAttributeValues"][":read"]["S"] != self.rows[item["ThingName"]]["WriteId"]:
            raise failure("ConditionalCheckFailedException")
        self.rows[item["ThingName"]] = item

    def describe_job_execution(self, **names: str) -> dict[str, Any]:
        assert names == {"jobId": JOB, "thingName": "lamp"}
        if isinstance(self.execution, Exception):
            raise self.execution
        return {"execution": {"status": self.execution}}

    def describe_certificate(self, certificateId: str) -> dict[str, Any]:
        arn = f"arn:aws:iot:eu-west-1:123456789012:cert/{certificateId}"
        return {"certificateDescription": {"certificateArn": arn, "caCertificateId": "ca-here"}}

    def get_secret_value(self, SecretId: str) -> dict[str, str]:
        assert SecretId == "fleet-issuing-ca"
        return {"SecretString": self.ca.key_pem() + self.ca.pem}

    def publish(self, topic: str, qos: int, payload: bytes) -> None:
        assert qos == 1
        self.published.append((topic, json.loads(payload)))

    def start_execution(self, **arguments: str) -> None:
        self.started.append(json.loads(arguments["input"])["ThingName"])

    @property
    def row(self) -> dict[str, Any]:
        return self.rows["lamp"]


def failure(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "any")


def certificate(issued: Issued, **changes: str) -> dict[str, str]:
    return {
        "Pem": issued.pem, "Status": "ACTIVE", "NotAfter": "2100-01-01T00:00:00Z", "IssuerFingerprint": "f",
        "Serial": "1f", "RegisteredAt": "2026-01-01T00:00:00Z", "RegisteredIn": "eu-west-1", **changes,
    }  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {
        "ThingName": "lamp", "State": "ACTIVE", "WriteId": "w1", "Version": 1, "CertificateId": OLD.fingerprint,
        "Certificates": {OLD.fingerprint: certificate(OLD)}, **changes,
    }  # fmt: skip


def given(issued: Issued, **changes: str) -> dict[str, str]:
    return certificate(issued, JobId=JOB, PresentBy="2099-01-01T00:00:00Z", **changes)


def csr(key: Any = KEY, name: str = "lamp", *more: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in (name, *more)])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return request.public_bytes(Encoding.PEM).decode()


@pytest.fixture(scope="module")
def package() -> Iterator[SimpleNamespace]:
    """The function's modules as they lie in its package; other functions have modules of the same names."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", [*map(str, PACKAGE), *sys.path])
        for name in MODULES:
            patch.delitem(sys.modules, name, raising=False)
        loaded = {name: importlib.import_module(name) for name in MODULES}
        for name in MODULES:
            del sys.modules[name]
        yield SimpleNamespace(**loaded)


@pytest.fixture
def cloud(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud(package)
    for name in MODULES[3:]:
        module = getattr(package, name)
        if hasattr(module, "aws"):
            monkeypatch.setattr(module, "aws", made)
    return made


def ask(package: SimpleNamespace, cloud: Cloud, request: str = "create", **changes: Any) -> tuple[str, dict[str, Any]]:
    """The last level of the answer's topic, and its payload."""
    message = {
        "thingName": "lamp", "request": request, "principal": OLD.fingerprint, "jobId": JOB,
        **({"csr": csr()} if request == "create" else {}), **changes,
    }  # fmt: skip
    message = {name: value for name, value in message.items() if value is not None}
    event = {"Records": [{"messageId": "m1", "body": json.dumps(message)}]}
    assert package.handler.handler(event, None) == {"batchItemFailures": []}
    topic, payload = cloud.published[-1]
    assert topic.startswith(f"e/lamp/certificate/{request}/")
    return topic.rpartition("/")[2], payload


# --- create


def test_a_device_gets_a_certificate_that_is_not_yet_its_current_one(package: SimpleNamespace, cloud: Cloud) -> None:
    kind, answer = ask(package, cloud)
    assert kind == "accepted"
    new = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
    new.verify_directly_issued_by(cloud.ca.certificate)
    assert new.public_key() == KEY.public_key()
    assert answer["certificateId"] == new.fingerprint(hashes.SHA256()).hex()
    entry = cloud.row["Certificates"][answer["certificateId"]]
    assert entry == {
        "Pem": answer["certificatePem"], "Status": "ACTIVE", "JobId": JOB, "PresentBy": answer["presentBy"],
        "NotAfter": package.rows.timestamp(new.not_valid_after_utc), "IssuerFingerprint": cloud.ca.fingerprint,
        "Serial": format(new.serial_number, "x"), "RegisteredAt": cloud.row["UpdatedAt"], "RegisteredIn": "eu-west-1",
    }  # fmt: skip
    within = datetime.fromisoformat(entry["PresentBy"]) - datetime.fromisoformat(entry["RegisteredAt"])
    assert within == timedelta(hours=1)
    assert cloud.row["CertificateId"] == OLD.fingerprint
    assert cloud.row["Certificates"][OLD.fingerprint] == certificate(OLD)
    assert (cloud.row["Version"], cloud.row["UpdatedRegion"], cloud.started) == (2, "eu-west-1", ["lamp"])


def test_a_message_that_comes_twice_is_answered_with_the_same_and_what_was_half_done_is_finished(
    package: SimpleNamespace, cloud: Cloud
) -> None:
    first, after = ask(package, cloud), dict(cloud.row)
    assert ask(package, cloud) == first
    assert cloud.row == after
    assert cloud.started == ["lamp", "lamp"]


def test_of_two_that_run_at_once_one_certificate_is_left(package: SimpleNamespace, cloud: Cloud) -> None:
    other: list[Any] = []
    cloud.before_put.append(lambda: other.append(ask(package, cloud)))
    assert ask(package, cloud) == other[0]
    assert len(cloud.row["Certificates"]) == 2


def test_another_request_revokes_what_was_never_presented(package: SimpleNamespace, cloud: Cloud) -> None:
    first = ask(package, cloud)[1]["certificateId"]
    second = ask(package, cloud, csr=csr(new_key()))[1]["certificateId"]
    statuses = {key: each["Status"] for key, each in cloud.row["Certificates"].items()}
    assert statuses == {OLD.fingerprint: "ACTIVE", first: "REVOKED", second: "ACTIVE"}
    assert ask(package, cloud)[1]["code"] == "KeyUnsuitable", "the first key again"


def test_without_the_key_a_request_waits_for_the_controller(
    package: SimpleNamespace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNER", "offline")
    asked = csr()
    assert ask(package, cloud, csr=asked) == ("pending", {"jobId": JOB})
    [request] = cloud.requests
    asked_at, expires = datetime.fromisoformat(request.pop("RequestedAt")), request.pop("ExpiresAt")
    assert expires == (asked_at + timedelta(days=14)).timestamp()
    assert request == {"ThingName": "lamp", "Csr": asked, "JobId": JOB, "Principal": OLD.fingerprint}
    assert cloud.row == row()
    assert cloud.started == []
    new = issue("lamp", key=KEY)
    cloud.rows["lamp"] = row(Certificates={**row()["Certificates"], new.fingerprint: given(new)})
    kind, answer = ask(package, cloud, csr=asked)
    assert (kind, answer["certificateId"], len(cloud.requests)) == ("accepted", new.fingerprint, 1)


NEW = issue("lamp", key=KEY)
REVOKED = {str(number): certificate(OLD, Status="REVOKED") for number in range(44)}
ROTATED = {NEW.fingerprint: given(NEW, PresentedAt="2026-01-01T00:00:00Z"), OLD.fingerprint: certificate(OLD)}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"csr": None}, "InvalidRequest"),
        ({"csr": {"a": 1}}, "InvalidRequest"),
        ({"jobId": None}, "InvalidRequest"),
        ({"jobId": 7}, "InvalidRequest"),
        ({"jobId": "fleet-rotate-" + "9" * 64}, "InvalidRequest"),
        ({"jobId": "fleet-rotate-\u00fc"}, "InvalidRequest"),
        ({"csr": "no PEM"}, "InvalidRequest"),
        ({"csr": "\ud800"}, "InvalidRequest"),
        ({"csr": OLD.pem}, "InvalidRequest"),
        ({"csr": csr(name="lamp-2")}, "NameDiffers"),
        ({"csr": csr(KEY, "lamp", "lamp-2")}, "NameDiffers"),
        ({"csr": csr(ed25519.Ed25519PrivateKey.generate())}, "KeyUnsuitable"),
        ({"csr": csr(ec.generate_private_key(ec.SECP521R1()))}, "KeyUnsuitable"),
        ({"csr": csr(rsa.generate_private_key(65537, 1024))}, "KeyUnsuitable"),  # noqa: S505
        ({"csr": csr(OLD.key)}, "KeyUnsuitable"),
        ({"principal": "f" * 64}, "NotActive"),
        ({"jobId": "other-rotate-1"}, "UnknownJob"),
    ],
)
def test_what_a_device_may_not_ask_for(
    package: SimpleNamespace, cloud: Cloud, changes: dict[str, Any], code: str
) -> None:
    kind, answer = ask(package, cloud, **{"request": "create", **changes})
    assert (kind, answer["code"]) == ("rejected", code)
    assert answer["message"]
    job = str(changes.get("jobId", JOB))
    assert answer["jobId"] == (job if job in (JOB, "other-rotate-1") else "")
    assert (cloud.row, cloud.started, cloud.requests) == (row(), [], [])


def test_a_request_that_another_key_signed_is_refused(package: SimpleNamespace, cloud: Cloud) -> None:
    der = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    kind, answer = ask(package, cloud, csr=forged)
    assert (kind, answer["code"]) == ("rejected", "InvalidRequest")
    assert "not signed with its own key" in answer["message"]


@pytest.mark.parametrize(
    ("changes", "revoked", "execution", "code"),
    [
        ({"State": "SUSPENDED"}, (), "IN_PROGRESS", "NotActive"),
        ({"State": "REVOKED"}, (), "IN_PROGRESS", "NotActive"),
        ({"Certificates": {OLD.fingerprint: certificate(OLD, Status="REVOKED")}}, (), "IN_PROGRESS", "NotActive"),
        ({"Certificates": {OLD.fingerprint: certificate(OLD, RetireAt="2026-01-01T00:00:00Z")}}, (), "", "NotActive"),
        ({}, ("thing:lamp",), "IN_PROGRESS", "NotActive"),
        ({}, (f"id:{OLD.fingerprint}",), "IN_PROGRESS", "NotActive"),
        ({}, ("serial:f:1f",), "IN_PROGRESS", "NotActive"),
        ({}, (), "SUCCEEDED", "UnknownJob"),
        ({}, (), "QUEUED", "UnknownJob"),
        ({}, (), failure("ResourceNotFoundException"), "UnknownJob"),
        (
            {"Certificates": {**row()["Certificates"], **{str(number): certificate(OLD) for number in range(19)}}},
            (),
            "IN_PROGRESS",
            "TooManyCertificates",
        ),
        ({"Certificates": {**row()["Certificates"], **REVOKED}}, (), "IN_PROGRESS", "TooManyCertificates"),
    ],
)
def test_who_gets_no_certificate(
    package: SimpleNamespace, cloud: Cloud, changes: dict[str, Any], revoked: tuple[str, ...], execution: Any, code: str
) -> None:
    before = cloud.rows["lamp"] = row(**changes)
    cloud.revoked, cloud.execution = set(revoked), execution
    kind, answer = ask(package, cloud, csr=csr(new_key()))
    assert (kind, answer["code"]) == ("rejected", code)
    assert cloud.row == before


def test_a_job_rotates_a_device_once_but_not_one_that_has_lost_its_new_key(
    package: SimpleNamespace, cloud: Cloud
) -> None:
    before = cloud.rows["lamp"] = row(Certificates=ROTATED, CertificateId=NEW.fingerprint)
    kind, answer = ask(package, cloud, csr=csr(new_key()), principal=NEW.fingerprint)
    assert (kind, answer["code"], cloud.row) == ("rejected", "AlreadyRotated", before)
    assert ask(package, cloud, csr=csr(new_key()))[0] == "accepted"


def test_revoked_certificates_are_not_counted_as_long_as_there_is_room(package: SimpleNamespace, cloud: Cloud) -> None:
    revoked = dict(list(REVOKED.items())[1:])
    cloud.rows["lamp"] = row(Certificates={**row()["Certificates"], **revoked})
    assert ask(package, cloud)[0] == "accepted"
    assert set(revoked) < set(cloud.row["Certificates"])


def test_a_device_without_a_row_gets_none(package: SimpleNamespace, cloud: Cloud) -> None:
    del cloud.rows["lamp"]
    assert ask(package, cloud)[1]["code"] == "NotActive"


def test_expired_certificates_leave_the_row_and_are_not_counted(package: SimpleNamespace, cloud: Cloud) -> None:
    expired = {str(number): certificate(OLD, NotAfter="2020-01-01T00:00:00Z") for number in range(19)}
    cloud.rows["lamp"] = row(Certificates={**row()["Certificates"], **expired})
    answer = ask(package, cloud)[1]
    assert set(cloud.row["Certificates"]) == {OLD.fingerprint, answer["certificateId"]}


def test_what_fails_comes_again_and_nothing_is_said(package: SimpleNamespace, cloud: Cloud) -> None:
    cloud.execution = failure("ThrottlingException")
    message = {"thingName": "lamp", "request": "create", "principal": OLD.fingerprint, "jobId": JOB, "csr": csr()}
    records = [{"messageId": "m1", "body": json.dumps(message)}]
    failures = package.handler.handler({"Records": records}, None)["batchItemFailures"]
    assert failures == [{"itemIdentifier": "m1"}]
    assert cloud.published == []


# --- commit


def test_a_device_that_shows_up_with_its_new_certificate_has_rotated(package: SimpleNamespace, cloud: Cloud) -> None:
    new = ask(package, cloud)[1]["certificateId"]
    assert ask(package, cloud, "commit", principal=new) == ("accepted", {"jobId": JOB, "certificateId": new})
    entry, old = cloud.row["Certificates"][new], cloud.row["Certificates"][OLD.fingerprint]
    assert entry["PresentedAt"] == cloud.row["UpdatedAt"]
    now = datetime.fromisoformat(entry["PresentedAt"])
    leaving = [datetime.fromisoformat(old[name]) - now for name in ("RetireAt", "RevokeAt")]
    assert leaving == [timedelta(days=1), timedelta(days=2)]
    assert {name: cloud.row[name] for name in package.rows.CURRENT} == {
        "CertificateId": new,
        "CertificateArn": f"arn:aws:iot:eu-west-1:123456789012:cert/{new}",
        "CaCertificateId": "ca-here",
        "NotAfter": entry["NotAfter"],
    }
    assert (cloud.row["Version"], cloud.started) == (3, ["lamp", "lamp"])
    after = dict(cloud.row)
    assert ask(package, cloud, "commit", principal=new)[0] == "accepted", "a message that comes twice"
    assert cloud.row == after
    cloud.row["State"] = "SUSPENDED"
    assert ask(package, cloud, "commit", principal=new)[0] == "accepted", "nor must a suspended device doubt it"


def test_a_commit_that_comes_late_does_not_bring_an_older_certificate_back(
    package: SimpleNamespace, cloud: Cloud
) -> None:
    first = ask(package, cloud)[1]["certificateId"]
    ask(package, cloud, "commit", principal=first)
    cloud.row["Certificates"][first]["JobId"] = "fleet-rotate-0"
    second = ask(package, cloud, csr=csr(new_key()), principal=first)[1]["certificateId"]
    ask(package, cloud, "commit", principal=second)
    after = dict(cloud.row)
    assert ask(package, cloud, "commit", principal=first)[0] == "accepted"
    assert cloud.row == after
    assert after["CertificateId"] == second


def test_who_does_not_commit(package: SimpleNamespace, cloud: Cloud) -> None:
    cloud.rows["lamp"] = row(CertificateId=NEW.fingerprint, Certificates=ROTATED)
    assert ask(package, cloud, "commit")[1]["code"] == "NotNew"
    assert ask(package, cloud, "commit", principal="f" * 64)[1]["code"] == "NotActive"
    late = given(NEW) | {"PresentBy": "2026-01-01T00:00:00Z"}
    cloud.rows["lamp"] = row(Certificates={**row()["Certificates"], NEW.fingerprint: late})
    assert ask(package, cloud, "commit", principal=NEW.fingerprint)[1]["code"] == "NotActive"
    assert ask(package, cloud, "commit")[0] == "accepted", "the current one"
    assert cloud.row["Version"] == 1


# --- what is signed


@pytest.mark.parametrize("ca_key", [new_key(), ec.generate_private_key(ec.SECP384R1()), new_key("rsa")])
@pytest.mark.parametrize("key", [new_key(), new_key("rsa")])
def test_a_certificate_is_the_same_as_the_controllers(
    package: SimpleNamespace, cloud: Cloud, ca_key: Any, key: Any
) -> None:
    cloud.ca = issue("Demo Issuing CA", ca=True, key=ca_key)
    now = datetime.now(UTC).replace(microsecond=0)
    made = package.signing.sign("lamp", key.public_key(), now).certificate
    signer = Signer(cloud.ca.certificate.subject, ca_key, cloud.ca.certificate)
    request = Request(
        purpose="device",
        subject=distinguished_name(common_name="lamp", organization=None),
        public_key=key.public_key(),
        lifetime=timedelta(days=365),
    )
    expected = signer.sign(request, serial=made.serial_number, now=now)
    if isinstance(ca_key, rsa.RSAPrivateKey):
        assert made == expected
    assert made.tbs_certificate_bytes == expected.tbs_certificate_bytes
    made.verify_directly_issued_by(cloud.ca.certificate)


def test_the_organization_is_the_cas(package: SimpleNamespace, cloud: Cloud) -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lamps"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Demo Issuing CA"),
        ]
    )
    key = new_key()
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=10))
    cloud.ca = Issued(builder.sign(key, hashes.SHA256()), key)
    made = package.signing.sign("lamp", KEY.public_key(), now).certificate
    assert made.subject == distinguished_name(common_name="lamp", organization="Lamps")
    assert made.not_valid_after_utc == cloud.ca.certificate.not_valid_after_utc, "not longer than the CA's"
