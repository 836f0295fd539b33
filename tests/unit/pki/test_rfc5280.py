"""What RFC 5280 asks of certificates, point by point, for each kind of certificate and key that is issued."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from .conftest import Pki

DEVICE_KEYS = ["EC P-256", "EC P-384", "RSA 2048", "RSA 3072"]


def load(path: str | Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


@pytest.fixture(params=["server", *DEVICE_KEYS])
def issued(request: pytest.FixtureRequest, pki: Pki) -> tuple[x509.Certificate, x509.Certificate]:
    """A certificate, and that of its issuer."""
    if request.param == "server":
        return load(pki.ensure_server()["server"]["certificate"]), load(pki.issuing / "certs" / "issuing.cert.pem")
    # Three, of which the library made the first one only.
    made = pki.ensure_devices("dev-[1:3]", key_type=request.param, days=10**4)["certificates"]
    return load(made[-1]["certificate"]), load(pki.issuing / "certs" / "issuing.cert.pem")


def test_the_fields_of_a_certificate(issued: tuple[x509.Certificate, x509.Certificate]) -> None:
    certificate, issuer = issued
    assert certificate.version is x509.Version.v3  # 4.1.2.1
    assert 0 < certificate.serial_number < 2**159  # 4.1.2.2: positive, at most 20 octets
    assert certificate.issuer.public_bytes() == issuer.subject.public_bytes()  # 4.1.2.4, 7.1: octet for octet
    assert issuer.not_valid_before_utc <= certificate.not_valid_before_utc < certificate.not_valid_after_utc
    assert certificate.not_valid_after_utc <= issuer.not_valid_after_utc
    assert list(certificate.subject)  # 4.1.2.6
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert all(1 <= len(name.value) <= 64 for name in names)  # A.1: ub-common-name
    certificate.verify_directly_issued_by(issuer)  # 4.1.1.2 too: both algorithms are the same


def test_the_extensions_of_a_certificate(issued: tuple[x509.Certificate, x509.Certificate]) -> None:
    certificate, issuer = issued
    critical = {extension.oid: extension.critical for extension in certificate.extensions}
    assert len(critical) == len(list(certificate.extensions))  # 4.2: none is there twice
    assert {oid for oid, is_critical in critical.items() if is_critical} == {
        ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE,
    }  # fmt: skip  # 4.2.1.1, 4.2.1.2: identifiers of keys are not; 4.2.1.3: key usage should be
    extension = certificate.extensions.get_extension_for_class
    bits = certificate.public_key().public_bytes(
        Encoding.X962 if isinstance(certificate.public_key(), ec.EllipticCurvePublicKey) else Encoding.DER,
        PublicFormat.UncompressedPoint
        if isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
        else PublicFormat.PKCS1,
    )
    assert extension(x509.SubjectKeyIdentifier).value.digest == hashlib.sha1(bits).digest()  # noqa: S324  # 4.2.1.2 (1)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert extension(x509.AuthorityKeyIdentifier).value.key_identifier == identifier  # 4.2.1.1
    constraints = extension(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (False, None)  # 4.2.1.9
    usage = extension(x509.KeyUsage).value
    assert usage.digital_signature  # 4.2.1.3
    assert not (usage.key_cert_sign or usage.crl_sign)
    assert usage.key_encipherment is isinstance(certificate.public_key(), rsa.RSAPublicKey)  # RFC 8813: none for EC
    purposes = list(extension(x509.ExtendedKeyUsage).value)
    assert purposes in ([ExtendedKeyUsageOID.CLIENT_AUTH], [ExtendedKeyUsageOID.SERVER_AUTH])  # 4.2.1.12


@pytest.mark.parametrize(
    ("days", "tag"), [(365, 0x17), (36_500, 0x18)], ids=["UTCTime through 2049", "GeneralizedTime from 2050 on"]
)
def test_times_are_written_as_their_year_demands(empty_pki: Pki, days: int, tag: int) -> None:
    empty_pki.ensure_root(days=36_500)
    empty_pki.ensure_issuing(days=36_500)
    certificate = load(empty_pki.ensure_devices("dev-[1:2]", days=days)["certificates"][1]["certificate"])
    year = certificate.not_valid_after_utc.astimezone(UTC).year
    text = certificate.not_valid_after_utc.strftime("%Y%m%d%H%M%SZ" if year >= 2050 else "%y%m%d%H%M%SZ").encode()
    assert (year >= 2050) == (tag == 0x18)
    assert bytes((tag, len(text))) + text in certificate.tbs_certificate_bytes  # 4.1.2.5
    assert certificate.not_valid_before_utc < datetime.now(UTC)


def test_the_issuing_ca_may_sign_certificates_and_lists_and_nothing_else(pki: Pki) -> None:
    extension = load(pki.issuing / "certs" / "issuing.cert.pem").extensions.get_extension_for_class
    assert (extension(x509.BasicConstraints).critical, extension(x509.KeyUsage).critical) == (True, True)
    assert (extension(x509.BasicConstraints).value.ca, extension(x509.BasicConstraints).value.path_length) == (True, 0)
    assert extension(x509.KeyUsage).value.key_cert_sign
    assert extension(x509.KeyUsage).value.crl_sign
