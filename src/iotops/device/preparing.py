# SPDX-License-Identifier: GPL-3.0-or-later
"""The key and the certificate request that a device makes before it asks anybody for a certificate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from iotops.device import files, keys, signing
from iotops.device.certificates import public_bytes, request


def prepared(directory: Path, thing_name: str, key_type: str, step: Callable[[str], None]) -> str:
    """Make what is not there of key, public key and certificate request; the request (PEM)."""
    path, public_path, wanted = (directory / f"{thing_name}.{kind}.pem" for kind in ("key", "pub", "csr"))
    if not path.exists():
        step(f"make a key ({key_type}): {path}")
        files.write(path, keys.encode(keys.generate(key_type)), mode=files.PRIVATE)
    key = signing.read_key(path)
    public = signing.public_pem(key)
    if not (public_path.exists() and public_path.read_bytes() == public):
        files.write(public_path, public)
    if not _requests(wanted, thing_name, key):
        step(f"make a certificate request for the name {thing_name}: {wanted}")
        files.write(wanted, request(thing_name, key))
    return wanted.read_text(encoding="ascii")


def _requests(path: Path, thing_name: str, key: Any) -> bool:
    """Whether a file is a request for the name, made with the key."""
    try:
        found = x509.load_pem_x509_csr(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    names = [name.value for name in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return names == [thing_name] and public_bytes(found.public_key()) == public_bytes(key.public_key())
