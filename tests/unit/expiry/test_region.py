# SPDX-License-Identifier: GPL-3.0-or-later
"""What a region's answers mean; what it really answers is for the integration tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._expiry.region import domain_configuration, managed

END = datetime(2027, 1, 31, 12, tzinfo=UTC)
DOMAIN = "iot.example.com"


def acm(*summaries: dict[str, Any]) -> MagicMock:
    client = MagicMock()
    client.get_paginator.return_value.paginate.return_value = [{"CertificateSummaryList": list(summaries)}]
    return client


def certificate(name: str = DOMAIN, **more: Any) -> dict[str, Any]:
    arn = "arn:aws:acm:eu-west-1:123456789012:certificate/abc"
    common = {"CertificateArn": arn, "DomainName": name, "Status": "ISSUED", "Type": "IMPORTED", "NotAfter": END}
    return {**common, **more}


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (certificate(), ("acm", "2027-01-31T12:00:00Z", "", "")),
        (certificate(Type="AMAZON_ISSUED"), ("validation", "2027-01-31T12:00:00Z", "", "")),
        (
            certificate("other.example.com", SubjectAlternativeNameSummaries=["other.example.com", DOMAIN]),
            ("acm", "2027-01-31T12:00:00Z", "", ""),
        ),
        (
            certificate(Type="AMAZON_ISSUED", Status="PENDING_VALIDATION", NotAfter=None),
            ("validation", None, "PENDING_VALIDATION", "error"),
        ),
        (certificate(Status="EXPIRED"), ("acm", "2027-01-31T12:00:00Z", "EXPIRED", "error")),
    ],
)
def test_a_certificate_of_acm_is_as_good_as_its_status(summary: dict[str, Any], line: tuple[Any, ...]) -> None:
    [found] = managed(acm(summary), region="eu-west-1", domain=DOMAIN)
    assert tuple(found[name] for name in ("kind", "not_after", "note", "severity")) == line
    assert (found["name"], found["place"]) == ("abc", "eu-west-1")


def test_certificates_of_another_domain_are_nobodys_business() -> None:
    assert managed(acm(certificate("other.example.com")), region="eu-west-1", domain=DOMAIN) == []


@pytest.mark.parametrize(
    ("certificates", "note", "severity"),
    [
        ([{"serverCertificateStatus": "VALID"}], "VALID", ""),
        (
            [{"serverCertificateStatus": "INVALID", "serverCertificateStatusDetail": "expired"}],
            "INVALID: expired",
            "error",
        ),
        ([{"serverCertificateStatus": "INVALID"}], "INVALID: AWS gives no reason", "error"),
    ],
)
def test_a_server_certificate_that_aws_refuses_is_an_error(
    certificates: list[dict[str, str]], note: str, severity: str
) -> None:
    iot = MagicMock()
    iot.describe_domain_configuration.return_value = {"serverCertificates": certificates}
    [found] = domain_configuration(iot, region="eu-west-1", name="fleet-primary")
    assert (found["note"], found["severity"]) == (note, severity)
