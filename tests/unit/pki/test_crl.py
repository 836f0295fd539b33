# SPDX-License-Identifier: GPL-3.0-or-later
"""Revocation lists: made from the ledger, and made again when it says something else."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils.pki import crl_info, ensure_crl, ensure_revoked
from tests.unit.pki.conftest import Pki


def openssl(*arguments: str | Path, fails: bool = False) -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert (run.returncode != 0) == fails, run.stdout + run.stderr
    return run.stdout + run.stderr


def crl_of(pki: Pki, **changes: Any) -> dict[str, Any]:
    arguments = {"days": 30, "renew_before": 14, "renew": False, "passphrase": None, "check_mode": False, **changes}
    return ensure_crl(authority_path=str(pki.issuing), **arguments)


def revoke(pki: Pki, **changes: Any) -> dict[str, Any]:
    arguments = {
        "authorities": [str(pki.issuing)], "names": [], "serials": [], "certificate_ids": [], "keys": [], "crl": None,
        "reason": "",
        "check_mode": False,
    }  # fmt: skip
    return ensure_revoked(**{**arguments, **changes})


def test_a_list_is_made_once_and_again_when_something_is_revoked(pki: Pki) -> None:
    device = pki.ensure_devices("dev-1")["certificates"][0]
    assert crl_of(pki, check_mode=True)["changed"]
    assert not list((pki.issuing / "crl").iterdir())
    first = crl_of(pki)["crl"]
    assert (first["number"], first["revoked"]) == (0x100, [])
    assert not crl_of(pki)["changed"]
    revoke(pki, names=["dev-1"], reason="keyCompromise")
    assert crl_of(pki, check_mode=True)["changed"]
    second = crl_of(pki)["crl"]
    assert second["number"] == 0x101
    assert [(each["serial"], each["reason"]) for each in second["revoked"]] == [(device["serial"], "keyCompromise")]
    assert (pki.issuing / "crlnumber").read_text() == "0102\n"
    assert not crl_of(pki)["changed"]
    read = crl_info(path=second["der_path"], authority_path=str(pki.issuing))["crl"]
    assert {**read, "path": second["path"], "der_path": second["der_path"]} == second


def test_a_list_is_made_again_before_it_is_due_and_when_told(pki: Pki) -> None:
    crl_of(pki, days=20)
    assert not crl_of(pki, renew_before=19)["changed"]
    again = crl_of(pki, renew_before=20, days=40)
    assert again["changed"]
    assert datetime.fromisoformat(again["crl"]["next_update"]) > datetime.now(UTC) + timedelta(days=39)
    assert crl_of(pki, renew=True)["changed"]
    Path(again["crl"]["der_path"]).unlink()
    assert crl_of(pki)["changed"]
    with pytest.raises(PkiError, match="days=3, renew_before=14"):
        crl_of(pki, days=3)


def test_openssl_reads_our_list_and_goes_on_after_it(pki: Pki) -> None:
    kept, gone = (each["certificate"] for each in pki.ensure_devices("dev-1", "dev-2")["certificates"])
    revoke(pki, names=["dev-2"], reason="superseded: a newer model")
    path = crl_of(pki)["crl"]["path"]
    issuing, root = pki.issuing / "certs" / "issuing.cert.pem", pki.root / "certs" / "root.cert.pem"
    assert "verify OK" in openssl("crl", "-in", path, "-noout", "-verify", "-CAfile", issuing)
    text = openssl("crl", "-in", path, "-noout", "-text")
    assert "Superseded" in text
    assert "X509v3 CRL Number: \n                256" in text
    check = ["verify", "-crl_check", "-CRLfile", path, "-CAfile", root, "-untrusted", issuing]
    openssl(*check, kept)
    assert "certificate revoked" in openssl(*check, gone, fails=True)
    # In DER, and made by openssl from the ledger that we wrote.
    openssl("crl", "-in", path.removesuffix(".pem"), "-inform", "DER", "-noout")
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-gencrl", "-out", path)
    theirs = crl_info(path=path, authority_path=str(pki.issuing))["crl"]
    assert theirs["number"] == 0x101
    assert theirs["revoked_count"] == 1
    assert crl_of(pki)["crl"]["number"] == 0x102, "theirs was not written in DER"


@pytest.mark.parametrize(
    ("option", "reason", "since"),
    [
        (("-crl_reason", "CACompromise"), x509.ReasonFlags.ca_compromise, False),
        (("-crl_compromise", "20260101000000Z"), x509.ReasonFlags.key_compromise, True),
        (("-crl_hold", "holdInstructionReject"), x509.ReasonFlags.certificate_hold, False),
        ((), None, False),
    ],
)
def test_whatever_openssl_wrote_into_the_ledger_is_in_our_list(
    pki: Pki, option: tuple[str, ...], reason: x509.ReasonFlags | None, since: bool
) -> None:
    device = pki.ensure_devices("dev-1")["certificates"][0]
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-revoke", device["certificate"], *option)
    (entry,) = x509.load_pem_x509_crl(Path(crl_of(pki)["crl"]["path"]).read_bytes())
    kinds = {type(each.value): each.value for each in entry.extensions}
    assert (kinds[x509.CRLReason].reason if x509.CRLReason in kinds else None) == reason
    assert (x509.InvalidityDate in kinds) == since
    assert not crl_of(pki)["changed"]


def test_a_number_is_never_given_twice(pki: Pki) -> None:
    crl_of(pki)
    (pki.issuing / "crlnumber").write_text("0100\n")
    with pytest.raises(PkiError, match=r"number 0100 of the next revocation list is not above 100"):
        crl_of(pki, renew=True)


def test_a_list_of_another_ca_is_told_apart(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    path = crl_of(other)["crl"]["path"]
    with pytest.raises(PkiError, match="is not signed by the CA"):
        crl_info(path=path, authority_path=str(pki.issuing))
    (tmp_path / "none").write_text("something else")
    with pytest.raises(PkiError, match="holds no revocation list"):
        crl_info(path=str(tmp_path / "none"), authority_path=None)
    assert crl_info(path=str(tmp_path / "missing"), authority_path=None)["crl"] is None
    (pki.issuing / "crl" / "issuing.crl.pem").write_bytes(Path(path).read_bytes())
    assert crl_of(pki)["changed"]
