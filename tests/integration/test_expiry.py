# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends soon, as the region's own function tells CloudWatch and as an operator's report has it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._expiry.region import served
from ansible_collections.iotops.fleet.plugins.module_utils._registry.rows import following, timestamp
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from iotops.sandbox.client import Sandbox
from tests.integration.deployment import Deployment, eventually
from tests.integration.features import expiry
from tests.integration.operators import HOME, at
from tests.integration.sandbox.mqtt import issue

DOMAIN = "expiry.example.com"
DEVICES = {"ends-soon": 3, "ends-later": 200, "has-expired": -1}  # days


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One region whose server certificate ends in 20 days, and devices that end or ended.

    A deployment of its own: other tests register CAs, which would be reported.
    """
    sandbox = Sandbox(tmp_path_factory.mktemp("expiry-sandbox")).start()
    deployment = Deployment(sandbox, tmp_path_factory.mktemp("expiry"), (HOME,))
    deployment.serve(HOME, DOMAIN)  # a certificate of 30 days
    acm, iot = (deployment.sandbox.client(service, HOME) for service in ("acm", "iot"))
    [configuration] = [
        each["domainConfigurationName"]
        for each in iot.list_domain_configurations()["domainConfigurations"]
        if each["domainConfigurationName"] == DOMAIN.replace(".", "-")
    ]
    described = iot.describe_domain_configuration(domainConfigurationName=configuration)
    soon = issue(DOMAIN, deployment.root, dns=(DOMAIN,), days=20)
    acm.import_certificate(
        CertificateArn=described["serverCertificates"][0]["serverCertificateArn"],
        Certificate=soon.pem,
        PrivateKey=soon.key_pem,
        CertificateChain=deployment.root.pem,
    )
    for name, days in DEVICES.items():
        end = timestamp(datetime.now(UTC) + timedelta(days=days))
        content = {"Status": "ACTIVE", "NotAfter": end, "Pem": "x", "IssuerFingerprint": "", "Serial": "1"}
        certificates = {f"{name}-certificate": content}
        row = {
            "ThingName": name,
            "State": "ACTIVE",
            "CertificateId": f"{name}-certificate",
            "Certificates": certificates,
        }
        deployment.sandbox.client("dynamodb", HOME).put_item(
            TableName=f"{deployment.application}-device-inventory",
            Item=deployment.image(following({}, row, writer="controller", now=datetime.now(UTC))),
        )
    expiry.deploy(deployment, HOME, DOMAIN)
    yield deployment
    sandbox.stop()


def invoke(fleet: Deployment) -> dict[str, Any]:
    answer = fleet.sandbox.client("lambda", HOME).invoke(FunctionName=f"{fleet.application}-check-certificates")
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return dict(payload)


def test_the_region_alarms_on_what_ends_soon_and_on_nothing_else(watched: Deployment) -> None:
    answer = invoke(watched)
    assert (int(answer["IssuingCaDays"] + 0.01), int(answer["ServerCertificateDays"] + 0.01)) == (30, 20)
    assert answer["ValidationCertificateDays"] > 300
    assert answer["RefusedServerCertificates"] == 0
    assert (answer["DevicesExpired"], answer["DevicesEnding"]) == (1, 2)
    assert answer["Soonest"][:2] == ["has-expired", "ends-soon"]
    cloudwatch = watched.sandbox.client("cloudwatch", HOME)

    def states() -> dict[str, str]:
        alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"{watched.application}-")["MetricAlarms"]
        wanted = ("ends", "end", "refused", "failed")
        found = {each["AlarmName"].removeprefix(f"{watched.application}-"): each["StateValue"] for each in alarms}
        ours = ("issuing", "server", "validation", "device-certificates", "check-certificates")
        return {name: state for name, state in found.items() if name.startswith(ours) and name.endswith(wanted)}

    expected = {
        "issuing-ca-ends": "ALARM",
        "server-certificate-ends": "ALARM",
        "server-certificate-refused": "OK",
        "validation-certificate-ends": "OK",
        "device-certificates-end": "ALARM",
        "check-certificates-failed": "OK",
    }
    assert eventually(lambda: states() == expected or None), states()


def test_a_check_calls_what_it_reads_and_nothing_else(watched: Deployment) -> None:
    began = watched.sandbox.now()
    invoke(watched)
    calls = [
        call["operation"]
        for call in watched.sandbox.journal(since=began, region=HOME)
        if "CheckCertificatesRole" in str(call["caller"])
    ]
    reads = ["DescribeCACertificate", "DescribeDomainConfiguration", "ListCACertificates", "ListCertificates"]
    assert sorted(calls) == [*reads, *["Scan"] * 4]


def pki(fleet: Deployment, directory: Path) -> Path:
    """A PKI's directory with the fleet's root and CA, and another CA that no region knows."""
    contents = {
        "rootCA/certs/root": fleet.root.pem,
        "intermediateCA/certs/issuing": fleet.ca.pem,
        "intermediateCA-G2/certs/issuing": issue("G2", fleet.root, authority=True).pem,
        "server/certs/server": issue(DOMAIN, fleet.root, dns=(DOMAIN,)).pem,
    }
    for name, pem in contents.items():
        path = directory / f"{name}.cert.pem"
        path.parent.mkdir(parents=True)
        path.write_text(pem)
    return directory


def test_the_report_has_what_is_served_and_what_is_registered(watched: Deployment, tmp_path: Path) -> None:
    wanted = {
        "application": watched.application,
        "domain": DOMAIN,
        "address": watched.sandbox.regions[HOME]["mqtt"],
        "pki_dir": str(pki(watched, tmp_path)),
    }
    answer = at(watched).run("fleet_certificates_info", **wanted, devices=True, device_days=[0, 14], named=2)
    lines = {}
    for each in answer["certificates"]:
        left = each["not_after"] and (datetime.fromisoformat(each["not_after"]) - datetime.now(UTC)).days + 1
        lines[each["kind"], each["name"].rpartition("/")[2] if each["severity"] else each["kind"]] = (
            left,
            each["note"],
            each["severity"],
        )
    assert lines.pop(("validation", "validation"))[0] > 300
    assert lines == {
        ("issuing", "issuing"): (30, "", ""),
        ("issuing", "issuing.cert.pem"): (None, "not registered in this region", "warn"),
        ("acm", "acm"): (20, "", ""),
        ("domain", f"{watched.application}-primary"): (None, "there is none; deploy it with site.yml", "error"),
        ("server", DOMAIN): (20, "not the one on the controller", "warn"),
    }
    assert answer["devices"]["within"] == {"0": 1, "14": 2}
    assert [each["thing_name"] for each in answer["devices"]["soonest"]] == ["has-expired", "ends-soon"]


def test_what_is_served_to_nobodys_name_or_not_at_all_is_an_error(watched: Deployment, tmp_path: Path) -> None:
    iot, address = watched.sandbox.client("iot", HOME), watched.sandbox.regions[HOME]["mqtt"]
    look = functools.partial(
        served, iot, region=HOME, domain="nobody.example.com", pki=pki(watched, tmp_path), timeout=5
    )
    [distrusted] = look(address=address)
    assert (distrusted["severity"], distrusted["note"][:25]) == ("error", "devices do not trust it: ")
    assert distrusted["not_after"]
    [closed] = look(address="127.0.0.1:1")
    assert (closed["severity"], closed["not_after"]) == ("error", None)
    with pytest.raises(FleetError, match="address=host:mqtt is not host or host:port"):
        look(address="host:mqtt")
