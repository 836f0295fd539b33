# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of what was issued is to be registered, and what of it is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import serial_text
from ansible_collections.iotops.fleet.plugins.module_utils._registration.issued import Issued, IssuedDevices
from tests.unit.pki.conftest import Pki


@pytest.fixture
def pki(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pki:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(os, "sync", lambda: None)
    made = Pki(tmp_path / "pki")
    made.ensure_root()
    made.ensure_issuing()
    return made


def names(found: IssuedDevices) -> list[str]:
    return [device.name for device in found.devices]


def why(found: IssuedDevices, device: Issued) -> str:
    with pytest.raises(PkiError) as error:
        found.read(device)
    return str(error.value)


def serial(pki: Pki, name: str) -> str:
    """Of the certificate in the folder of a device, as the ledger has it: whole octets."""
    pem = (pki.clients / name / f"{name}.cert.pem").read_bytes()
    return serial_text(x509.load_pem_x509_certificate(pem).serial_number)


def test_all_that_is_valid_and_a_device_s_is_found(pki: Pki) -> None:
    pki.ensure_server()
    pki.ensure_devices("dev-[1:4]")
    pki.revoke(serial(pki, "dev-2"))
    ledger = pki.issuing / "index.txt"
    gone = next(line for line in ledger.read_text().splitlines() if line.endswith("CN=dev-3"))
    ledger.write_text(ledger.read_text().replace(gone, gone.replace(gone.split("\t")[1], "200101000000Z")))
    found = IssuedDevices(str(pki.issuing))
    assert names(found) == ["dev-1", "dev-4"]
    certificate = found.read(found.devices[0])
    copy = x509.load_pem_x509_certificate((pki.clients / "dev-1/dev-1.cert.pem").read_bytes())
    issuer = x509.load_pem_x509_certificate((pki.issuing / "certs/issuing.cert.pem").read_bytes())
    assert certificate.pem == (pki.clients / "dev-1/dev-1.cert.pem").read_text()
    assert certificate.certificate_id == copy.fingerprint(hashes.SHA256()).hex()
    assert certificate.issuer == issuer.fingerprint(hashes.SHA256()).hex()
    assert certificate.serial == f"{copy.serial_number:x}"
    assert certificate.not_after == copy.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_of_several_certificates_the_newest_valid_one_counts(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    first = serial(pki, "dev-1")
    pki.ensure_devices("dev-1", renew=True)
    second = serial(pki, "dev-1")
    assert [int(each.serial, 16) for each in IssuedDevices(str(pki.issuing)).devices] == [int(second, 16)]
    pki.revoke(IssuedDevices(str(pki.issuing)).devices[0].serial)
    for found in (IssuedDevices(str(pki.issuing)), IssuedDevices(str(pki.issuing), names=["dev-1"])):
        assert [int(each.serial, 16) for each in found.devices] == [int(first, 16)]


def test_what_is_named_is_taken_in_its_order_and_a_revoked_one_is_told(pki: Pki, tmp_path: Path) -> None:
    pki.ensure_devices("dev-[1:3]")
    pki.revoke(IssuedDevices(str(pki.issuing), names=["dev-2"]).devices[0].serial)
    listed = tmp_path / "lot.csv"
    listed.write_text("name,site\ndev-3,north\ndev-2,south\n")
    assert names(IssuedDevices(str(pki.issuing), names=["dev-3", "dev-1"])) == ["dev-3", "dev-1"]
    found = IssuedDevices(str(pki.issuing), devices_file=str(listed))
    assert names(found) == ["dev-3", "dev-2"]
    assert why(found, found.devices[1]) == "its certificate is revoked"


def test_a_name_without_a_certificate_is_an_error(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    with pytest.raises(PkiError, match=r"^dev-2, dev-3: no certificate in .*index.txt; issue it first$"):
        IssuedDevices(str(pki.issuing), names=["dev-[1:3]"])


def test_an_archive_s_certificates_are_in_its_manifest_only(pki: Pki, tmp_path: Path) -> None:
    pki.ensure_devices("dev-1", "dev-2", path=str(tmp_path / "lot.tar"), layout="archive")
    found = IssuedDevices(str(pki.issuing))
    assert "of an archive, name the manifest" in why(found, found.devices[0])
    manifest = tmp_path / "lot.ndjson"
    found = IssuedDevices(str(pki.issuing), manifest=str(manifest))
    assert sorted(names(found)) == ["dev-1", "dev-2"]
    for device, line in zip(found.devices, manifest.read_text().splitlines(), strict=True):
        columns, read = json.loads(line), found.read(device)
        assert (read.name, read.certificate_id) == (columns["ThingName"], columns["CertificateId"])
        assert (read.pem, read.serial) == (columns["CertificatePem"], columns["Serial"])
        assert (read.not_after, read.issuer) == (columns["NotAfter"], columns["IssuerFingerprint"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ThingName": "dev-9"}, "its certificate is that of 'dev-1'"),
        ({"Serial": "5ec2e7"}, "its certificate is not in the ledger of the issuing CA"),
        ({"CertificatePem": "torn"}, "what the manifest has of it is not a certificate"),
    ],
)
def test_a_line_of_a_manifest_is_not_believed(pki: Pki, tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    manifest = tmp_path / "lot.ndjson"
    pki.ensure_devices("dev-1", manifest=str(manifest))
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changes}) + "\n")
    found = IssuedDevices(str(pki.issuing), manifest=str(manifest))
    assert why(found, found.devices[0]) == reason


def test_another_device_s_certificate_is_not_registered_under_a_serial_number(pki: Pki, tmp_path: Path) -> None:
    manifest = tmp_path / "lot.ndjson"
    pki.ensure_devices("dev-1", "dev-2", manifest=str(manifest))
    one, other = map(json.loads, manifest.read_text().splitlines())
    manifest.write_text(json.dumps({**one, "CertificatePem": other["CertificatePem"]}) + "\n")
    found = IssuedDevices(str(pki.issuing), manifest=str(manifest))
    assert why(found, found.devices[0]) == "its certificate has another serial number"


def forge(pki: Pki, device: Issued, signer: Pki, *purposes: x509.ObjectIdentifier) -> None:
    """Put another certificate of the same name and serial number in the place of the CA's copy."""
    copy = pki.issuing / f"newcerts/{device.serial}.pem"
    ours = x509.load_pem_x509_certificate(copy.read_bytes())
    key = load_pem_private_key((signer.issuing / "private/issuing.key.pem").read_bytes(), None)
    builder = x509.CertificateBuilder(
        issuer_name=ours.issuer,
        subject_name=ours.subject,
        public_key=ours.public_key(),
        serial_number=ours.serial_number,
        not_valid_before=ours.not_valid_before_utc,
        not_valid_after=ours.not_valid_after_utc,
    ).add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    copy.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def test_a_certificate_that_a_region_would_not_trust_is_not_registered(pki: Pki, tmp_path: Path) -> None:
    pki.ensure_devices("dev-1")
    found = IssuedDevices(str(pki.issuing))
    [device] = found.devices
    forge(pki, device, pki, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert found.read(device).name == "dev-1"
    forge(pki, device, pki, ExtendedKeyUsageOID.SERVER_AUTH)
    assert why(found, device) == "its certificate is not for clients"
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    forge(pki, device, other, ExtendedKeyUsageOID.CLIENT_AUTH)
    assert why(found, device) == "the issuing CA did not sign its certificate"


@pytest.mark.parametrize(
    "line", ["", "[]", '{"ThingName": "dev-1"}', '{"ThingName": "dev-1", "Serial": "x", "CertificatePem": ""}']
)
def test_a_file_that_is_no_manifest_is_an_error(pki: Pki, tmp_path: Path, line: str) -> None:
    manifest = tmp_path / "lot.ndjson"
    manifest.write_text(f"{line}\n")
    with pytest.raises(PkiError, match=r"lot.ndjson, line 1: not a line of a manifest"):
        IssuedDevices(str(pki.issuing), manifest=str(manifest))


def test_a_name_that_is_there_twice_is_an_error(pki: Pki, tmp_path: Path) -> None:
    manifest = tmp_path / "lot.ndjson"
    pki.ensure_devices("dev-1", manifest=str(manifest))
    manifest.write_text(manifest.read_text() * 2)
    with pytest.raises(PkiError, match=r"line 2: dev-1 is there twice"):
        IssuedDevices(str(pki.issuing), manifest=str(manifest))
