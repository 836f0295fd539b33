from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ansible_collections.iotops.fleet.plugins.module_utils.pki import (
    ensure_authority,
    ensure_device_certificates,
    ensure_server_certificate,
)


@dataclass
class Pki:
    """A PKI in a directory, with the arguments that a test does not care about filled in."""

    path: Path

    @property
    def root(self) -> Path:
        return self.path / "rootCA"

    @property
    def issuing(self) -> Path:
        return self.path / "intermediateCA"

    @property
    def clients(self) -> Path:
        return self.path / "clients"

    def ensure_root(self, **changes: Any) -> dict[str, Any]:
        arguments = {
            "path": str(self.root),
            "authority_type": "root",
            "common_name": "Example Root CA",
            "organization": "Example",
            "key_profile": "ec",
            "days": 7300,
            "serial_policy": "random",
            "passphrase": None,
            "issuer_path": None,
            "issuer_passphrase": None,
            "check_mode": False,
        }
        return ensure_authority(**{**arguments, **changes})

    def ensure_issuing(self, **changes: Any) -> dict[str, Any]:
        arguments = {
            "path": str(self.issuing),
            "authority_type": "issuing",
            "common_name": "Example Issuing CA G1",
            "days": 3650,
            "issuer_path": str(self.root),
        }
        return self.ensure_root(**{**arguments, **changes})

    def ensure_server(self, **changes: Any) -> dict[str, Any]:
        arguments = {
            "path": str(self.path / "server"),
            "authority_path": str(self.issuing),
            "names": ["iot.example.com"],
            "days": 375,
            "renew_before": 30,
            "renew": False,
            "passphrase": None,
            "check_mode": False,
        }
        return ensure_server_certificate(**{**arguments, **changes})

    def ensure_devices(self, *names: str, **changes: Any) -> dict[str, Any]:
        arguments = {
            "path": str(self.clients),
            "authority_path": str(self.issuing),
            "names": list(names),
            "days": 365,
            "renew": False,
            "passphrase": None,
            "check_mode": False,
        }
        return ensure_device_certificates(**{**arguments, **changes})

    def revoke(self, serial: str) -> None:
        """Mark a certificate as revoked, as `openssl ca -revoke` does."""
        ledger = self.issuing / "index.txt"
        lines = [line.split("\t") for line in ledger.read_text().splitlines()]
        for line in lines:
            if line[3] == serial:
                line[0], line[2] = "R", "260101000000Z"
        ledger.write_text("".join("\t".join(line) + "\n" for line in lines))

    def keys_match(self, name: str) -> bool:
        """Tell whether a device's key is that of its certificate."""
        folder = self.clients / name
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.cert.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key.pem").read_bytes(), None)
        return bool(key.public_key() == certificate.public_key())

    def snapshot(self) -> dict[str, bytes]:
        """Return every file below the PKI with its content."""
        return {str(path): path.read_bytes() for path in sorted(self.path.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def empty_pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def pki(empty_pki: Pki) -> Pki:
    empty_pki.ensure_root()
    empty_pki.ensure_issuing()
    return empty_pki
