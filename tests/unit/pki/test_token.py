"""A CA whose key is in a PKCS#11 token does all that one with a file does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pkcs11
import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._iot.verification import verification_certificate
from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import KeyType
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token import close_tokens, make_token_key
from ansible_collections.iotops.fleet.plugins.module_utils._pki.token_uri import TokenUri
from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError
from ansible_collections.iotops.fleet.plugins.module_utils.pki import PkiError, ensure_crl

from .conftest import Pki
from .tokens import PIN, Token, token

__all__ = ["token"]

LOCATED = "pkcs11:token=Fleet;object=issuing?module-path=/usr/lib/module.so"


def build(pki: Pki, token: Token, **changes: Any) -> dict[str, Any]:
    pki.ensure_root(**{key: value for key, value in changes.items() if key == "key_profile"})
    return pki.ensure_issuing(**{"key_uri": token.uri(), "passphrase": PIN, **changes})


def verify(pki: Pki, *arguments: str | Path) -> None:
    """Have OpenSSL verify what the CA signed."""
    trust = ["-CAfile", pki.root / "certs" / "root.cert.pem", "-untrusted", pki.issuing / "certs" / "issuing.cert.pem"]
    subprocess.run(["openssl", "verify", *trust, *arguments], check=True, capture_output=True)


@pytest.mark.parametrize("profile", ["ec", "rsa"])
def test_a_key_in_a_token_signs_all_that_a_ca_signs(
    empty_pki: Pki, token: Token, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = empty_pki
    predicted = build(pki, token, key_profile=profile, check_mode=True)
    made = build(pki, token, key_profile=profile)
    assert f"{token.uri()}: created\n" in made["diff"]["after"] == predicted["diff"]["after"]
    assert made["authority"]["private_key"] == token.uri()
    assert not build(pki, token, key_profile=profile)["changed"]
    assert not pki.ensure_issuing(key_profile=profile, passphrase=PIN)["changed"], "the URI is remembered"
    assert not list(pki.issuing.rglob("*.key.pem"))
    assert "private_key = pkcs11:token=Fleet;object=issuing\n" in (pki.issuing / "openssl.cnf").read_text()

    monkeypatch.setitem(mint.BATCH, "ec", 2)
    elliptic: dict[str, Any] = {"key_type": "EC P-256", "passphrase": PIN}
    pki.ensure_devices("dev-[1:8]", processes=2, **elliptic)
    pki.ensure_devices("dev-9", processes=1, **elliptic)
    pki.ensure_server(passphrase=PIN)
    crl = ensure_crl(
        authority_path=str(pki.issuing), days=30, renew_before=7, renew=False, passphrase=PIN, check_mode=False
    )["crl"]["path"]
    certificates = sorted(pki.clients.glob("*/*.cert.pem"))
    assert len(certificates) == 9
    certificates.append(pki.path / "server" / "certs" / "server.cert.pem")
    verify(pki, "-x509_strict", "-crl_check", "-CRLfile", crl, *certificates)


def test_a_key_in_a_token_proves_to_aws_that_we_have_it(empty_pki: Pki, token: Token, tmp_path: Path) -> None:
    build(empty_pki, token)
    proof = tmp_path / "verification.pem"
    uri = (empty_pki.issuing / "private" / "issuing.key.uri").read_text()
    certificate = (empty_pki.issuing / "certs" / "issuing.cert.pem").read_text()
    wanted = {"ca_certificate": certificate, "ca_key": uri, "registration_code": "0123"}
    proof.write_text(verification_certificate(**wanted, passphrase=PIN))
    verify(empty_pki, proof)
    with pytest.raises(FleetError, match=r"private_key_path: .*the passphrase is not the token's PIN"):
        close_tokens()
        verification_certificate(**wanted, passphrase="0000")


def test_a_key_that_is_in_the_token_already_is_taken(empty_pki: Pki, token: Token) -> None:
    uri = token.uri(object="by%20hand", id="%0A")
    make_token_key(TokenUri.parse(uri), PIN, KeyType("ec", 256))
    made = build(empty_pki, token, key_uri=uri)
    assert "by%20hand?" not in made["diff"]["after"]
    empty_pki.ensure_devices("dev-1", passphrase=PIN)
    verify(empty_pki, empty_pki.clients / "dev-1" / "dev-1.cert.pem")
    with pytest.raises(PkiError, match="whose key type is 'EC P-256', not 'RSA 4096'"):
        empty_pki.ensure_issuing(path=str(empty_pki.path / "rsa"), key_uri=uri, passphrase=PIN, key_profile="rsa")


@pytest.mark.parametrize(
    ("changes", "passphrase", "message"),
    [
        ({"token": "Other"}, PIN, "there is no such token"),
        ({"module-path": "/nowhere.so"}, PIN, "/nowhere.so cannot be read: No such file"),
        ({"module-path": __file__}, PIN, "test_token.py is no PKCS#11 module that works: .*invalid ELF header"),
        ({}, "1111", "the passphrase is not the token's PIN"),
        ({}, None, "set the passphrase, which is the token's PIN"),
    ],
)
def test_what_is_wrong_with_a_token_is_told_before_anything_is_changed(
    empty_pki: Pki, token: Token, changes: dict[str, str], passphrase: str | None, message: str
) -> None:
    empty_pki.ensure_root()
    before = empty_pki.snapshot()
    for check_mode in (True, False):
        with pytest.raises(PkiError, match=message):
            empty_pki.ensure_issuing(key_uri=token.uri(**changes), passphrase=passphrase, check_mode=check_mode)
    assert empty_pki.snapshot() == before


def test_a_key_that_is_gone_or_another_ones_signs_nothing(empty_pki: Pki, token: Token) -> None:
    build(empty_pki, token)
    uri = empty_pki.issuing / "private" / "issuing.key.uri"
    other = Pki(empty_pki.path / "other")
    other.ensure_root()
    other.ensure_issuing(key_uri=token.uri("other"), passphrase=PIN)
    before = empty_pki.snapshot()
    for name, message in (("gone", "the token has no such private key"), ("other", "is not the key of")):
        uri.write_text(token.uri(name))
        with pytest.raises(PkiError, match=message):
            empty_pki.ensure_devices("dev-1", passphrase=PIN)
        with pytest.raises(PkiError, match=message):
            empty_pki.ensure_issuing(passphrase=PIN)
    assert empty_pki.snapshot() == {**before, str(uri): uri.read_bytes()}


def test_a_ca_is_not_moved_into_a_token(pki: Pki, token: Token) -> None:
    with pytest.raises(PkiError, match="a CA is never changed in place"):
        pki.ensure_issuing(key_uri=token.uri(), passphrase=PIN)
    (pki.issuing / "private" / "issuing.key.uri").write_text(token.uri())
    with pytest.raises(PkiError, match=r"has issuing.key.pem and issuing.key.uri: remove one of the two"):
        pki.ensure_devices("dev-1", passphrase=PIN)


def test_a_public_key_that_is_not_the_private_ones_is_refused(empty_pki: Pki, token: Token) -> None:
    build(empty_pki, token)
    make_token_key(TokenUri.parse(token.uri("other")), PIN, KeyType("ec", 256))
    with token.session(PIN) as session:
        session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label="issuing").destroy()
    with pytest.raises(PkiError, match="the public key is not beside the private one"):
        empty_pki.ensure_devices("dev-1", passphrase=PIN)
    with token.session(PIN) as session:
        other = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label="other")
        other[pkcs11.Attribute.LABEL] = "issuing"
    with pytest.raises(PkiError, match="public and private key of this name are no pair"):
        empty_pki.ensure_devices("dev-1", passphrase=PIN)


def test_without_the_library_one_line_says_so(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(PkiError, match=r"key is in a token\. Failed to import .*python-pkcs11") as raised:
        pki.ensure_issuing(path=str(pki.path / "next"), key_uri=LOCATED, passphrase=PIN)
    assert "\n" not in str(raised.value)


def test_a_uri_says_which_key() -> None:
    uri = TokenUri.parse("pkcs11:token=My%20Fleet;serial=0a1b;id=%01%ff;type=private?module-path=/lib/a%2Bb.so\n")
    assert (uri.module, uri.token, uri.label, uri.id) == (
        "/lib/a+b.so", (("token", "My Fleet"), ("serial", "0a1b")), None, b"\x01\xff",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{LOCATED}&pin-value=5678", "a PKCS#11 URI with a PIN in it"),
        (LOCATED.replace(";", ";pin-value=5678;"), "a PKCS#11 URI with a PIN in it"),
        (f"{LOCATED}&pin-source=file:/etc/pin", "a PKCS#11 URI with a PIN in it"),
        (LOCATED.replace("object", "slot-id"), "it has slot-id; write it like pkcs11:"),
        (LOCATED.replace("pkcs11:", ""), "it names no private key; write it like pkcs11:"),
        (LOCATED.replace("?", ";type=cert?"), "it names no private key"),
        ("pkcs11:token=Fleet;object=issuing", "token, object .or id. and the whole module-path"),
        ("pkcs11:token=Fleet;object=issuing?module-path=module.so", "the whole module-path"),
        ("pkcs11:object=issuing?module-path=/a.so", "it has to have token"),
        ("pkcs11:token=Fleet?module-path=/a.so", "it has to have token, object"),
    ],
)
def test_a_uri_that_will_not_do_is_refused_and_no_pin_is_shown(text: str, message: str) -> None:
    with pytest.raises(PkiError, match=message) as raised:
        TokenUri.parse(text)
    assert "5678" not in str(raised.value)
