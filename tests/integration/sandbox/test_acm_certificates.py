# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import issue, rsa_key

REGION = "il-central-1"


@pytest.fixture(scope="module")
def acm(sandbox):
    return sandbox.client("acm", REGION)


@pytest.fixture(scope="module")
def root():
    return issue("ACM Root", authority=True)


def material(issued, root):
    return {"Certificate": issued.pem, "PrivateKey": issued.key_pem, "CertificateChain": root.pem}


def described(acm, arn):
    return acm.describe_certificate(CertificateArn=arn)["Certificate"]


def test_an_import_is_described_from_the_certificate(acm, root):
    leaf = issue("a.example.com", root, dns=("a.example.com", "b.example.com"))
    arn = acm.import_certificate(**material(leaf, root), Tags=[{"Key": "k", "Value": "v"}])["CertificateArn"]
    found = described(acm, arn)
    assert found["DomainName"] == "a.example.com"
    assert found["SubjectAlternativeNames"] == ["a.example.com", "b.example.com"]
    assert (found["NotBefore"], found["NotAfter"]) == (
        leaf.certificate.not_valid_before_utc,
        leaf.certificate.not_valid_after_utc,
    )
    assert (found["KeyAlgorithm"], found["SignatureAlgorithm"]) == ("EC_prime256v1", "SHA256WITHECDSA")
    assert int(found["Serial"].replace(":", ""), 16) == leaf.certificate.serial_number
    assert (found["Type"], found["Status"], found["InUseBy"]) == ("IMPORTED", "ISSUED", [])
    assert "ImportedAt" in found
    assert acm.get_certificate(CertificateArn=arn) | {"ResponseMetadata": 0} == {
        "Certificate": leaf.pem,
        "CertificateChain": root.pem,
        "ResponseMetadata": 0,
    }


def test_a_listing_shows_other_keys_than_rsa_only_when_asked_and_in_pages(acm, root):
    arns = {
        acm.import_certificate(**material(issue(f"{n}.example.com", root, dns=(f"{n}.example.com",)), root))[
            "CertificateArn"
        ]
        for n in range(3)
    }
    plain = {c["CertificateArn"] for c in acm.list_certificates()["CertificateSummaryList"]}
    assert not arns & plain
    pages = acm.get_paginator("list_certificates").paginate(
        Includes={"keyTypes": ["EC_prime256v1"]}, PaginationConfig={"PageSize": 2}
    )
    listed = [[c["CertificateArn"] for c in page["CertificateSummaryList"]] for page in pages]
    assert max(len(page) for page in listed) == 2
    assert arns <= {arn for page in listed for arn in page}


def test_a_reimport_keeps_the_arn_and_shows_the_new_certificate(acm, root):
    first, second = (issue("r.example.com", root, dns=("r.example.com",)) for _ in range(2))
    arn = acm.import_certificate(**material(first, root))["CertificateArn"]
    again = acm.import_certificate(**material(second, root), CertificateArn=arn)["CertificateArn"]
    assert again == arn
    assert int(described(acm, arn)["Serial"].replace(":", ""), 16) == second.certificate.serial_number


def refused(acm, **request):
    with pytest.raises(ClientError) as caught:
        acm.import_certificate(**request)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_reimport_refuses_what_aws_refuses(acm, root):
    dns = ("r2.example.com",)
    arn = acm.import_certificate(**material(issue(dns[0], root, dns=dns), root))["CertificateArn"]
    rsa_root = issue("RSA Root", authority=True, key=rsa_key())
    other_key = material(issue(dns[0], rsa_root, dns=dns, key=rsa_key()), rsa_root)
    same = material(issue(dns[0], root, dns=dns), root)
    assert "key type" in refused(acm, **other_key, CertificateArn=arn)[1]
    assert "Tags" in refused(acm, **same, CertificateArn=arn, Tags=[{"Key": "k", "Value": "v"}])[1]
    assert "ExtendedKeyUsages" in refused(acm, **material(issue(dns[0], root), root), CertificateArn=arn)[1]
    unknown = arn[:-4] + ("0000" if not arn.endswith("0000") else "1111")
    assert refused(acm, **same, CertificateArn=unknown)[0] == "ResourceNotFoundException"


def test_an_import_refuses_wrong_key_missing_or_foreign_chain_expiry_and_mixed_algorithms(acm, root):
    leaf, other = issue("x.example.com", root), issue("Other Root", authority=True)
    good = material(leaf, root)
    assert "private key" in refused(acm, **good | {"PrivateKey": other.key_pem})[1]
    assert "chain" in refused(acm, Certificate=leaf.pem, PrivateKey=leaf.key_pem)[1]
    assert "chain" in refused(acm, **good | {"CertificateChain": other.pem})[1]
    assert "valid now" in refused(acm, **material(issue("old.example.com", root, days=-1, start=-10), root))[1]
    assert "algorithm" in refused(acm, **material(issue("m.example.com", root, key=rsa_key()), root))[1]


def test_a_certificate_in_use_by_a_domain_configuration_cannot_be_deleted(acm, sandbox, tmp_path):
    arn = Fleet(sandbox, tmp_path, ()).serve(REGION, "used.example.com")
    assert described(acm, arn)["InUseBy"]
    with pytest.raises(acm.exceptions.ResourceInUseException):
        acm.delete_certificate(CertificateArn=arn)
    iot = sandbox.client("iot", REGION)
    name = "used-example-com"
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)
    acm.delete_certificate(CertificateArn=arn)


def test_a_requested_certificate_is_soon_issued(acm):
    arn = acm.request_certificate(DomainName="q.example.com", ValidationMethod="DNS")["CertificateArn"]
    found = described(acm, arn)
    assert found["Status"] == "ISSUED"
    assert found["DomainValidationOptions"][0]["ResourceRecord"]["Type"] == "CNAME"
