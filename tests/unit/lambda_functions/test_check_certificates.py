# SPDX-License-Identifier: GPL-3.0-or-later
"""check-certificates: what it finds, what it tells CloudWatch, and that alarms ask for what it tells."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.templates import of_type, template

ROOT = Path(__file__).parents[3]
PACKAGE = (
    ROOT / "files/lambda/check_certificates",
    ROOT / "files/lambda/shared",
    ROOT / "plugins/module_utils/_registry",
)
MODULES = ("aws", "ends", "handler")
ENVIRONMENT = {"APPLICATION": "fleet", "AWS_REGION": "eu-west-1", "DOMAIN": "iot.example.com", "DEVICE_DAYS": "14"}
NOW = datetime.now(UTC)


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


def after(days: float) -> datetime:
    return NOW + timedelta(days=days, hours=1)


class Region:
    """What the function's calls see."""

    def __init__(self, package: SimpleNamespace) -> None:
        self.package = package
        self.authorities: dict[str, tuple[str, datetime]] = {"g1": ("ACTIVE", after(3000))}
        self.certificates = [
            {"Type": "IMPORTED", "DomainName": "iot.example.com", "NotAfter": after(300)},
            {"Type": "AMAZON_ISSUED", "DomainName": "iot.example.com", "NotAfter": after(200)},
        ]
        self.server_statuses: list[str] | None = ["VALID"]
        self.rows: list[dict[str, Any]] = []

    def device(self, name: str, days: float, state: str = "ACTIVE") -> None:
        end = after(days).strftime("%Y-%m-%dT%H:%M:%SZ")
        certificates = {"c": {"Status": "ACTIVE", "NotAfter": end, "Pem": "x"}}
        row = {"ThingName": name, "State": state, "CertificateId": "c", "Certificates": certificates}
        self.rows.append(self.package.aws.typed(row))

    def pages(self, _service: str, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        if operation == "list_ca_certificates":
            for name, (status, _) in self.authorities.items():
                yield {"certificates": [{"certificateId": name, "status": status}]}
        elif operation == "list_certificates":
            assert "EC_prime256v1" in arguments["Includes"]["keyTypes"]
            for each in self.certificates:
                yield {"CertificateSummaryList": [each]}
        else:
            assert arguments["TableName"] == "fleet-device-inventory"
            for row in self.rows[arguments["Segment"] :: arguments["TotalSegments"]]:
                yield {"Items": [row]}

    def client(self, _service: str) -> Any:
        return SimpleNamespace(
            describe_ca_certificate=lambda certificateId: {
                "certificateDescription": {"validity": {"notAfter": self.authorities[certificateId][1]}}
            },
            describe_domain_configuration=self._domain,
        )

    def _domain(self, **arguments: str) -> dict[str, Any]:
        assert arguments == {"domainConfigurationName": "fleet-primary"}
        if self.server_statuses is None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "Describe")
        return {"serverCertificates": [{"serverCertificateStatus": status} for status in self.server_statuses]}

    def check(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.package.handler.handler({}, None)
        return answer


@pytest.fixture
def region(package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Region:
    region = Region(package)
    monkeypatch.setattr(package.handler, "aws", region.client)
    monkeypatch.setattr(package.handler, "pages", region.pages)
    return region


def test_the_first_end_of_each_kind_is_told(region: Region) -> None:
    region.authorities |= {"g2": ("ACTIVE", after(100)), "old": ("INACTIVE", after(-1))}
    region.certificates += [
        {"Type": "IMPORTED", "SubjectAlternativeNameSummaries": ["b", "iot.example.com"], "NotAfter": after(20)},
        {"Type": "IMPORTED", "DomainName": "another.example.com", "NotAfter": after(-1)},
        {"Type": "AMAZON_ISSUED", "DomainName": "iot.example.com", "Status": "PENDING_VALIDATION"},
    ]
    for name, days in {"soon": 13, "later": 15, "expired": -2, "far": 400}.items():
        region.device(name, days)
    region.device("revoked", -2, "REVOKED")
    answer = region.check()
    assert {name: int(answer.pop(name) // 1) for name in list(answer) if name.endswith("Days")} == {
        "IssuingCaDays": 100,
        "ServerCertificateDays": 20,
        "ValidationCertificateDays": 200,
        "DeviceDays": -2,
    }
    assert answer == {
        "RefusedServerCertificates": 0,
        "DevicesInUse": 4,
        "DevicesEnding": 2,
        "DevicesExpired": 1,
        "Soonest": ["expired", "soon", "later", "far"],
    }


@pytest.mark.parametrize(("statuses", "refused"), [(["VALID"], 0), (["INVALID"], 1), ([], 0), (None, 0)])
def test_a_server_certificate_that_aws_refuses_is_counted(
    region: Region, statuses: list[str] | None, refused: int
) -> None:
    region.server_statuses = statuses
    assert region.check()["RefusedServerCertificates"] == refused


def test_what_the_region_has_nothing_of_has_no_metric(region: Region) -> None:
    region.authorities.clear()
    region.certificates.clear()
    assert region.check() == {
        "RefusedServerCertificates": 0,
        "DevicesInUse": 0,
        "DevicesEnding": 0,
        "DevicesExpired": 0,
        "Soonest": [],
    }


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Metrics by name, as CloudWatch takes them from the log."""
    found: dict[str, Any] = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("fleet", [["FunctionName"]])
        assert line["FunctionName"] == "fleet-check-certificates"
        found |= {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    return found


def test_every_alarm_asks_for_a_metric_that_is_told(region: Region, capsys: pytest.CaptureFixture[str]) -> None:
    region.device("soon", 1)
    region.check()
    metrics = told(capsys)
    alarms = [alarm for _, alarm in of_type(template("expiry")["Resources"], "AWS::CloudWatch::Alarm")]
    asked = {alarm["MetricName"] for alarm in alarms if alarm["Namespace"] == {"Ref": "Application"}}
    assert asked == metrics.keys() - {"DeviceDays", "DevicesInUse", "DevicesExpired"}
    assert metrics["DevicesEnding"] == 1


def test_a_registry_that_cannot_be_read_does_not_hide_the_rest(
    region: Region, package: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(package.handler, "_devices", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        region.check()
    assert "ServerCertificateDays" in told(capsys)
