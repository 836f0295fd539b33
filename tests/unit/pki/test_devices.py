from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger

from .conftest import Pki


def test_each_device_gets_a_certificate_in_its_name_and_a_private_key(pki: Pki) -> None:
    result = pki.ensure_devices("dev-1", "dev:2")
    assert result["issued"] == ["dev-1", "dev:2"]
    assert [item["subject"] for item in result["certificates"]] == ["CN=dev-1,O=Example", "CN=dev:2,O=Example"]
    assert pki.keys_match("dev-1")
    assert pki.keys_match("dev:2")
    assert stat.S_IMODE(Path(result["certificates"][0]["private_key"]).stat().st_mode) == 0o600
    assert stat.S_IMODE((pki.clients / "dev-1").stat().st_mode) == 0o700


def test_the_certificate_id_is_that_of_aws(pki: Pki) -> None:
    made = pki.ensure_devices("dev-1")["certificates"][0]
    certificate = x509.load_pem_x509_certificate(Path(made["certificate"]).read_bytes())
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert made["certificate_id"] == hashlib.sha256(der).hexdigest()


def test_a_second_run_changes_nothing_and_more_names_add_only_theirs(pki: Pki) -> None:
    first = pki.ensure_devices("dev-1")
    before = pki.snapshot()
    again = pki.ensure_devices("dev-1")
    assert not again["changed"]
    assert again["certificates"] == first["certificates"]
    assert pki.snapshot() == before
    assert pki.ensure_devices("dev-1", "dev-2")["issued"] == ["dev-2"]


def test_check_mode_predicts_and_writes_nothing(pki: Pki) -> None:
    before = pki.snapshot()
    predicted = pki.ensure_devices("dev-1", check_mode=True)
    assert pki.snapshot() == before
    assert not pki.clients.exists()
    assert pki.ensure_devices("dev-1")["diff"] == predicted["diff"]


def test_check_mode_works_before_there_is_a_ca(empty_pki: Pki) -> None:
    assert empty_pki.ensure_devices("dev-1", check_mode=True)["issued"] == ["dev-1"]
    assert not empty_pki.path.exists()


def test_without_a_ca_nothing_is_issued(empty_pki: Pki) -> None:
    with pytest.raises(PkiError, match="holds no issuing CA: build it first"):
        empty_pki.ensure_devices("dev-1")


def test_a_passphrase_that_is_missing_stops_before_anything_is_changed(empty_pki: Pki) -> None:
    empty_pki.ensure_root(passphrase="one")
    empty_pki.ensure_issuing(passphrase="two", issuer_passphrase="one")
    before = empty_pki.snapshot()
    for ensure in (empty_pki.ensure_server, lambda: empty_pki.ensure_devices("dev-1")):
        with pytest.raises(PkiError, match=r"issuing\.key\.pem is encrypted"):
            ensure()
    assert empty_pki.snapshot() == before
    assert not empty_pki.clients.exists()


def test_a_revoked_certificate_is_not_handed_out(pki: Pki) -> None:
    serial = pki.ensure_devices("dev-1")["certificates"][0]["serial"]
    pki.revoke(serial)
    before = pki.snapshot()
    for check_mode in (True, False):
        with pytest.raises(PkiError, match=f"dev-1: .*{serial}.* is revoked.*set renew"):
            pki.ensure_devices("dev-1", "dev-2", check_mode=check_mode)
    assert pki.snapshot() == before
    assert pki.ensure_devices("dev-1", renew=True)["certificates"][0]["serial"] != serial


def test_a_name_with_a_live_certificate_elsewhere_gets_no_second_one(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    with pytest.raises(PkiError, match="dev-1: the ledger has a live certificate"):
        pki.ensure_devices("dev-1", path=str(pki.path / "elsewhere"))


def test_a_certificate_of_another_ca_is_not_passed_off_as_ours(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    other.ensure_devices("dev-1")
    with pytest.raises(PkiError, match="from another CA"):
        pki.ensure_devices("dev-1", path=str(other.clients))


def test_a_certificate_that_the_ledger_does_not_know_is_refused(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    (pki.issuing / "index.txt").write_text("")
    with pytest.raises(PkiError, match=r"is not in .*index\.txt"):
        pki.ensure_devices("dev-1")


def test_renewing_replaces_the_pair_and_keeps_a_copy_of_the_former_certificate(pki: Pki) -> None:
    first = pki.ensure_devices("dev-1")["certificates"][0]
    former = Path(first["certificate"]).read_bytes()
    second = pki.ensure_devices("dev-1", renew=True)["certificates"][0]
    assert second["serial"] != first["serial"]
    assert pki.keys_match("dev-1")
    assert (pki.issuing / "newcerts" / f"{first['serial']}.pem").read_bytes() == former
    assert not pki.ensure_devices("dev-1")["changed"]


def test_many_refused_devices_make_one_short_line(pki: Pki) -> None:
    names = [f"dev-{number}" for number in range(9)]
    for certificate in pki.ensure_devices(*names)["certificates"]:
        pki.revoke(certificate["serial"])
    with pytest.raises(PkiError, match=r"\(and 4 more\)") as raised:
        pki.ensure_devices(*names)
    assert "\n" not in str(raised.value)


def test_sequential_serial_numbers_count_up(empty_pki: Pki) -> None:
    empty_pki.ensure_root(serial_policy="sequential")
    empty_pki.ensure_issuing(serial_policy="sequential")
    serials = [item["serial"] for item in empty_pki.ensure_devices("a", "b", "c")["certificates"]]
    assert serials == ["1000", "1001", "1002"]
    (empty_pki.issuing / "serial").write_text("1001\n")
    with pytest.raises(PkiError, match=r"serial number 1001 is in .* already"):
        empty_pki.ensure_devices("d")


@pytest.mark.defect("S3-21")
def test_several_processes_make_the_same_as_one(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mint.BATCH, "ec", 3)
    names = [f"dev-{number}" for number in range(10)]
    result = pki.ensure_devices(*names, processes=2)
    assert result["issued"] == names
    assert all(pki.keys_match(name) for name in names)
    assert len(Ledger(pki.issuing / "index.txt").entries()) == 10
    assert not pki.ensure_devices(*names)["changed"]


@pytest.mark.defect("S3-21")
def test_two_runs_at_once_do_not_give_a_device_two_certificates(pki: Pki) -> None:
    names = [f"dev-{number}" for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: pki.ensure_devices(*names, processes=1), range(4)))
    assert sum(result["changed"] for result in results) == 1
    assert len(Ledger(pki.issuing / "index.txt").entries()) == 20


def test_a_lock_that_another_run_keeps_is_one_clear_line(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import locked

    with locked(pki.issuing), pytest.raises(PkiError, match="another run holds"), locked(pki.issuing, timeout=0.05):
        pass


def test_a_killed_run_leaves_no_process_and_no_lock(pki: Pki) -> None:
    program = (
        "import os, sys, time; sys.path[:0] = sys.argv[1].split(':')\n"
        "from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint\n"
        "from tests.unit.pki.conftest import Pki; from pathlib import Path\n"
        "mint.BATCH['ec'] = 5\n"
        "make = mint.Minter.make\n"
        "def slowly(self, orders):\n"
        "    time.sleep(0.1); os.write(1, b'made\\n'); return make(self, orders)\n"
        "mint.Minter.make = slowly\n"
        "Pki(Path(sys.argv[2])).ensure_devices(*sys.argv[3:], processes=2)\n"
    )
    names = [f"dev-{number}" for number in range(40)]
    with subprocess.Popen(
        [sys.executable, "-c", program, ":".join(sys.path), str(pki.path), *names], stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        for _ in range(4):
            assert run.stdout.readline() == b"made\n"
        run.kill()
        run.stdout.read()  # ends when the last worker has gone
    result = pki.ensure_devices(*names)
    assert {item["name"] for item in result["certificates"]} == set(names)
    assert all(pki.keys_match(name) for name in names)
    assert len(Ledger(pki.issuing / "index.txt").entries()) == len(names)
