# SPDX-License-Identifier: GPL-3.0-or-later
"""The server certificate gets another kind of key, one region after the other, under a device that goes by DNS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ansible_collections.iotops.fleet.plugins.module_utils._x509 import fingerprint
from iotops.sandbox.client import Sandbox
from tests.certificates import Issued
from tests.e2e.fleet import Run
from tests.integration.deployment import eventually
from tests.integration.rotating import Caller, RotatingFleet
from tests.processes import kill
from tests.shown import Shown

HOME, AWAY = "eu-west-1", "us-west-2"  # the home region comes last
RSA = ("-e", "fleet_server_ca_generation=2")
CONFIRMED = (*RSA, "-e", "fleet_replace_confirm=test-fleet")
GENERATIONS = {"fleet_ca_generations": [1, 2], "fleet_ca_key_profiles": {"2": "rsa"}}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotatingFleet]:
    sandbox = Sandbox(tmp_path_factory.mktemp("replacement-sandbox")).start()
    fleet = RotatingFleet(sandbox, tmp_path_factory.mktemp("replacement"), (HOME, AWAY))
    fleet.playbooks().run("playbooks/build_pki.yml", "-e", json.dumps(GENERATIONS)).ok()
    yield fleet
    sandbox.stop()


def pair(fleet: RotatingFleet) -> Issued:
    """The present certificate with its key."""
    key = (fleet.pki / "server/private/server.key.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(fleet.present.read_bytes())
    return Issued(certificate, serialization.load_pem_private_key(key, None))


def said(output: str) -> str:
    """In one line."""
    return " ".join(output.split())


def test_another_kind_of_key(fleet: RotatingFleet, tmp_path: Path) -> None:
    old = {region: fleet.imported(region) for region in fleet.regions}
    present = fingerprint(fleet.present.read_text())

    refused = fleet.rotate(*RSA)
    assert refused.code != 0
    assert "playbooks/replace_server_certificate.yml" in said(refused.output)
    for plan, code in ((fleet.replace(*RSA, "--check"), 0), (fleet.replace(*RSA), 2)):
        assert plan.code == code, plan.output
        assert plan.output.count("out of DNS, serve it, prove it, into DNS") == 2
    assert not fleet.successor.parents[1].exists()

    device = Caller(fleet, "replaced-1")
    with device.calling():
        fail_to_be_proven(fleet)
        assert (fleet.in_dns(), {region: serving(fleet, region) for region in fleet.regions}) == (
            [HOME],
            {region: arn for region, (arn, _) in old.items()},
        )
        refused = deploy(fleet, tmp_path)
        assert f"{AWAY}: the replacement of its server certificate is not finished" in said(refused.output)
        assert (refused.code, fleet.in_dns()) == (2, [HOME])
        alone = fleet.replace(*CONFIRMED, "-e", f"fleet_replace_region={HOME}")
        assert f"{HOME}: no other region is in DNS and trusted" in said(alone.output)
        assert alone.code != 0

        fleet.replace(*CONFIRMED, "-e", f"fleet_replace_region={AWAY}").ok()
        new = fingerprint(fleet.successor.read_text())
        assert (fleet.in_dns(), fleet.imported(AWAY)[1], fleet.imported(HOME)) == ([HOME, AWAY], new, old[HOME])
        assert fingerprint(fleet.present.read_text()) == present
        assert set(deploy(fleet, tmp_path).ok().changed.values()) == {0}
        fleet.replace("-e", "fleet_replace_confirm=test-fleet", "-e", "fleet_replace_state=restored").ok()
        assert {region: fleet.imported(region)[1] for region in fleet.regions} == dict.fromkeys(fleet.regions, present)
        assert not fleet.successor.exists()

        killed = fleet.playbooks().start("playbooks/replace_server_certificate.yml", *CONFIRMED)
        eventually(lambda: fleet.in_dns() == [HOME], seconds=120)
        kill(killed)
        fleet.replace(*CONFIRMED).ok()

    served = fingerprint(fleet.present.read_text())
    assert fleet.in_dns() == [HOME, AWAY]
    assert {region: fleet.imported(region) for region in fleet.regions} == {
        region: (serving(fleet, region), served) for region in fleet.regions
    }
    assert isinstance(x509.load_pem_x509_certificate(fleet.present.read_bytes()).public_key(), rsa.RSAPublicKey)
    assert not fleet.successor.exists()
    assert set(fleet.replace(*RSA).ok().changed.values()) == {0}
    assert "nothing is due" in fleet.rotate(*RSA).ok().output

    assert len(device.acknowledged) == len(fleet.regions)
    for region in fleet.regions:
        eventually(lambda region=region: not missing(fleet, region, device), seconds=60)


def serving(fleet: RotatingFleet, region: str) -> str:
    """ARN of the certificate that the region's domain configuration has."""
    found = fleet.sandbox.client("iot", region).describe_domain_configuration(
        domainConfigurationName=f"{fleet.application}-primary"
    )
    return str(found["serverCertificates"][0]["serverCertificateArn"])


def fail_to_be_proven(fleet: RotatingFleet) -> None:
    """Of the first region the former certificate is seen all the time."""
    chain = (fleet.pki / "intermediateCA/certs/ca-chain.cert.pem").read_text()
    stale = Shown(fleet.directory, pair(fleet), chain=chain)
    fleet.addresses[AWAY] = stale.address
    try:
        failed = fleet.replace(*CONFIRMED, "-e", "server_replacement_timeout=5")
    finally:
        del fleet.addresses[AWAY]
        stale.close()
    assert failed.code != 0
    output = said(failed.output)
    assert f"{AWAY}: Timed out after 5 s waiting for iot.example.com at {stale.address} to serve serial" in output
    assert "It is out of DNS and serves the former certificate. Run again to go on" in output


SITE = """
- hosts: regions
  gather_facts: false
  module_defaults: {group/iotops.fleet.aws: "{{ fleet_aws }}"}
  roles: [iotops.fleet.server_certificate, iotops.fleet.region_endpoint]
"""


def deploy(fleet: RotatingFleet, directory: Path) -> Run:
    """Run the part of site.yml that is about the server certificate."""
    (directory / "site.yml").write_text(SITE)
    return fleet.playbooks().run(str(directory / "site.yml"))


def missing(fleet: RotatingFleet, region: str, device: Caller) -> int:
    """How many messages that were acknowledged anywhere the region's data table lacks."""
    stored = fleet.stored(region)
    return sum(len(numbers - stored.get(key, set())) for key, numbers in device.acknowledged.items())
