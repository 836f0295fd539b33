# SPDX-License-Identifier: GPL-3.0-or-later
"""What is signed for a device that rotates, and what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import timestamp
from ansible_collections.iotops.fleet.plugins.module_utils._rotation.requests import (
    Refusal,
    Request,
    certificate_id_of,
    decide,
    with_certificate,
)
from tests.certificates import issue

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = ec.generate_private_key(ec.SECP256R1())
OLD = issue("dev")
JOB = "app-rotate-7"


def csr(key: Any = KEY, *names: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names or ("dev",)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


REQUEST = Request(thing_name="dev", csr=csr(), job_id=JOB, principal="old", requested_at=timestamp(NOW))


def entry(certificate: x509.Certificate, **more: Any) -> dict[str, Any]:
    return {
        "Pem": certificate.public_bytes(Encoding.PEM).decode(),
        "Status": "ACTIVE",
        "NotAfter": timestamp(NOW + timedelta(days=30)),
        "IssuerFingerprint": "f0",
        "Serial": "1a",
        **more,
    }


def row(state: str = "ACTIVE", **certificates: Any) -> dict[str, Any]:
    held = {"old": entry(OLD.certificate), **certificates}
    return {
        "ThingName": "dev",
        "State": state,
        "CertificateId": "old",
        "Version": 1,
        "WriteId": "w",
        "Certificates": held,
    }


def decision(request: Request = REQUEST, known: dict[str, Any] | None = None, **more: Any) -> Any:
    given = {"revoked": (), "under_way": True, "now": NOW, **more}
    return decide(request, row() if known is None else known, **given)


def code(request: Request = REQUEST, known: dict[str, Any] | None = None, **more: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        decision(request, known, **more)
    return refusal.value.code


def test_a_good_request_is_signed() -> None:
    assert decision() == (public_bytes(KEY), None)


def test_who_may_not_ask() -> None:
    assert code(known={}) == "NotActive"
    assert code(known=row("SUSPENDED")) == "NotActive"
    assert code(replace(REQUEST, principal="strange")) == "NotActive"
    assert code(revoked=("id:old",)) == "NotActive"
    assert code(revoked=("thing:dev",)) == "NotActive"
    assert code(under_way=False) == "UnknownJob"


def test_what_is_not_signed() -> None:
    damaged = REQUEST.csr.replace("M", "N", 1)
    forged = bytearray(x509.load_pem_x509_csr(csr().encode()).public_bytes(Encoding.DER))
    forged[-1] ^= 1
    unproven = x509.load_der_x509_csr(bytes(forged)).public_bytes(Encoding.PEM).decode()
    assert code(replace(REQUEST, csr="no request")) == "InvalidRequest"
    assert code(replace(REQUEST, csr=damaged)) == "InvalidRequest"
    assert code(replace(REQUEST, csr=unproven)) == "InvalidRequest"
    assert code(replace(REQUEST, csr=csr(KEY, "other"))) == "NameDiffers"
    assert code(replace(REQUEST, csr=csr(KEY, "dev", "other"))) == "NameDiffers"
    assert code(replace(REQUEST, csr=csr(ec.generate_private_key(ec.SECP256K1())))) == "KeyUnsuitable"
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    assert code(replace(REQUEST, csr=csr(small))) == "KeyUnsuitable"
    assert code(replace(REQUEST, csr=csr(OLD.key))) == "KeyUnsuitable"


def test_a_device_that_has_rotated_in_this_job_gets_nothing_more() -> None:
    done = {"new": entry(OLD.certificate, JobId=JOB, PresentBy=timestamp(NOW), PresentedAt=timestamp(NOW))}
    rotated = {**row(**done), "CertificateId": "new"}
    assert code(replace(REQUEST, principal="new"), rotated) == "AlreadyRotated"
    assert decision(known=rotated)[1] is None, "one that asks with its old certificate has lost the new one"


def test_twenty_valid_certificates_are_enough() -> None:
    others = {f"c{number}": entry(OLD.certificate) for number in range(19)}
    assert code(known=row(**others)) == "TooManyCertificates"
    others["c0"]["NotAfter"] = timestamp(NOW)
    assert decision(known=row(**others))[1] is None
    revoked = {f"r{number}": entry(OLD.certificate, Status="REVOKED") for number in range(44)}
    assert code(known=row(**revoked)) == "TooManyCertificates"
    del revoked["r0"]
    assert decision(known=row(**revoked))[1] is None


def test_a_request_that_comes_twice_is_given_the_same_certificate_as_long_as_it_lives() -> None:
    signed = issue("dev", key=KEY).certificate
    changes = with_certificate(
        row(), REQUEST, signed, issuer="f0", region="here", present_within=timedelta(hours=1), now=NOW
    )
    known = {**row(), **changes}
    new = changes["Certificates"][certificate_id_of(signed)]
    assert (new["JobId"], new["PresentBy"], new["RegisteredIn"]) == (JOB, timestamp(NOW + timedelta(hours=1)), "here")
    assert "RetireAt" not in changes["Certificates"]["old"]
    key, given = decision(known=known)
    assert key == public_bytes(KEY)
    assert (given.certificate_id, given.pem) == (certificate_id_of(signed), new["Pem"])
    assert code(replace(REQUEST, job_id="app-rotate-8"), known) == "KeyUnsuitable"
    assert code(known=known, revoked=(f"id:{certificate_id_of(signed)}",)) == "KeyUnsuitable"
    assert code(known=known, now=NOW + timedelta(hours=2)) == "KeyUnsuitable"
