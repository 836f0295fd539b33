"""Certificates that the CA's key signed elsewhere are recorded once, and only those."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger
from ansible_collections.iotops.fleet.plugins.module_utils.pki import PkiError, ensure_recorded

from .conftest import Pki
from .test_interruption import killed_at_each_step


def record(pki: Pki, *certificates: str, **changes: Any) -> dict[str, Any]:
    arguments = {"certificates": certificates, "certificates_file": None, "check_mode": False}
    return ensure_recorded(authority=str(pki.issuing), **{**arguments, **changes})


def signed_elsewhere(pki: Pki, *names: str) -> list[dict[str, str]]:
    """Have a copy of the CA sign; return serial numbers and PEM."""
    elsewhere = Pki(pki.path / "elsewhere")
    shutil.copytree(pki.issuing, elsewhere.issuing)
    described = elsewhere.ensure_devices(*names)["certificates"]
    made = [{"serial": each["serial"], "pem": Path(each["certificate"]).read_text()} for each in described]
    shutil.rmtree(elsewhere.path)
    return made


def test_what_was_signed_elsewhere_is_recorded_like_what_was_issued_here(pki: Pki, tmp_path: Path) -> None:
    here = pki.ensure_devices("dev-0")["certificates"][0]
    first, second = signed_elsewhere(pki, "dev-1", "dev-2")
    file = tmp_path / "signed.pem"
    file.write_text(first["pem"] + second["pem"])
    wanted: dict[str, Any] = {"certificates_file": str(file)}
    before = pki.snapshot()
    predicted = record(pki, **wanted, check_mode=True)
    assert pki.snapshot() == before
    assert record(pki, Path(here["certificate"]).read_text(), **wanted) == {**predicted, "count": 3}
    assert predicted["recorded"] == [first["serial"], second["serial"]]
    assert first["serial"] in predicted["diff"]["after"]
    entries = Ledger(pki.issuing / "index.txt").entries()
    assert [(entry.common_name, entry.status) for entry in entries] == [(f"dev-{i}", "V") for i in range(3)]
    assert {entry.subject.partition("/CN=")[0] for entry in entries} == {"/O=Example"}
    assert (pki.issuing / "newcerts" / f"{second['serial']}.pem").read_text() == second["pem"]
    assert not record(pki, first["pem"], **wanted)["changed"]
    with pytest.raises(PkiError, match="dev-1: the ledger has a live certificate"):
        pki.ensure_devices("dev-1")


def test_a_revoked_one_stays_revoked(pki: Pki) -> None:
    (signed,) = signed_elsewhere(pki, "dev-1")
    record(pki, signed["pem"])
    pki.revoke(signed["serial"])
    assert not record(pki, signed["pem"])["changed"]
    assert Ledger(pki.issuing / "index.txt").find(signed["serial"]).status == "R"


def test_what_another_ca_signed_is_refused_before_anything_is_changed(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()  # the same name, another key
    (good,), (strange,) = signed_elsewhere(pki, "dev-1"), signed_elsewhere(other, "dev-2")
    before = pki.snapshot()
    with pytest.raises(
        PkiError, match=rf"certificate 2 \(serial {strange['serial']}, CN=dev-2,O=Example\) is not signed"
    ):
        record(pki, good["pem"], strange["pem"])
    assert pki.snapshot() == before


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pki: Pki, text: str) -> None:
    with pytest.raises(PkiError, match="certificate 1 is not a whole PEM certificate"):
        record(pki, text)


def test_two_certificates_with_one_serial_number_are_refused(pki: Pki) -> None:
    pki.ensure_issuing(serial_policy="sequential")
    (first,), (second,) = signed_elsewhere(pki, "dev-1"), signed_elsewhere(pki, "dev-2")
    assert first["serial"] == second["serial"]
    refused = "another certificate has its serial number"
    with pytest.raises(PkiError, match=refused):
        record(pki, first["pem"], second["pem"])
    assert record(pki, first["pem"], first["pem"])["recorded"] == [first["serial"]]
    with pytest.raises(PkiError, match=refused):
        record(pki, second["pem"])


def test_recording_that_was_killed_is_finished(tmp_path: Path) -> None:
    signed: dict[Path, list[dict[str, str]]] = {}

    def prepare(pki: Pki) -> None:
        pki.ensure_root()
        pki.ensure_issuing()
        signed[pki.path] = signed_elsewhere(pki, "dev-1", "dev-2")

    def run(pki: Pki) -> dict[str, Any]:
        return record(pki, *(each["pem"] for each in signed[pki.path]))

    for pki in killed_at_each_step(tmp_path, prepare, run, at_syncs=True):
        run(pki)
        assert not run(pki)["changed"]
        assert [entry.common_name for entry in Ledger(pki.issuing / "index.txt").entries()] == ["dev-1", "dev-2"]
        for each in signed[pki.path]:
            assert (pki.issuing / "newcerts" / f"{each['serial']}.pem").read_text() == each["pem"]
