# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private key without a certificate, with its public key, and a request for a certificate, beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.files import (
    PUBLIC,
    SECRET,
    locked,
    make_directory,
    write_atomic,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import (
    PrivateKey,
    encode_key,
    generate_key,
    key_type_of,
    read_key,
)
from ansible_collections.iotops.fleet.plugins.module_utils._pki.profile import DEVICE_KEY_TYPES


@dataclass(frozen=True)
class _Request:
    """A certificate signing request that is to be kept beside a key."""

    path: Path
    common_name: str

    def is_for(self, key: PrivateKey) -> bool:
        """Whether the file is a request with this name, made with the key."""
        try:
            found = x509.load_pem_x509_csr(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return False
        return found.subject == self._subject and found.public_key() == key.public_key()

    def write(self, key: PrivateKey) -> None:
        """Make it."""
        request = x509.CertificateSigningRequestBuilder().subject_name(self._subject).sign(key, SHA256())
        write_atomic(self.path, request.public_bytes(Encoding.PEM), mode=PUBLIC)

    @property
    def _subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])


def ensure_key_pair(
    *,
    path: Path,
    public_path: Path,
    key_type: str,
    check_mode: bool,
    request_path: Path | None = None,
    common_name: str = "",
) -> dict[str, Any]:
    """Make a key unless there is one, and write its public key beside it, and a request with ``common_name``.

    A key that is there is never changed.

    Raises:
        PkiError: what is there cannot be read.
        OSError: the directory cannot be written to.

    """
    request = _Request(request_path, common_name) if request_path else None
    if check_mode:
        key = read_key(path) if path.exists() else None
        reasons = ["made"] if key is None else [*_outdated(key, public_path), *_unfit(key, request)]
        return _result(key, path, public_path, key_type, reasons)
    make_directory(path.parent)
    with locked(path.parent):
        reasons = []
        if not path.exists():
            write_atomic(path, encode_key(generate_key(DEVICE_KEY_TYPES[key_type])), mode=SECRET)
            reasons.append("made")
        key = read_key(path)
        outdated, unfit = _outdated(key, public_path), _unfit(key, request)
        if outdated:
            write_atomic(public_path, _public_pem(key), mode=PUBLIC)
        if unfit and request:
            request.write(key)
    return _result(key, path, public_path, key_type, reasons or [*outdated, *unfit])


def _outdated(key: PrivateKey, public_path: Path) -> list[str]:
    is_there = public_path.exists() and public_path.read_bytes() == _public_pem(key)
    return [] if is_there else ["the public key was missing or another one"]


def _unfit(key: PrivateKey, request: _Request | None) -> list[str]:
    return [] if request is None or request.is_for(key) else ["the request was missing or another one"]


def _public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _result(key: PrivateKey | None, path: Path, public_path: Path, key_type: str, reasons: list[str]) -> dict[str, Any]:
    pair = {
        "path": str(path),
        "public_path": str(public_path),
        "key_type": str(key_type_of(key)) if key else key_type,
        "public_key": _public_pem(key).decode() if key else None,
    }
    return {"changed": bool(reasons), "key_pair": pair, "reasons": reasons}


__all__ = ["ensure_key_pair"]
