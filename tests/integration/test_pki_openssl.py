"""Our tree in the hands of an operator with `openssl`, and of ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.pki.conftest import Pki
from tests.unit.pki.tokens import PIN, Token, token

__all__ = ["token"]

REPOSITORY = Path(__file__).parents[2]


def openssl(*arguments: str | Path, fails: bool = False) -> str:
    """Run openssl and return all that it says."""
    run = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (run.returncode != 0) == fails, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.fixture(params=["random", "sequential"])
def pki(request: pytest.FixtureRequest, tmp_path: Path) -> Pki:
    # Characters that openssl.cnf and a ledger have to escape.
    made = Pki(tmp_path / "a $pki #1")
    names = {"organization": "Acmé & Co", "serial_policy": request.param}
    made.ensure_root(**names)
    made.ensure_issuing(**names)
    return made


def status(pki: Pki, serial: str) -> str:
    """Return what `openssl ca -status` says; it says it with exit code 1, also of a CA that openssl made itself."""
    said = openssl("ca", "-config", pki.issuing / "openssl.cnf", "-status", serial, fails=True)
    return said.partition(f"{serial}=")[2].strip()


def verify(pki: Pki, purpose: str, certificate: str, *more: str) -> str:
    root, issuing = pki.root / "certs" / "root.cert.pem", pki.issuing / "certs" / "issuing.cert.pem"
    return openssl(
        "verify", "-x509_strict", "-purpose", purpose, "-CAfile", root, "-untrusted", issuing, *more, certificate
    )


def test_openssl_verifies_every_certificate_for_its_purpose_only(pki: Pki) -> None:
    server = pki.ensure_server()["server"]["certificate"]
    device = pki.ensure_devices("dev-1")["certificates"][0]["certificate"]
    issuing = pki.issuing / "certs" / "issuing.cert.pem"
    openssl("verify", "-x509_strict", "-CAfile", pki.root / "certs" / "root.cert.pem", issuing)
    verify(pki, "sslserver", server, "-verify_hostname", "iot.example.com")
    verify(pki, "sslclient", device)
    root, untrusted = pki.root / "certs" / "root.cert.pem", issuing
    for purpose, certificate in (("sslclient", server), ("sslserver", device)):
        refusal = openssl(
            "verify", "-purpose", purpose, "-CAfile", root, "-untrusted", untrusted, certificate, fails=True
        )
        assert "purpose" in refusal


def test_an_operator_asks_for_the_status_and_revokes_and_we_see_it(pki: Pki) -> None:
    device = pki.ensure_devices("dev-1", "dev-2")["certificates"][0]
    configuration = pki.issuing / "openssl.cnf"
    assert status(pki, device["serial"]) == "Valid (V)"

    openssl("ca", "-config", configuration, "-revoke", device["certificate"], "-crl_reason", "keyCompromise")
    assert status(pki, device["serial"]) == "Revoked (R)"
    with pytest.raises(Exception, match=r"dev-1: .* is revoked"):
        pki.ensure_devices("dev-1")

    crl = pki.issuing / "crl" / "issuing.crl.pem"
    openssl("ca", "-config", configuration, "-gencrl", "-out", crl)
    assert device["serial"] in openssl("crl", "-in", crl, "-noout", "-text")
    root, chain = pki.root / "certs" / "root.cert.pem", pki.issuing / "certs" / "ca-chain.cert.pem"
    refused = openssl(
        "verify", "-crl_check", "-CRLfile", crl, "-CAfile", root, "-untrusted", chain, device["certificate"], fails=True
    )
    assert "revoked" in refused
    assert not pki.ensure_devices("dev-2")["changed"]


def test_a_copy_in_newcerts_is_enough_to_revoke(pki: Pki) -> None:
    serial = pki.ensure_server()["server"]["serial"]
    copy = pki.issuing / "newcerts" / f"{serial}.pem"
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-revoke", copy)
    assert pki.ensure_server()["changed"]


def test_the_ledger_stays_ours_after_openssl_has_updated_it(pki: Pki) -> None:
    pki.ensure_devices("dev-1")
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-updatedb")
    assert not pki.ensure_devices("dev-1")["changed"]
    assert pki.ensure_devices("dev-1", "dev-2")["issued"] == ["dev-2"]


def test_openssl_issues_beside_us(pki: Pki, tmp_path: Path) -> None:
    first = pki.ensure_devices("dev-1")["certificates"][0]
    request, certificate = tmp_path / "by-hand.csr", tmp_path / "by-hand.cert.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", tmp_path / "by-hand.key"]
    openssl("req", "-new", *new_key, "-subj", "/O=Elsewhere/CN=by-hand", "-out", request)
    openssl("ca", "-batch", "-config", pki.issuing / "openssl.cnf", "-in", request, "-out", certificate, "-notext")
    verify(pki, "sslclient", str(certificate))
    second = pki.ensure_devices("dev-1", "dev-2")["certificates"]
    assert second[0] == first
    assert len({line.split("\t")[3] for line in (pki.issuing / "index.txt").read_text().splitlines()}) == 3
    with pytest.raises(Exception, match="by-hand: the ledger has a live certificate"):
        pki.ensure_devices("by-hand")


def test_openssl_goes_on_after_an_archive_and_we_after_openssl(pki: Pki, tmp_path: Path) -> None:
    lot = pki.path / "lot.tar"
    made = pki.ensure_devices("dev-[1:3]", layout="archive", path=str(lot))["certificates"]
    with tarfile.open(lot) as archive:
        archive.extractall(tmp_path)  # noqa: S202 - our own; Python 3.11.2 knows no filter
    for name in ("dev-1", "dev-3"):
        verify(pki, "sslclient", str(tmp_path / f"{name}.cert.pem"))
    assert status(pki, made[1]["serial"]) == "Valid (V)"
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-revoke", tmp_path / "dev-2.cert.pem")
    with pytest.raises(Exception, match=r"dev-2: .* is revoked"):
        pki.ensure_devices("dev-[1:3]", layout="archive", path=str(lot))
    assert pki.ensure_devices("dev-1", "dev-3", "dev-4", layout="archive", path=str(lot))["issued"] == ["dev-4"]


def test_a_request_that_openssl_made_and_verifies_is_signed(pki: Pki, tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.mkdir()
    for name, key in (("dev-1", ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]), ("dev-2", ["rsa:2048"])):
        openssl("req", "-new", "-newkey", *key, "-noenc", "-keyout", tmp_path / f"{name}.key", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=CA:TRUE", "-out", requests / f"{name}.csr")  # fmt: skip
        assert "verify OK" in openssl("req", "-verify", "-noout", "-in", requests / f"{name}.csr")
    for made in pki.ensure_devices(requests=[str(requests)], layout="flat")["certificates"]:
        verify(pki, "sslclient", made["certificate"])
        of_key = openssl("pkey", "-in", tmp_path / f"{made['name']}.key", "-pubout")
        assert openssl("x509", "-in", made["certificate"], "-noout", "-pubkey") == of_key


def test_openssl_opens_a_ca_key_with_the_passphrase(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure_root(passphrase="some words")
    pki.ensure_issuing(passphrase="other words", issuer_passphrase="some words")
    openssl("ca", "-config", pki.issuing / "openssl.cnf", "-passin", "pass:other words", "-gencrl")


def test_the_rsa_profile_is_verified_too(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure_root(key_profile="rsa")
    pki.ensure_issuing(key_profile="rsa")
    verify(pki, "sslserver", pki.ensure_server()["server"]["certificate"])
    verify(pki, "sslclient", pki.ensure_devices("dev-1")["certificates"][0]["certificate"])


@pytest.mark.long
@pytest.mark.parametrize("profile", ["ec", "rsa"])
def test_pkilint_has_nothing_to_say(tmp_path: Path, profile: str) -> None:
    pki = Pki(tmp_path / "pki")
    pki.ensure_root(key_profile=profile)
    pki.ensure_issuing(key_profile=profile)
    pki.ensure_server()
    pki.ensure_devices("dev-[1:2]")
    pki.ensure_devices("other-[1:2]", key_type="RSA 3072" if profile == "ec" else "EC P-384")
    lint = REPOSITORY / ".venv-pkilint" / "bin" / "lint_pkix_cert"
    for certificate in (*pki.path.rglob("*.cert.pem"), *(pki.issuing / "newcerts").iterdir()):
        said = subprocess.run(
            [lint, "lint", "--severity", "NOTICE", certificate], capture_output=True, text=True, check=False
        )
        assert (said.returncode, said.stdout.strip()) == (0, ""), said.stdout + said.stderr


def playbook(name: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook for the sandbox inventory with its PKI in `folder`."""
    endpoints = {"gateway": "", "hosted_zone_id": "", "regions": {}}
    (folder / "endpoints.json").write_text(json.dumps(endpoints))
    environment = {**os.environ, "IOTOPS_SANDBOX_DIR": str(folder), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{name}.yml", "-vvv", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def key_material(pki: Path) -> Sequence[str]:
    """Return the PEM bodies and DER hex of all private keys."""
    found: list[str] = []
    for path in pki.rglob("*.key.pem"):
        lines = path.read_text().splitlines()[1:-1]
        found += [*lines, "".join(lines)]
        found.append(subprocess.check_output(["openssl", "pkey", "-in", path, "-outform", "DER"]).hex())
    return found


def test_the_playbooks_build_and_issue_once_and_print_no_key(tmp_path: Path) -> None:
    first = playbook("build_pki", tmp_path)
    assert first.returncode == 0, first.stdout
    unnamed = playbook("issue_devices", tmp_path)
    assert unnamed.returncode != 0
    assert "device_certificates_names is empty" in unnamed.stdout
    issued = playbook("issue_devices", tmp_path, "-e", "fleet_devices=dev-1,dev-2")
    assert issued.returncode == 0, issued.stdout
    again = playbook("issue_devices", tmp_path, "-e", "fleet_devices=dev-1,dev-2", "--check")
    assert "changed=1" not in again.stdout
    assert (tmp_path / "pki" / "clients" / "dev-2" / "dev-2.cert.pem").exists()
    secrets = key_material(tmp_path / "pki")
    assert len(secrets) >= 10
    output = "".join(run.stdout + run.stderr for run in (first, unnamed, issued, again))
    assert not [secret for secret in secrets if secret in output]


def test_a_playbook_builds_a_pki_whose_issuing_key_is_in_a_token(tmp_path: Path, token: Token) -> None:
    uris = json.dumps({"fleet_ca_key_uris": {"1": token.uri()}})
    built = playbook("build_pki", tmp_path, "-e", uris, "-e", f"fleet_ca_passphrase={PIN}")
    assert built.returncode == 0, built.stdout
    pki = tmp_path / "pki"
    assert not (pki / "intermediateCA" / "private" / "issuing.key.pem").exists()
    trust = ("-CAfile", pki / "rootCA/certs/root.cert.pem", "-untrusted", pki / "intermediateCA/certs/issuing.cert.pem")
    openssl("verify", "-x509_strict", *trust, pki / "server/certs/server.cert.pem")


def test_a_wrong_passphrase_is_one_line_and_is_not_printed(tmp_path: Path) -> None:
    passphrase = "four-words-nobody-knows"
    playbook("build_pki", tmp_path, "-e", f"fleet_ca_passphrase={passphrase}")
    wrong = playbook("build_pki", tmp_path, "-e", "fleet_ca_passphrase=wrong-one-entirely")
    assert wrong.returncode != 0
    assert "the passphrase does not open it" in wrong.stdout
    assert "Traceback" not in wrong.stdout
    result = wrong.stdout.partition("TASK [iotops.fleet.pki : authorities | Make the root CA]")[2]
    assert "wrong-one-entirely" not in result
