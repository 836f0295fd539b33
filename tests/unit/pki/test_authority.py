from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError

from .conftest import Pki


def load(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


def test_the_issuing_ca_is_signed_by_the_root_and_signs_no_ca(pki: Pki) -> None:
    root = load(pki.ensure_root()["authority"]["certificate"])
    issuing = load(pki.ensure_issuing()["authority"]["certificate"])
    issuing.verify_directly_issued_by(root)
    constraints = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    usage = issuing.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert usage.crl_sign


def test_every_certificate_names_its_own_key_and_its_signer_s(pki: Pki) -> None:
    certificates = [
        load(pki.ensure_root()["authority"]["certificate"]),
        load(pki.ensure_issuing()["authority"]["certificate"]),
        load(pki.ensure_server()["server"]["certificate"]),
    ]
    for signer, certificate in zip([certificates[0], *certificates], certificates, strict=False):
        signer_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        assert named == signer_id


@pytest.mark.defect("S1-35")
@pytest.mark.parametrize(("result", "usage"), [("server", "SERVER_AUTH"), ("device", "CLIENT_AUTH")])
def test_a_leaf_serves_one_purpose_only(pki: Pki, result: str, usage: str) -> None:
    made = pki.ensure_server()["server"] if result == "server" else pki.ensure_devices("dev-1")["certificates"][0]
    extended = load(made["certificate"]).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [getattr(ExtendedKeyUsageOID, usage)]


def test_the_chain_is_the_issuing_ca_then_the_root(pki: Pki) -> None:
    chain = Path(pki.ensure_issuing()["authority"]["chain"]).read_bytes()
    subjects = [certificate.subject.rfc4514_string() for certificate in x509.load_pem_x509_certificates(chain)]
    assert subjects == ["CN=Example Issuing CA G1,O=Example", "CN=Example Root CA,O=Example"]


def test_a_second_run_changes_nothing(pki: Pki) -> None:
    before = pki.snapshot()
    assert not pki.ensure_root()["changed"]
    assert not pki.ensure_issuing()["changed"]
    assert pki.snapshot() == before


def test_check_mode_predicts_and_writes_nothing(empty_pki: Pki) -> None:
    predicted = [empty_pki.ensure_root(check_mode=True), empty_pki.ensure_issuing(check_mode=True)]
    assert all(result["changed"] for result in predicted)
    assert not empty_pki.path.exists()
    made = [empty_pki.ensure_root(), empty_pki.ensure_issuing()]
    assert [sorted(result["diff"]["after"].split("\n")) for result in predicted] == [
        sorted(result["diff"]["after"].split("\n")) for result in made
    ]
    assert not empty_pki.ensure_issuing(check_mode=True)["changed"]


@pytest.mark.defect("S1-35")
def test_directories_and_keys_are_private_and_are_made_so_again(pki: Pki) -> None:
    key = pki.issuing / "private" / "issuing.key.pem"
    key.chmod(0o644)
    pki.issuing.chmod(0o755)
    assert "mode 0644 to 0600" in pki.ensure_issuing()["diff"]["after"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.path.rglob("*") if path.is_dir()} == {0o700}


@pytest.mark.parametrize(
    ("change", "found"),
    [({"common_name": "Example Issuing CA G2"}, "subject"), ({"key_profile": "rsa"}, "key type")],
)
def test_an_existing_ca_is_not_changed_in_place(pki: Pki, change: dict[str, str], found: str) -> None:
    before = pki.snapshot()
    for check_mode in (True, False):
        with pytest.raises(PkiError, match=f"{found}.*never changed in place.*rotate"):
            pki.ensure_issuing(check_mode=check_mode, **change)
    assert pki.snapshot() == before


def test_a_revoked_issuing_ca_is_refused(pki: Pki) -> None:
    ledger = pki.root / "index.txt"
    ledger.write_text(ledger.read_text().replace("V\t", "R\t").replace("\t\t", "\t260101000000Z\t"))
    with pytest.raises(PkiError, match=r"revoked.*next generation"):
        pki.ensure_issuing()


@pytest.mark.defect("S1-35")
def test_keys_of_cas_are_encrypted_with_the_passphrase(empty_pki: Pki) -> None:
    empty_pki.ensure_root(passphrase="secret words")
    key = (empty_pki.root / "private" / "root.key.pem").read_bytes()
    assert key.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert serialization.load_pem_private_key(key, b"secret words").key_size == 384
    assert not empty_pki.ensure_root(passphrase="secret words")["changed"]


@pytest.mark.parametrize(
    ("made_with", "opened_with", "message"),
    [
        ("right", "wrong", "passphrase does not open it"),
        ("right", None, "is encrypted: set its passphrase"),
        (None, "superfluous", "is not encrypted but a passphrase is set"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_one_clear_line(
    empty_pki: Pki, made_with: str | None, opened_with: str | None, message: str
) -> None:
    empty_pki.ensure_root(passphrase=made_with)
    with pytest.raises(PkiError, match=message) as raised:
        empty_pki.ensure_root(passphrase=opened_with)
    assert "\n" not in str(raised.value)
    assert "root.key.pem" in str(raised.value)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("private/issuing.key.pem", "issuing.key.pem cannot be read: it is damaged"),
        ("certs/issuing.cert.pem", "issuing.cert.pem is not a PEM certificate"),
        ("index.txt", "index.txt is damaged, line 1"),
    ],
)
def test_a_damaged_file_is_one_clear_line(pki: Pki, file: str, message: str) -> None:
    (pki.issuing / file).write_text("nonsense\n")
    with pytest.raises(PkiError, match=message):
        pki.ensure_issuing()


def test_a_ledger_that_is_gone_is_not_begun_anew(pki: Pki) -> None:
    (pki.issuing / "index.txt").unlink()
    for ensure in (pki.ensure_issuing, pki.ensure_server):
        with pytest.raises(PkiError, match=r"index\.txt is missing: restore it"):
            ensure()
    assert not (pki.issuing / "index.txt").exists()


def test_a_key_of_another_certificate_is_refused(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    (other.issuing / "private" / "issuing.key.pem").replace(pki.issuing / "private" / "issuing.key.pem")
    with pytest.raises(PkiError, match="is not the key of"):
        pki.ensure_issuing()


def test_the_root_key_may_be_taken_away_once_the_issuing_ca_is_made(pki: Pki) -> None:
    (pki.root / "private" / "root.key.pem").unlink()
    assert not pki.ensure_issuing()["changed"]
    assert pki.ensure_devices("dev-1")["changed"]


def test_a_root_that_cannot_sign_leaves_no_issuing_ca_behind(empty_pki: Pki) -> None:
    empty_pki.ensure_root(passphrase="right")
    with pytest.raises(PkiError, match="passphrase does not open it"):
        empty_pki.ensure_issuing(issuer_passphrase="wrong")
    assert not empty_pki.issuing.exists()


def test_an_issuing_ca_without_a_root_is_refused(empty_pki: Pki) -> None:
    with pytest.raises(PkiError, match="holds no root CA: build it first"):
        empty_pki.ensure_issuing()
    assert not empty_pki.issuing.exists()


@pytest.mark.parametrize("days", [0, -1, 10**6])
def test_an_impossible_lifetime_is_refused(empty_pki: Pki, days: int) -> None:
    with pytest.raises(PkiError, match=f"days is {days}"):
        empty_pki.ensure_root(days=days)


def test_the_rsa_profile_has_the_sizes_of_old(empty_pki: Pki) -> None:
    assert empty_pki.ensure_root(key_profile="rsa")["authority"]["key_type"] == "RSA 4096"
    assert empty_pki.ensure_issuing(key_profile="rsa")["authority"]["key_type"] == "RSA 4096"
    assert empty_pki.ensure_server()["server"]["key_type"] == "RSA 2048"
    assert empty_pki.ensure_devices("dev-1")["certificates"][0]["key_type"] == "RSA 2048"
