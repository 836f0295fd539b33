# SPDX-License-Identifier: GPL-3.0-or-later
"""What can expire in a PKI's directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._expiry.files import entries

KEY = ec.generate_private_key(ec.SECP256R1())
START = datetime(2026, 1, 1, tzinfo=UTC)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def write(path: Path, content: x509.Certificate | x509.CertificateRevocationList) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.public_bytes(serialization.Encoding.PEM))


def certificate(path: Path, subject: str, days: int) -> None:
    builder = x509.CertificateBuilder(name(subject), name(subject), KEY.public_key(), 1).not_valid_before(START)
    write(path, builder.not_valid_after(START + timedelta(days=days)).sign(KEY, hashes.SHA256()))


def revocation_list(path: Path, issuer: str, *, made: int, days: int) -> None:
    builder = x509.CertificateRevocationListBuilder(name(issuer)).last_update(START + timedelta(days=made))
    write(path, builder.next_update(START + timedelta(days=made + days)).sign(KEY, hashes.SHA256()))


def test_every_authority_and_its_last_revocation_list_is_found(tmp_path: Path) -> None:
    certificate(tmp_path / "rootCA/certs/root.cert.pem", "Root", 20)
    certificate(tmp_path / "intermediateCA/certs/issuing.cert.pem", "G1", 10)
    certificate(tmp_path / "intermediateCA-2/certs/issuing.cert.pem", "G2", 15)
    certificate(tmp_path / "server/certs/server.cert.pem", "iot.example.com", 5)
    certificate(tmp_path / "intermediateCA/newcerts/1000.pem", "dev-1", 1)
    revocation_list(tmp_path / "intermediateCA/crl/a.pem", "G1", made=2, days=7)
    revocation_list(tmp_path / "intermediateCA/crl/b.pem", "G1", made=1, days=7)
    found = {(each["kind"], each["name"]): each["not_after"][:10] for each in entries(tmp_path)}
    assert found == {
        ("root", "Root"): "2026-01-21",
        ("issuing", "G1"): "2026-01-11",
        ("issuing", "G2"): "2026-01-16",
        ("server", "iot.example.com"): "2026-01-06",
        ("crl", "revocation list of G1"): "2026-01-10",
    }
    assert all(each["severity"] == "" and each["place"] == "controller" for each in entries(tmp_path))


def test_what_cannot_be_read_is_a_line(tmp_path: Path) -> None:
    for path in ("rootCA/certs/root.cert.pem", "intermediateCA/crl/issuing.crl.pem"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("nonsense")
    root, revocations = entries(tmp_path)
    assert (root["severity"], revocations["severity"]) == ("error", "error")
    assert "holds no certificate" in root["note"]
    assert "issuing.crl.pem is no readable revocation list" in revocations["note"]
