# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from iotops.sandbox.addresses import iot_regions
from tests.integration.sandbox.fleet import Fleet
from tests.integration.sandbox.mqtt import Device, issue

HOME, FAR = "eu-west-1", "us-west-2"


@pytest.fixture(scope="module")
def fleet(sandbox, tmp_path_factory):
    fleet = Fleet(sandbox, tmp_path_factory.mktemp("fleet"), (HOME, FAR))
    fleet.serve(HOME)
    fleet.serve(FAR)
    return fleet


def certificate(fleet, region, issued):
    return fleet.sandbox.client("iot", region).describe_certificate(certificateId=issued.id)["certificateDescription"]


def test_every_region_of_aws_iot_listens_on_loopback_only(sandbox):
    assert set(sandbox.regions) == set(iot_regions())
    addresses = [at["mqtt"] for at in sandbox.regions.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(address.startswith("127.") for address in addresses)
    assert {address.split(".")[0] for address in listening(sandbox.pid)} == {"127"}


def listening(pid):
    """The addresses on which the process accepts TCP connections, by the kernel's account."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("no /proc here")
    sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                packed = bytes.fromhex(fields[1].split(":")[0])[::-1]
                found.append(".".join(map(str, packed)))
    return found


def test_an_unknown_certificate_of_a_registered_ca_is_registered_pending_in_that_region_only(fleet):
    issued = issue("dev-new", fleet.ca)
    assert not fleet.device("dev-new", HOME, issued).connect()
    described = certificate(fleet, HOME, issued)
    assert described["status"] == "PENDING_ACTIVATION"
    assert described["caCertificateId"] == fleet.ca_ids[HOME]
    missing = fleet.sandbox.client("iot", FAR)
    with pytest.raises(missing.exceptions.ResourceNotFoundException):
        missing.describe_certificate(certificateId=issued.id)


def test_the_same_active_certificate_connects_to_both_regions(fleet):
    issued = issue("dev-both", fleet.ca)
    for region in (HOME, FAR):
        fleet.activate(region, issued)
    devices = [fleet.device("dev-both", region, issued) for region in (HOME, FAR)]
    assert [device.connect() for device in devices] == [True, True]
    for device in devices:
        assert device.subscribe("t/1")
    assert devices[0].publish("t/1", "from home")
    devices[0].wait_for(1)
    devices[0].close()
    devices[1].close()
    assert [message for _topic, message in devices[0].received] == [b"from home"]
    assert devices[1].received == []


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_a_certificate_that_is_not_active_is_refused_in_its_region_only(fleet, status):
    issued = issue(f"dev-{status}", fleet.ca)
    for region in (HOME, FAR):
        fleet.activate(region, issued)
    fleet.sandbox.client("iot", HOME).update_certificate(certificateId=issued.id, newStatus=status)
    assert not fleet.device(f"dev-{status}", HOME, issued).connect()
    far = fleet.device(f"dev-{status}", FAR, issued)
    assert far.connect()
    far.close()


def test_a_certificate_of_an_unknown_ca_is_refused_and_not_registered(fleet):
    stranger = issue("stranger", issue("Other CA", authority=True))
    assert not fleet.device("stranger", HOME, stranger).connect()
    iot = fleet.sandbox.client("iot", HOME)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_certificate(certificateId=stranger.id)


def test_a_client_without_certificate_is_refused(fleet):
    host, port = fleet.sandbox.regions[HOME]["mqtt"].split(":")
    context = ssl.create_default_context(cafile=str(fleet.trust))
    try:
        with socket.create_connection((host, int(port))) as plain:
            plain.settimeout(5)
            with context.wrap_socket(plain, server_hostname="iot.example.com") as secured:
                secured.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
                answer = secured.recv(1)  # TLS 1.3 tells the client after its own part of the handshake
    except (ssl.SSLError, ConnectionError):
        answer = b""
    assert answer == b""


def test_a_certificate_registered_without_ca_connects(fleet):
    loose = issue("dev-loose", issue("Unregistered CA", authority=True))
    iot = fleet.sandbox.client("iot", HOME)
    fleet.activate(HOME, issue("any", fleet.ca))  # makes the policy
    arn = iot.register_certificate_without_ca(certificatePem=loose.pem, status="ACTIVE")["certificateArn"]
    iot.attach_policy(policyName="allow", target=arn)
    files = loose.files(fleet.directory)
    device = Device(fleet.sandbox.regions[HOME]["mqtt"], fleet.trust, files, "dev-loose")
    assert device.connect()
    device.close()


def served(fleet, region, name):
    """Serial number of the certificate that a client asking for ``name`` is shown."""
    host, port = fleet.sandbox.regions[region]["mqtt"].split(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))


def test_a_domain_is_served_with_its_certificate_live_after_reimport_and_only_while_enabled(fleet):
    domain = "live.example.com"
    arn = fleet.serve(HOME, domain)
    first = served(fleet, HOME, domain)
    renewed = issue(domain, fleet.root, dns=(domain,))
    fleet.sandbox.client("acm", HOME).import_certificate(
        CertificateArn=arn, Certificate=renewed.pem, PrivateKey=renewed.key_pem, CertificateChain=fleet.root.pem
    )
    assert served(fleet, HOME, domain) == renewed.pem != first
    assert served(fleet, FAR, domain) != renewed.pem
    iot = fleet.sandbox.client("iot", HOME)
    iot.update_domain_configuration(domainConfigurationName="live-example-com", domainConfigurationStatus="DISABLED")
    assert served(fleet, HOME, domain) != renewed.pem


def test_devices_of_a_ca_that_was_deleted_go_on_working_and_no_new_one_comes_in(fleet):
    domain = "orphans.example.com"
    gone = issue("Deleted Issuing CA", fleet.root, authority=True)
    iot = fleet.sandbox.client("iot", HOME)
    ca = iot.register_ca_certificate(
        caCertificate=gone.pem, certificateMode="SNI_ONLY", setAsActive=True, allowAutoRegistration=True
    )["certificateId"]
    fleet.serve(HOME, domain)
    known, unknown = issue("dev-orphan", gone), issue("dev-too-late", gone)
    registered = iot.register_certificate(certificatePem=known.pem, caCertificatePem=gone.pem, status="ACTIVE")
    fleet.activate(HOME, issue("dev-of-another-ca", fleet.ca))
    iot.attach_policy(policyName="allow", target=registered["certificateArn"])
    device = fleet.device("dev-orphan", HOME, known, domain)
    assert device.connect()
    device.close()
    iot.update_ca_certificate(certificateId=ca, newStatus="INACTIVE", newAutoRegistrationStatus="DISABLE")
    iot.delete_ca_certificate(certificateId=ca)
    again = "orphans-again.example.com"  # a server certificate that no device has met yet
    fleet.serve(HOME, again)
    device = fleet.device("dev-orphan", HOME, known, again)
    assert device.connect()
    device.close()
    assert not fleet.device("dev-too-late", HOME, unknown, again).connect(2)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        certificate(fleet, HOME, unknown)


def test_a_cut_region_drops_its_devices_and_calls_until_restored(fleet):
    issued = issue("dev-cut", fleet.ca)
    fleet.activate(FAR, issued)
    device = fleet.device("dev-cut", FAR, issued)
    assert device.connect()
    fleet.sandbox.cut(FAR)
    try:
        assert device.lost.wait(5)
        assert not fleet.device("dev-cut", FAR, issued).connect()
        with pytest.raises(Exception, match=r"Connection (was closed|aborted)|Could not connect"):
            fleet.sandbox.client("iot", FAR).list_things()
        assert fleet.sandbox.client("iot", HOME).list_things()["things"] is not None
    finally:
        fleet.sandbox.restore(FAR)
    again = fleet.device("dev-cut", FAR, issued)
    assert again.connect()
    again.close()
