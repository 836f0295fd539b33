"""Where what is issued goes: folders, one folder, an archive; and who asks for it."""

from __future__ import annotations

import json
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.iotops.fleet.plugins.module_utils._pki import mint
from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.ledger import Ledger
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import distinguished_name

from .conftest import Pki

LAYOUTS = ["folders", "flat", "archive"]


def issue(pki: Pki, *names: str, layout: str = "archive", **changes: Any) -> dict[str, Any]:
    path = pki.path / ("lot.tar" if layout == "archive" else "clients")
    return pki.ensure_devices(*names, layout=layout, path=str(path), **changes)


def lines(pki: Pki) -> list[dict[str, str]]:
    return [json.loads(line) for line in (pki.path / "lot.ndjson").read_text().splitlines()]


def ledger(pki: Pki) -> Ledger:
    return Ledger(pki.issuing / "index.txt")


def write_request(path: Path, name: str) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(distinguished_name(common_name=name, organization="Elsewhere"))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return key


def test_a_flat_folder_holds_every_pair_and_newcerts_a_copy(pki: Pki) -> None:
    made = issue(pki, "dev-[1:3]", layout="flat")["certificates"]
    assert sorted(path.name for path in pki.clients.iterdir()) == sorted(
        f"dev-{number}.{kind}.pem" for number in (1, 2, 3) for kind in ("cert", "key")
    )
    for item in made:
        certificate, key = Path(item["certificate"]), Path(item["private_key"])
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert (pki.issuing / "newcerts" / f"{item['serial']}.pem").read_bytes() == certificate.read_bytes()
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        assert loaded.public_key() == x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()


def test_an_archive_is_private_and_holds_what_its_manifest_says(pki: Pki) -> None:
    result = issue(pki, "dev-[1:3]")
    archive = pki.path / "lot.tar"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
        assert {member.mode for member in tar} == {0o600}
    issuer = x509.load_pem_x509_certificate((pki.issuing / "certs" / "issuing.cert.pem").read_bytes())
    assert [line["ThingName"] for line in lines(pki)] == ["dev-1", "dev-2", "dev-3"]
    for line, described in zip(lines(pki), result["certificates"], strict=True):
        certificate = x509.load_pem_x509_certificate(line["CertificatePem"].encode())
        key = serialization.load_pem_private_key(files[f"{line['ThingName']}.key.pem"], None)
        assert files[f"{line['ThingName']}.cert.pem"].decode() == line["CertificatePem"]
        assert key.public_key() == certificate.public_key()
        assert line["CertificateId"] == certificate.fingerprint(hashes.SHA256()).hex() == described["certificate_id"]
        assert line["IssuerFingerprint"] == issuer.fingerprint(hashes.SHA256()).hex()
        assert x509.load_pem_x509_certificate(line["CACertificatePem"].encode()) == issuer
        assert (line["Serial"], line["NotAfter"]) == (f"{certificate.serial_number:x}", described["not_after"])


def test_tar_reads_the_archive(pki: Pki) -> None:
    issue(pki, "dev-1", "x" * 64)
    said = subprocess.run(["tar", "-tf", pki.path / "lot.tar"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["dev-1.key.pem", "dev-1.cert.pem", f"{'x' * 64}.key.pem", f"{'x' * 64}.cert.pem"]
    assert said.stderr == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_run_changes_nothing_and_more_names_add_only_theirs(pki: Pki, layout: str) -> None:
    first = issue(pki, "dev-[1:2]", layout=layout)
    before = pki.snapshot()
    again = issue(pki, "dev-[1:2]", layout=layout)
    assert (again["changed"], again["issued_count"]) == (False, 0)
    assert again["certificates"] == first["certificates"]
    assert pki.snapshot() == before
    predicted = issue(pki, "dev-[1:3]", layout=layout, check_mode=True)
    assert pki.snapshot() == before
    more = issue(pki, "dev-[1:3]", layout=layout)
    assert more["issued"] == ["dev-3"]
    assert more["diff"] == predicted["diff"]
    assert [item["serial"] for item in more["certificates"]][:2] == [item["serial"] for item in first["certificates"]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_processes_make_the_same_as_one(pki: Pki, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mint.BATCH, "ec", 3)
    result = issue(pki, "dev-[00:19]", layout=layout, processes=2)
    assert result["issued"] == [f"dev-{number:02}" for number in range(20)]
    assert [entry.common_name for entry in ledger(pki).entries()] == result["issued"]
    assert not issue(pki, "dev-[00:19]", layout=layout)["changed"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_live_name_gets_no_second_certificate_in_another_layout(pki: Pki, layout: str) -> None:
    issue(pki, "dev-1", layout=layout)
    for other in {"folders", "flat", "archive"} - {layout}:
        with pytest.raises(PkiError, match="dev-1: the ledger has a live certificate"):
            pki.ensure_devices("dev-1", layout=other, path=str(pki.path / "elsewhere"))


def test_what_the_ledger_does_not_have_is_cut_off_an_archive(pki: Pki) -> None:
    issue(pki, "dev-1")
    before = {name: (pki.path / name).read_bytes() for name in ("lot.tar", "lot.ndjson")}
    index = (pki.issuing / "index.txt").read_bytes()
    issue(pki, "dev-1", "dev-2")
    (pki.issuing / "index.txt").write_bytes(index)  # dev-2 was not recorded
    with (pki.path / "lot.ndjson").open("a") as manifest:
        manifest.write('{"ThingName": "dev-3", "Cert')  # torn
    result = issue(pki, "dev-1")
    assert result["diff"]["after"] == f"{pki.path / 'lot.tar'}: finished\n"
    assert {name: (pki.path / name).read_bytes() for name in before} == before


def test_an_archive_that_does_not_belong_to_the_ca_is_left_alone(pki: Pki, tmp_path: Path) -> None:
    issue(pki, "dev-1")
    other = Pki(tmp_path / "other")
    other.ensure_root()
    other.ensure_issuing()
    before = (pki.path / "lot.tar").read_bytes()
    with pytest.raises(PkiError, match="has certificates of another CA: choose another archive"):
        issue(pki, "dev-2", authority_path=str(other.issuing))
    assert (pki.path / "lot.tar").read_bytes() == before
    assert ledger(other).entries() == []


def test_an_archive_is_not_emptied_when_the_ledger_has_lost_more_than_a_batch(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mint, "BATCH", {"ec": 2, "rsa": 1})
    monkeypatch.setattr("ansible_collections.iotops.fleet.plugins.module_utils._pki.archive.BATCH", {"ec": 2})
    issue(pki, "dev-[1:3]")
    (pki.issuing / "index.txt").write_text("")
    before = (pki.path / "lot.tar").read_bytes()
    with pytest.raises(PkiError, match=r"has 3 certificates at its end that are not in the CA's index\.txt"):
        issue(pki, "dev-1")
    assert (pki.path / "lot.tar").read_bytes() == before


@pytest.mark.parametrize(("lost", "message"), [("lot.tar", "has no archive"), ("lot.ndjson", "has no manifest")])
def test_half_of_an_archive_is_not_taken_for_a_new_one(pki: Pki, lost: str, message: str) -> None:
    issue(pki, "dev-1")
    (pki.path / lost).unlink()
    before = pki.snapshot()
    with pytest.raises(PkiError, match=f"{message}.*restore it, or choose another archive"):
        issue(pki, "dev-1")
    assert pki.snapshot() == before


def test_renewing_into_an_archive_replaces_nothing_and_goes_on(pki: Pki) -> None:
    first = pki.ensure_devices("dev-1", "dev-2")["certificates"]
    with pytest.raises(PkiError, match=r"dev-1: the ledger has a live certificate.*set renew"):
        issue(pki, "dev-1")
    assert issue(pki, "dev-1", renew=True)["issued"] == ["dev-1"]
    again = issue(pki, "dev-1", "dev-2", renew=True)
    assert again["issued"] == ["dev-2"]
    assert {item["serial"] for item in again["certificates"]}.isdisjoint(item["serial"] for item in first)


def test_a_revoked_certificate_in_an_archive_is_not_handed_out(pki: Pki) -> None:
    pki.revoke(issue(pki, "dev-1")["certificates"][0]["serial"])
    for renew in (False, True):
        with pytest.raises(PkiError, match=r"dev-1: .* is revoked; .*choose another archive"):
            issue(pki, "dev-1", renew=renew)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attributes_come_out_in_the_manifest(pki: Pki, tmp_path: Path, layout: str) -> None:
    listed = tmp_path / "devices.csv"
    listed.write_text("name,site\ndev-1,north\ndev-2,\n")
    arguments = {"layout": layout, "devices_file": str(listed), "manifest": str(pki.path / "lot.ndjson")}
    assert issue(pki, **arguments, check_mode=True)["changed"]
    result = issue(pki, **arguments)
    assert result["manifest"] == str(pki.path / "lot.ndjson")
    assert [(line["ThingName"], line["site"]) for line in lines(pki)] == [("dev-1", "north"), ("dev-2", "")]
    assert not issue(pki, **arguments)["changed"]


def test_a_manifest_beside_files_is_written_when_it_is_missing_and_only_then(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    arguments = {"layout": "folders", "manifest": str(pki.path / "lot.ndjson")}
    assert issue(pki, "dev-1", **arguments, check_mode=True)["changed"]
    assert issue(pki, "dev-1", **arguments)["issued"] == []
    assert [line["ThingName"] for line in lines(pki)] == ["dev-1"]
    assert not issue(pki, "dev-1", **arguments)["changed"]


def test_an_attribute_cannot_pass_for_a_column(pki: Pki, tmp_path: Path) -> None:
    listed = tmp_path / "devices.csv"
    listed.write_text("name,certificateid\ndev-1,00\n")
    with pytest.raises(PkiError, match="has a column 'certificateid'"):
        issue(pki, devices_file=str(listed))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_request_is_signed_as_it_may_be_and_no_key_is_made(pki: Pki, tmp_path: Path, layout: str) -> None:
    key = write_request(tmp_path / "dev-1.csr", "dev-1")
    made = issue(pki, layout=layout, requests=[str(tmp_path)], manifest=str(pki.path / "lot.ndjson"))
    assert "private_key" not in made["certificates"][0]
    assert made["certificates"][0]["subject"] == "CN=dev-1,O=Example"
    certificate = x509.load_pem_x509_certificate(lines(pki)[0]["CertificatePem"].encode())
    assert certificate.public_key() == key.public_key()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not issue(pki, layout=layout, requests=[str(tmp_path)])["changed"]
    assert not list(pki.path.rglob("*.key.pem.*")) + list((pki.path / "clients").rglob("*.key.pem"))

    write_request(tmp_path / "dev-1.csr", "dev-1")
    with pytest.raises(PkiError, match="dev-1: the certificate in place is for another key than the request"):
        issue(pki, layout=layout, requests=[str(tmp_path)])


def test_a_request_does_not_take_the_place_of_a_key(pki: Pki, tmp_path: Path) -> None:
    pki.ensure_devices("dev-1")
    write_request(tmp_path / "dev-1.csr", "dev-1")
    for renew in (False, True):
        with pytest.raises(PkiError, match=r"dev-1: its private key is in .*sign requests into another folder"):
            pki.ensure_devices(requests=[str(tmp_path)], renew=renew)


@pytest.mark.parametrize("key_type", ["EC P-384", "RSA 2048", "RSA 3072"])
def test_keys_are_of_the_type_that_is_asked_for(pki: Pki, key_type: str) -> None:
    assert issue(pki, "dev-1", key_type=key_type)["certificates"][0]["key_type"] == key_type


def test_results_are_limited_and_counts_are_not(pki: Pki) -> None:
    result = issue(pki, "dev-[1:5]", max_results=2)
    assert (result["count"], result["issued_count"], result["issued"]) == (5, 5, ["dev-1", "dev-2"])
    assert [item["name"] for item in result["certificates"]] == ["dev-1", "dev-2"]
    assert "3 more issued" in result["diff"]["after"]


def test_progress_says_how_fast_and_how_long(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mint.BATCH, "ec", 2)
    monkeypatch.setattr("ansible_collections.iotops.fleet.plugins.module_utils._pki.progress._EVERY", 0)
    issue(pki, "dev-[1:5]", progress_path=str(tmp_path / "log"), processes=1)
    written = [line.split(" ", 1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert [line.split(",")[0] for line in written] == [f"{done} of 5 certificates issued" for done in (2, 4, 5)]
    assert written[-1].endswith(" a second, 0 s left")
