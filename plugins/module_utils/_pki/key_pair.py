# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private key without a certificate, with its public key beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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


def ensure_key_pair(*, path: Path, public_path: Path, key_type: str, check_mode: bool) -> dict[str, Any]:
    """Make a key unless there is one, and write its public key beside it; a key that is there is never changed.

    Raises:
        PkiError: what is there cannot be read.
        OSError: the directory cannot be written to.

    """
    if check_mode:
        key = read_key(path) if path.exists() else None
        return _result(key, path, public_path, key_type, ["made"] if key is None else _outdated(key, public_path))
    make_directory(path.parent)
    with locked(path.parent):
        reasons = []
        if not path.exists():
            write_atomic(path, encode_key(generate_key(DEVICE_KEY_TYPES[key_type])), mode=SECRET)
            reasons.append("made")
        key = read_key(path)
        if outdated := _outdated(key, public_path):
            write_atomic(public_path, _public_pem(key), mode=PUBLIC)
            reasons = reasons or outdated
    return _result(key, path, public_path, key_type, reasons)


def _outdated(key: PrivateKey, public_path: Path) -> list[str]:
    is_there = public_path.exists() and public_path.read_bytes() == _public_pem(key)
    return [] if is_there else ["the public key was missing or another one"]


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
