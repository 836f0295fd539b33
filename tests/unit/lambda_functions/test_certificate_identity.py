# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SOURCE = Path(__file__).parents[3] / "files/lambda/certificate_identity/handler.py"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("certificate_identity", SOURCE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


identity = load()
CA_KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(
    *names: str,
    issuer: str = "Issuing CA G1",
    signer: Any = CA_KEY,
    key: Any = None,
    begin: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    extensions: tuple[x509.ExtensionType, ...] = (),
    serial: int = 0x0ABC,
) -> x509.Certificate:
    def name(*common_names: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in common_names])

    builder = x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(*names),
        public_key=(key or ec.generate_private_key(ec.SECP256R1())).public_key(),
        serial_number=serial,
        not_valid_before=begin,
        not_valid_after=end,
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA256())


CA = certificate("Issuing CA G1", key=CA_KEY, end=NOW + 30 * DAY, extensions=(x509.BasicConstraints(True, 0),))


def pem(issued: x509.Certificate) -> str:
    return issued.public_bytes(serialization.Encoding.PEM).decode()


def verdict(issued: x509.Certificate, *issuers: x509.Certificate, now: datetime = NOW) -> dict[str, Any]:
    return identity.identify(pem(issued), issuers=issuers or (CA,), now=now)


def test_a_certificate_of_our_ca_is_trusted_and_described() -> None:
    device = certificate("dev-1", extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),))
    assert verdict(device) == {
        "trusted": True,
        "reason": "",
        "thingName": "dev-1",
        "certificateId": device.fingerprint(hashes.SHA256()).hex(),
        "serial": "abc",
        "notBefore": "2026-05-31T00:00:00Z",
        "notAfter": "2026-06-02T00:00:00Z",
        "keyType": "EC",
        "keyBits": 256,
        "issuerFingerprint": CA.fingerprint(hashes.SHA256()).hex(),
        "provisioned": False,
    }


PROVISIONED_KEY = ec.generate_private_key(ec.SECP256R1())
PROVISIONED = certificate(
    "JITP CA", key=PROVISIONED_KEY, end=NOW + 30 * DAY, extensions=(x509.BasicConstraints(True, 0),)
)


@pytest.mark.parametrize("name", ["dev-1", "no thing name"])
def test_whom_a_template_lets_in_is_known_by_its_ca_whether_it_may_come_in_or_not(name: str) -> None:
    device = certificate(name, issuer="JITP CA", signer=PROVISIONED_KEY)
    found = identity.identify(pem(device), issuers=(CA,), provisioned=(PROVISIONED,), now=NOW)
    assert found["provisioned"]
    assert found["issuerFingerprint"] == PROVISIONED.fingerprint(hashes.SHA256()).hex()
    assert found["trusted"] == (name == "dev-1")


def test_who_only_claims_to_be_of_that_ca_is_a_stranger() -> None:
    forged = certificate("dev-1", issuer="JITP CA")
    found = identity.identify(pem(forged), issuers=(CA,), provisioned=(PROVISIONED,), now=NOW)
    assert (found["provisioned"], found["reason"]) == (False, "its issuer did not sign it")


def test_each_generation_in_the_bundle_is_trusted() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    second = certificate("Issuing CA G2", issuer="Root", key=key)
    device = certificate("dev-1", issuer="Issuing CA G2", signer=key)
    assert verdict(device, CA, second)["issuerFingerprint"] == second.fingerprint(hashes.SHA256()).hex()


RSA_1024 = rsa.generate_private_key(65537, 1024)  # noqa: S505 - too weak on purpose


@pytest.mark.defect("S1-15")
@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        (certificate("dev-1", issuer="Stranger"), "its issuer is not one of ours"),
        (certificate("dev-1", signer=ec.generate_private_key(ec.SECP256R1())), "its issuer did not sign it"),
        (certificate("dev-1", begin=NOW - 3 * DAY, end=NOW - DAY), "it expired on 2026-05-31T00:00:00Z"),
        (certificate("dev-1", begin=NOW + DAY, end=NOW + 2 * DAY), "it is not valid before 2026-06-02T00:00:00Z"),
        (certificate("dev-1", key=RSA_1024), "its RSA key has 1024 bits, less than 2048"),
        (
            certificate("dev-1", key=ec.generate_private_key(ec.SECP256K1())),
            "its key is of a kind that AWS IoT does not take",
        ),
        (
            certificate("dev-1", key=ed25519.Ed25519PrivateKey.generate()),
            "its key is of a kind that AWS IoT does not take",
        ),
        (certificate("dev-1", key=dsa.generate_private_key(2048)), "its key is of a kind that AWS IoT does not take"),
        (
            certificate("dev-1", extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),)),
            "it is not for clients",
        ),
        (certificate("dev-1", extensions=(x509.BasicConstraints(True, None),)), "it is a CA's"),
        (certificate(), "it has 0 common names, and not one"),
        (certificate("dev-1", "dev-2"), "it has 2 common names, and not one"),
        (certificate("dev 1"), "its common name is not a thing name"),
        (certificate("dev-1\n"), "its common name is not a thing name"),
    ],
)
def test_a_certificate_that_may_not_come_in_has_its_reason(issued: x509.Certificate, reason: str) -> None:
    found = verdict(issued)
    assert (found["trusted"], found["reason"]) == (False, reason)
    assert found["certificateId"] == issued.fingerprint(hashes.SHA256()).hex()


def test_a_name_that_is_no_thing_name_is_not_passed_on() -> None:
    assert verdict(certificate("../x"))["thingName"] == ""


def test_a_certificate_of_an_expired_ca_is_not_trusted() -> None:
    found = verdict(certificate("dev-1", end=NOW + 90 * DAY), now=NOW + 60 * DAY)
    assert found["reason"] == "its issuer expired on 2026-07-01T00:00:00Z"


@pytest.mark.defect("S1-14")
@pytest.mark.parametrize("text", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_gets_the_same_answer_with_nothing_in_it(text: str) -> None:
    found = identity.identify(text, issuers=(CA,), now=NOW)
    assert found["reason"] == "it is not a certificate"
    assert set(found) == set(verdict(certificate("dev-1")))
    assert not any(value for name, value in found.items() if name != "reason")


def test_the_handler_takes_its_cas_from_the_package(tmp_path: Path) -> None:
    (tmp_path / "ca-bundle-0.pem").write_text(pem(CA))
    (tmp_path / "ca-bundle-1.pem").write_text(pem(CA) * 2)
    assert identity.bundle(directory=tmp_path) == (CA, CA, CA)
    assert identity.bundle(identity.PROVISIONED, tmp_path) == ()
    (tmp_path / "jitp-ca.pem").write_text(pem(PROVISIONED))
    identity.bundle.cache_clear()
    assert identity.bundle(identity.PROVISIONED, tmp_path) == (PROVISIONED,)
    assert PROVISIONED not in identity.bundle(directory=tmp_path)


def test_a_package_without_cas_fails_rather_than_reject_every_device(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no ca-bundle\*.pem in the package"):
        identity.bundle(directory=tmp_path)
