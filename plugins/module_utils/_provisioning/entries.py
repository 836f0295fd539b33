# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of devices that may ask for a certificate, each with the key that it signs with. Private to the collection.

``cryptography`` is imported only where a key has to be understood, since its import takes longer than a call.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.iotops.fleet.plugins.module_utils.aws import FleetError

# Of AWS IoT's names those that fit into a common name (RFC 5280, ub-common-name).
THING_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,64}")
HEADER = "thing_name"
SMALLEST_RSA = 2048
KEYS = "an RSA key of 2048 bits or more, or one of P-256, P-384 or Ed25519"

# Thing name -> public key (PEM); "" for none.
Entries = dict[str, str]


def from_file(path: str) -> Entries:
    """``name`` or ``name,"<PEM>"`` in each record of a CSV file; a heading, empty lines and ``#`` comments are skipped.

    Raises:
        FleetError: the file cannot be read, or a record is wrong.

    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FleetError(f"path: cannot read {path} ({error}); give a readable CSV file") from None
    return _entries(_records(text, path))


def from_list(devices: Iterable[Any]) -> Entries:
    """Names, or dictionaries with ``thing_name`` and, if wanted, ``public_key``.

    Raises:
        FleetError: one is neither.

    """
    return _entries(_listed(devices))


def _records(text: str, path: str) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            name = cells[0].strip() if cells else ""
            if name and not name.startswith("#") and (reader.line_num > 1 or name.lower() != HEADER):
                yield f"{path}, line {reader.line_num}", [name, *(cell.strip() for cell in cells[1:])]
    except csv.Error as error:
        raise FleetError(f"{path}, line {reader.line_num}: {error}; correct the file") from None


def _listed(devices: Iterable[Any]) -> Iterator[tuple[str, list[str]]]:
    for number, device in enumerate(devices, 1):
        where = f"devices, entry {number}"
        if isinstance(device, Mapping):
            if not {"thing_name"} <= set(device) <= {"thing_name", "public_key"}:
                raise FleetError(f"{where}: has {', '.join(map(str, device))}; give thing_name and public_key")
            yield where, [str(device["thing_name"]).strip(), str(device.get("public_key") or "").strip()]
        else:
            yield where, [str(device).strip()]


def _entries(records: Iterable[tuple[str, list[str]]]) -> Entries:
    entries: Entries = {}
    for where, (name, *rest) in records:
        if len(rest) > 1 or not THING_NAME.fullmatch(name):
            raise FleetError(
                f"{where}: {name[:80]!r} is no name of a device, or more than a key follows it; "
                "use up to 64 of a-z, A-Z, 0-9 and :_-, and quote a key"
            )
        key = _public_key(rest[0], where) if rest and rest[0] else ""
        if entries.setdefault(name, key) != key:
            raise FleetError(f"{where}: {name} has another key than before; leave one of them")
    return entries


def _public_key(pem: str, where: str) -> str:
    """The key as ``SubjectPublicKeyInfo`` in PEM, always spelled the same."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        hint = "openssl pkey -in device.key.pem -pubout"
        raise FleetError(f"{where}: the key is no public key in PEM form; make one with {hint}") from None
    if not (
        (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA)
        or (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"))
        or isinstance(key, ed25519.Ed25519PublicKey)
    ):
        raise FleetError(f"{where}: the key is not suitable; give {KEYS}")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def fingerprint(pem: str) -> str:
    """SHA-256 of a public key's DER in hex; "" without a key, or where it is damaged."""
    try:
        der = base64.b64decode("".join(line for line in pem.split("\n") if "-----" not in line), validate=True)
    except ValueError:
        return ""
    return hashlib.sha256(der).hexdigest() if der else ""


__all__ = ["THING_NAME", "Entries", "fingerprint", "from_file", "from_list"]
