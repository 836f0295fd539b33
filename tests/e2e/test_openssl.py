"""The PKI tree is one that ``openssl`` works on."""

from __future__ import annotations

import subprocess

from tests.e2e.fleet import Fleet


def openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_openssl_verifies_the_chain_from_the_root(fleet: Fleet) -> None:
    fleet.run("playbooks/issue_devices.yml", "-e", "fleet_devices=dev-ssl").ok()
    root = fleet.pki / "rootCA/certs/root.cert.pem"
    issuing = fleet.pki / "intermediateCA/certs/issuing.cert.pem"
    assert openssl("verify", "-CAfile", root, issuing).returncode == 0
    for leaf in (fleet.pki / "server/certs/server.cert.pem", fleet.pki / "clients/dev-ssl/dev-ssl.cert.pem"):
        verified = openssl("verify", "-CAfile", root, "-untrusted", issuing, leaf)
        assert verified.returncode == 0, verified.stderr
    names = openssl("x509", "-in", fleet.pki / "server/certs/server.cert.pem", "-noout", "-ext", "subjectAltName")
    assert "DNS:iot.example.com" in names.stdout


def test_openssl_ca_answers_for_what_was_issued(fleet: Fleet) -> None:
    configuration = fleet.pki / "intermediateCA/openssl.cnf"
    serial = (
        openssl("x509", "-in", fleet.pki / "server/certs/server.cert.pem", "-noout", "-serial")
        .stdout.split("=")[1]
        .strip()
    )
    status = openssl("ca", "-config", configuration, "-status", serial)
    assert f"{serial}=Valid" in status.stdout + status.stderr
    crl = openssl("ca", "-config", configuration, "-gencrl")
    assert crl.returncode == 0, crl.stderr
    assert "BEGIN X509 CRL" in crl.stdout
