# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_csr

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.key_pair import ensure_key_pair


def ensure(directory: Path, key_type: str = "EC P-256", *, check_mode: bool = False) -> dict[str, Any]:
    return ensure_key_pair(
        path=directory / "keys" / "a.key.pem",
        public_path=directory / "keys" / "a.pub.pem",
        key_type=key_type,
        check_mode=check_mode,
    )


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.rglob("*.pem")}


@pytest.mark.parametrize("key_type", ["EC P-256", "RSA 2048"])
def test_a_key_is_made_for_its_owner_alone_with_its_public_key(tmp_path: Path, key_type: str) -> None:
    assert ensure(tmp_path, key_type, check_mode=True)["changed"]
    assert not (tmp_path / "keys").exists()
    made = ensure(tmp_path, key_type)
    assert (made["changed"], made["key_pair"]["key_type"]) == (True, key_type)
    found = files(tmp_path)
    private = load_pem_private_key(found["a.key.pem"], None)
    assert private.public_key() == load_pem_public_key(found["a.pub.pem"])
    assert found["a.pub.pem"].decode() == made["key_pair"]["public_key"]
    modes = [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "keys", tmp_path / "keys" / "a.key.pem")]
    assert modes == ["0o700", "0o600"]


def test_a_key_that_is_there_stays_whatever_type_is_wanted(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = files(tmp_path)
    for check_mode in (True, False):
        again = ensure(tmp_path, "RSA 2048", check_mode=check_mode)
        assert (again["changed"], again["key_pair"]["key_type"]) == (False, "EC P-256")
    assert files(tmp_path) == before


@pytest.mark.parametrize("damage", [b"", b"another one"])
def test_the_public_key_is_written_again(tmp_path: Path, damage: bytes) -> None:
    ensure(tmp_path)
    before = files(tmp_path)
    (tmp_path / "keys" / "a.pub.pem").write_bytes(damage)
    assert ensure(tmp_path, check_mode=True)["changed"]
    assert ensure(tmp_path)["reasons"] == ["the public key was missing or another one"]
    assert files(tmp_path) == before


def test_a_damaged_private_key_is_not_replaced(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "keys" / "a.key.pem").write_text("damaged")
    with pytest.raises(PkiError, match="cannot be read"):
        ensure(tmp_path)
    assert files(tmp_path)["a.key.pem"] == b"damaged"


def requested(directory: Path, name: str = "lot-7", *, check_mode: bool = False) -> dict[str, Any]:
    return ensure_key_pair(
        path=directory / "a.key.pem", public_path=directory / "a.pub.pem", key_type="EC P-256", check_mode=check_mode,
        request_path=directory / "a.csr.pem", common_name=name,
    )  # fmt: skip


def test_a_request_is_of_the_key_with_the_name_and_stays(tmp_path: Path) -> None:
    assert requested(tmp_path)["reasons"] == ["made"]
    kept = files(tmp_path)
    request = load_pem_x509_csr(kept["a.csr.pem"])
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=lot-7"
    assert request.public_key() == load_pem_public_key(kept["a.pub.pem"])
    assert not requested(tmp_path)["changed"]
    assert files(tmp_path) == kept


@pytest.mark.parametrize("content", [None, b"nonsense"], ids=["missing", "damaged"])
def test_a_request_that_is_not_of_the_key_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    requested(tmp_path)
    key = (tmp_path / "a.key.pem").read_bytes()
    (tmp_path / "a.csr.pem").unlink() if content is None else (tmp_path / "a.csr.pem").write_bytes(content)
    reason = ["the request was missing or another one"]
    assert requested(tmp_path, check_mode=True)["reasons"] == reason
    assert requested(tmp_path)["reasons"] == reason
    assert requested(tmp_path, "lot-8")["reasons"] == reason
    assert (tmp_path / "a.key.pem").read_bytes() == key
