# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are meant, and what the ledger says of them afterwards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.revocation import Reason
from tests.unit.pki.conftest import Pki
from tests.unit.pki.test_crl import crl_of, openssl, revoke


def key_of(pki: Pki, device: dict[str, Any]) -> str:
    issuing = x509.load_pem_x509_certificate((pki.issuing / "certs" / "issuing.cert.pem").read_bytes())
    return f"serial:{issuing.fingerprint(hashes.SHA256()).hex()}:{int(device['serial'], 16):x}"


def revoke_by_hand(pki: Pki, device: dict[str, Any], reason: str) -> None:
    configuration = pki.issuing / "openssl.cnf"
    openssl("ca", "-config", configuration, "-revoke", device["certificate"], "-crl_reason", reason)


def statuses(pki: Pki) -> dict[str, str]:
    lines = (pki.issuing / "index.txt").read_text().splitlines()
    return {line.rpartition("/CN=")[2]: line.split("\t")[0] for line in lines}


def test_every_way_to_name_a_certificate_revokes_it_in_the_words_of_openssl(pki: Pki) -> None:
    devices = pki.ensure_devices("by-name", "by-serial", "by-id", "by-hand", "kept")["certificates"]
    by_name, by_serial, by_id, by_hand, _kept = devices
    revoke_by_hand(pki, by_hand, "superseded")
    wanted = {
        "names": ["by-name"],
        "serials": [":".join(re.findall("..", by_serial["serial"].lower()))],
        "certificate_ids": [by_id["certificate_id"].upper()],
        "reason": "superseded: gone",
    }
    before = pki.snapshot()
    predicted = revoke(pki, **wanted, check_mode=True)
    assert predicted["changed"]
    assert pki.snapshot() == before
    answer = revoke(pki, **wanted)
    assert answer["changed"]
    found = {each["name"]: each for each in answer["certificates"]}
    assert set(found) == {"by-name", "by-serial", "by-id", "by-hand"}
    for device in (by_name, by_serial, by_id, by_hand):
        each = found[device["name"]]
        assert each["certificate_id"] == device["certificate_id"]
        assert each["key"] == key_of(pki, device)
        assert each["named"] == (device is not by_hand)
        assert each["reason"] == ("superseded" if device is by_hand else "superseded: gone")
    assert statuses(pki) == {"by-name": "R", "by-serial": "R", "by-id": "R", "by-hand": "R", "kept": "V"}
    lines = (pki.issuing / "index.txt").read_text().splitlines()
    revoked = [line.split("\t")[2] for line in lines if line.startswith("R")]
    assert all(re.fullmatch(r"\d{12}Z,superseded", each) for each in revoked), "ours look like that of openssl"
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-updatedb")
    assert not revoke(pki, **wanted)["changed"]


def test_a_list_revokes_what_it_says_and_when(pki: Pki, tmp_path: Path) -> None:
    device, held = pki.ensure_devices("dev-1", "dev-2")["certificates"]
    ledger = (pki.issuing / "index.txt").read_bytes()
    revoke_by_hand(pki, device, "keyCompromise")
    revoke_by_hand(pki, held, "certificateHold")
    written = (pki.issuing / "index.txt").read_bytes()
    path = tmp_path / "list.pem"
    path.write_bytes(Path(crl_of(pki)["crl"]["path"]).read_bytes())
    (pki.issuing / "index.txt").write_bytes(ledger)
    answer = revoke(pki, crl=str(path), reason="told by the factory")
    assert [(each["name"], each["reason"]) for each in answer["certificates"]] == [
        ("dev-1", "keyCompromise: told by the factory")
    ]
    assert answer["held"] == [held["serial"]]
    ours, theirs = (content.decode().splitlines() for content in ((pki.issuing / "index.txt").read_bytes(), written))
    assert ours[0] == theirs[0]
    assert ours[1].startswith("V")


def test_what_only_the_registry_can_name_is_revoked_in_the_ledger_that_has_it(pki: Pki) -> None:
    device = pki.ensure_devices("dev-1")["certificates"][0]
    elsewhere = [f"serial:aws:{int(device['serial'], 16):x}", key_of(pki, {"serial": "0ABC"})]
    assert not revoke(pki, keys=elsewhere)["changed"]
    answer = revoke(pki, keys=[*elsewhere, key_of(pki, device)])
    assert [each["serial"] for each in answer["certificates"]] == [device["serial"]]
    assert statuses(pki) == {"dev-1": "R"}


def test_a_hold_in_the_ledger_is_told_and_not_made_final(pki: Pki) -> None:
    device = pki.ensure_devices("dev-1")["certificates"][0]
    revoke_by_hand(pki, device, "certificateHold")
    answer = revoke(pki)
    assert (answer["certificates"], answer["held"]) == ([], [device["serial"]])


def test_a_list_of_a_stranger_is_refused(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()  # the same name, another key
    device = pki.ensure_devices("dev-1")["certificates"][0]
    with pytest.raises(PkiError, match="is signed by none of the issuing CAs, although it names"):
        revoke(pki, names=["dev-1"], crl=crl_of(other)["crl"]["path"])
    assert "V\t" in (pki.issuing / "index.txt").read_text()
    assert device["serial"] in (pki.issuing / "index.txt").read_text()


def test_a_certificate_that_no_ledger_has_is_revoked_by_its_number_or_id(pki: Pki, tmp_path: Path) -> None:
    answer = revoke(pki, serials=["0xABC"], certificate_ids=["a" * 64], reason="lost")
    assert not answer["changed"]
    by_serial, by_id = answer["certificates"]
    assert by_serial["key"] == key_of(pki, {"serial": "0ABC"})
    assert (by_id["certificate_id"], by_id["key"]) == ("a" * 64, "")
    assert (by_serial["reason"], by_serial["named"], by_id["named"]) == ("lost", True, True)
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    with pytest.raises(PkiError, match="could be a certificate of 2 issuing CAs"):
        revoke(pki, authorities=[str(pki.issuing), str(other.issuing)], serials=["ABC"])


def test_an_expired_certificate_is_no_longer_of_interest_unless_it_is_named(pki: Pki) -> None:
    (pki.issuing / "index.txt").write_text("R\t200101000000Z\t190101000000Z\t01\tunknown\t/CN=old\n")
    assert revoke(pki)["certificates"] == []
    assert [each["name"] for each in revoke(pki, serials=["01"])["certificates"]] == ["old"]


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ("keycompromise", "keyCompromise", ""),
        ("keyCompromise: lost: twice", "keyCompromise", "lost: twice"),
        ("lost at the depot", "", "lost at the depot"),
        ("", "", ""),
    ],
)
def test_a_reason_is_a_code_or_words_or_both(said: str, code: str, text: str) -> None:
    assert Reason.parse(said) == Reason(code, text)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"reason": "certificateHold"}, "'certificateHold' is not one of a device: use unspecified,"),
        ({"reason": "cACompromise"}, "is not one of a device"),
        ({"serials": ["dev-1"]}, "serial number 'dev-1' is not hexadecimal"),
        ({"certificate_ids": ["abc"]}, "certificate id 'abc' is none"),
    ],
)
def test_input_that_cannot_be_is_named(pki: Pki, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(PkiError, match=message):
        revoke(pki, **wanted)


def test_a_ledger_that_nobody_understands_is_named(pki: Pki) -> None:
    (pki.issuing / "index.txt").write_text("R\t300101000000Z\t260101000000Z,because\t01\tunknown\t/CN=dev-1\n")
    with pytest.raises(PkiError, match="says '260101000000Z,because' of the revocation of serial number 01"):
        revoke(pki)
