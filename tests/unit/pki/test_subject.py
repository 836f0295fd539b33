# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subject may have beside organization and common name: of a CA, and of the devices that it issues to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import MORE_PARTS, distinguished_name, more_parts

from .conftest import Pki

SUBJECT = {"country": "SE", "state": "Skåne", "organizational_unit": "Pumps", "dn_qualifier": "lot-7"}


@pytest.fixture
def bare(tmp_path: Path) -> Pki:
    """A PKI with a root only."""
    made = Pki(tmp_path / "bare")
    made.ensure_root()
    return made


def subject(path: str | Path) -> x509.Name:
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).subject


def test_devices_have_what_the_ca_has_but_for_the_common_name(bare: Pki) -> None:
    made = bare.ensure_issuing(subject=SUBJECT)["authority"]
    [device] = bare.ensure_devices("dev-1")["certificates"]
    assert more_parts(subject(made["certificate"])) == SUBJECT
    assert subject(device["certificate"]) == distinguished_name(
        common_name="dev-1", organization="Example", more=SUBJECT
    )


def test_a_part_given_for_devices_takes_the_place_of_the_cas(bare: Pki) -> None:
    bare.ensure_issuing(subject=SUBJECT)
    [device] = bare.ensure_devices("dev-1", subject={"organizational_unit": "Valves"})["certificates"]
    assert more_parts(subject(device["certificate"])) == {**SUBJECT, "organizational_unit": "Valves"}


def test_the_ledger_has_the_subject_as_openssl_writes_it(bare: Pki) -> None:
    bare.ensure_issuing(subject=SUBJECT)
    [device] = bare.ensure_devices("dev-1")["certificates"]
    command = ["openssl", "x509", "-noout", "-subject", "-nameopt", "compat", "-in", device["certificate"]]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    written = (bare.issuing / "index.txt").read_text().strip().rpartition("\t")[2]
    assert written == shown.removeprefix("subject=").strip()
    assert "/dnQualifier=lot-7/CN=dev-1" in written


def test_another_subject_is_another_ca(bare: Pki) -> None:
    bare.ensure_issuing(subject=SUBJECT)
    assert not bare.ensure_issuing(subject=SUBJECT)["changed"]
    with pytest.raises(PkiError, match="whose subject is"):
        bare.ensure_issuing(subject={**SUBJECT, "country": "NO"})


@pytest.mark.parametrize(("part", "value"), [("country", "Sweden"), ("country", "se"), ("state", "x" * 129)])
def test_a_part_that_x509_does_not_allow_is_named(part: str, value: str) -> None:
    with pytest.raises(PkiError, match=f"{part} '{value}'"):
        distinguished_name(common_name="dev-1", organization=None, more={part: value})


def test_empty_parts_are_left_out() -> None:
    assert (
        distinguished_name(common_name="a", organization="", more=dict.fromkeys(MORE_PARTS, "")).rfc4514_string()
        == "CN=a"
    )


@pytest.mark.defect("S3-15")
def test_the_ca_with_a_template_is_under_the_root_and_its_key_is_encrypted(bare: Pki) -> None:
    path = bare.path / "jitpCA"
    made = bare.ensure_issuing(path=str(path), common_name="Example JITP CA", subject=SUBJECT, passphrase="open sesame")
    certificate = x509.load_pem_x509_certificate(Path(made["authority"]["certificate"]).read_bytes())
    root = x509.load_pem_x509_certificate((bare.root / "certs/root.cert.pem").read_bytes())
    certificate.verify_directly_issued_by(root)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert "ENCRYPTED" in Path(made["authority"]["private_key"]).read_text()
