# SPDX-License-Identifier: GPL-3.0-or-later
"""CreateCertificateFromCsr.

https://docs.aws.amazon.com/iot/latest/apireference/API_CreateCertificateFromCsr.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from iotops.sandbox.client import Sandbox
from tests.certificates import new_key
from tests.requests import forged_request, make_request, weak_request

REGION = "us-west-1"


@pytest.fixture(scope="module")
def iot(sandbox: Sandbox) -> Any:
    return sandbox.client("iot", REGION)


@pytest.mark.parametrize(
    "key",
    [new_key("rsa"), *(ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))],
    ids=["RSA 2048", "P-256", "P-384", "P-521"],
)
def test_the_certificate_has_the_key_of_the_request_and_lasts_to_the_end_of_2049(iot: Any, key: Any) -> None:
    answer = iot.create_certificate_from_csr(certificateSigningRequest=make_request("signed", key=key))
    certificate = x509.load_pem_x509_certificate(answer["certificatePem"].encode())
    assert certificate.public_key() == key.public_key()
    assert certificate.issuer != certificate.subject
    assert certificate.not_valid_after_utc == datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert answer["certificateArn"].endswith(f":cert/{answer['certificateId']}")


def test_it_is_inactive_unless_asked_for_of_mode_default_and_of_no_ca_of_ours(iot: Any) -> None:
    for active, status in ((None, "INACTIVE"), (False, "INACTIVE"), (True, "ACTIVE")):
        asked = {} if active is None else {"setAsActive": active}
        made = iot.create_certificate_from_csr(certificateSigningRequest=make_request("signed"), **asked)
        found = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
        assert (found["status"], found["certificateMode"]) == (status, "DEFAULT")
        assert "caCertificateId" not in found


def test_the_same_request_makes_another_certificate(iot: Any) -> None:
    request = make_request("signed")
    made = {iot.create_certificate_from_csr(certificateSigningRequest=request)["certificateId"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize(
    "request_pem", ["hello", forged_request("x"), weak_request("x")], ids=["text", "forged", "weak"]
)
def test_a_malformed_request_is_refused_and_nothing_is_made(iot: Any, request_pem: str) -> None:
    before = len(iot.list_certificates(pageSize=250)["certificates"])
    with pytest.raises(ClientError) as error:
        iot.create_certificate_from_csr(certificateSigningRequest=request_pem)
    assert error.value.response["Error"]["Code"] == "InvalidRequestException"
    assert "CSR violates constraints" in error.value.response["Error"]["Message"]
    assert len(iot.list_certificates(pageSize=250)["certificates"]) == before
