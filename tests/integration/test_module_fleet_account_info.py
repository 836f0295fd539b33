# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from iotops.sandbox.client import Sandbox
from tests.integration.modules import Region

MODULE = "fleet_account_info"


def test_the_account_and_the_zone_are_told(region: Region, sandbox: Sandbox):
    answer = region.run(MODULE, hosted_zone_id=sandbox.hosted_zone_id, domain="iot.example.com")
    assert answer["account_id"] == sandbox.account_id
    assert answer["zone_name"] == "example.com"
    assert not answer["changed"]


@pytest.mark.parametrize("domain", ["iot.example.org", "example.com", "iotexample.com"])
def test_a_domain_that_is_not_below_the_zone_is_refused(region: Region, sandbox: Sandbox, domain: str):
    message = region.refusal(MODULE, hosted_zone_id=sandbox.hosted_zone_id, domain=domain)
    assert message.startswith(f"fleet_domain is '{domain}': use a name below example.com")


def test_an_unknown_zone_is_refused(region: Region, sandbox: Sandbox):
    message = region.refusal(MODULE, hosted_zone_id="Z0000000000000", domain="iot.example.com")
    assert message == f"fleet_hosted_zone_id is 'Z0000000000000': name a zone that account {sandbox.account_id} has"


def test_a_private_zone_is_refused(region: Region):
    route53 = region.client("route53")
    made = route53.create_hosted_zone(
        Name="private.example",
        CallerReference="private",
        VPC={"VPCRegion": region.name, "VPCId": "vpc-12345678"},
        HostedZoneConfig={"PrivateZone": True},
    )["HostedZone"]["Id"].rsplit("/", 1)[-1]
    try:
        assert "a private zone" in region.refusal(MODULE, hosted_zone_id=made, domain="iot.private.example")
    finally:
        route53.delete_hosted_zone(Id=made)


def test_silence_is_told_with_a_remedy(region: Region):
    silent = Region({**region.connection, "endpoint_url": "http://127.0.0.1:9"})
    message = silent.refusal(MODULE, hosted_zone_id="Z0", domain="iot.example.com")
    assert "make sandbox-up" in message
