# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from iotops.loadtest.errors import LoadTestError
from iotops.loadtest.identities import load, numbered
from iotops.loadtest.making import Issuer, make
from tests.certificates import Issued, issue

ROOT = issue("root", ca=True)
AUTHORITY = issue("issuing", ca=True, signer=ROOT)


def issuer(directory: Path, authority: Issued = AUTHORITY, passphrase: str = "") -> Issuer:
    """The issuing CA's files; its certificate has the root after it."""
    authority.write(directory, "issuing", passphrase=passphrase or None)
    (directory / "issuing.cert.pem").write_text(authority.pem + ROOT.pem)
    return Issuer(directory / "issuing.cert.pem", directory / "issuing.key.pem", passphrase)


def test_a_device_is_what_aws_iot_takes(tmp_path: Path) -> None:
    [identity] = make(["dev-1"], tmp_path / "devices", issuer(tmp_path))
    certificate, *others = x509.load_pem_x509_certificates(identity.certificate.read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    certificate.verify_directly_issued_by(AUTHORITY.certificate)
    assert others == [AUTHORITY.certificate]  # whoever has the root only can verify it
    assert key.public_key() == certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["dev-1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    [identity] = make(["dev-1"], tmp_path / "devices", issuer(tmp_path))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (identity.key, tmp_path / "devices")]
    assert modes == [0o600, 0o700]


def test_rsa_and_a_passphrase(tmp_path: Path) -> None:
    [identity] = make(["dev-1"], tmp_path / "devices", issuer(tmp_path, passphrase="secret"), key_type="rsa")
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048


def test_a_certificate_ends_no_later_than_its_issuer(tmp_path: Path) -> None:
    [identity] = make(["dev-1"], tmp_path / "devices", issuer(tmp_path), days=9999)
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    assert certificate.not_valid_after_utc == AUTHORITY.certificate.not_valid_after_utc


def test_many_in_parallel_have_serial_numbers_of_their_own(tmp_path: Path) -> None:
    counts: list[int] = []
    names = numbered("load-", 600)
    made = make(names, tmp_path / "devices", issuer(tmp_path), processes=2, progress=counts.append)
    assert [identity.name for identity in made] == names
    assert load(tmp_path / "devices") == made
    serials = {x509.load_pem_x509_certificate(each.certificate.read_bytes()).serial_number for each in made}
    assert len(serials) == 600
    assert min(serials).bit_length() > 90  # of 128 random bits
    assert counts == [0, 250, 500, 600]


def test_a_run_goes_on_with_what_is_missing_or_of_no_use(tmp_path: Path) -> None:
    authority, names, directory = issuer(tmp_path), numbered("load-", 5), tmp_path / "devices"
    first = make(names, directory, authority)
    before = [identity.certificate.read_bytes() for identity in first]
    first[1].key.unlink()
    first[2].certificate.write_text("torn")
    issue("load-000004", signer=issue("another CA", ca=True)).write(directory, "load-000004")
    issue("load-000005", signer=AUTHORITY, days=1.001).write(directory, "load-000005")  # ends in a minute
    again = make(names, directory, authority)
    assert again == first
    after = [identity.certificate.read_bytes() for identity in again]
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, False, False, False]
    for identity in again:
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
        assert key.public_key() == certificate.public_key()
        certificate.verify_directly_issued_by(AUTHORITY.certificate)


def test_what_cannot_sign(tmp_path: Path) -> None:
    good = issuer(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    device = issue("dev")
    device.write(other, "dev")
    cases = [
        (Issuer(tmp_path / "none.pem", good.key), "none.pem: No such file or directory: give the issuing CA's file"),
        (Issuer(good.key, good.key), "it cannot be read: give PEM"),
        (Issuer(good.certificate, other / "dev.key.pem"), "it is not the key of"),
        (Issuer(other / "dev.cert.pem", other / "dev.key.pem"), "it is no CA"),
        (Issuer(good.certificate, issuer(other, passphrase="secret").key), "the passphrase that it needs"),
    ]
    for case, what in cases:
        with pytest.raises(LoadTestError, match=what):
            make(["dev-1"], tmp_path / "devices", case)


def test_a_name_that_no_certificate_can_have(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="choose 1 to 64 letters"):
        make(["x" * 65], tmp_path / "devices", issuer(tmp_path))
    assert "secret" not in repr(Issuer(tmp_path, tmp_path, "secret"))
