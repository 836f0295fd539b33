# Copyright: (c) 2026, The iotops.fleet maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices that certificates are wanted for: by name, from a file, or by the requests that they made."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from ansible_collections.iotops.fleet.plugins.module_utils._pki.errors import PkiError
from ansible_collections.iotops.fleet.plugins.module_utils._pki.keys import device_key_type, public_bytes
from ansible_collections.iotops.fleet.plugins.module_utils._pki.names import MAX_DEVICES, expand, require_thing_name

_REQUEST = re.compile(
    rb"-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----.+?-----END (?:NEW )?CERTIFICATE REQUEST-----", re.DOTALL
)
_REQUEST_FILES = (".csr", ".pem", ".req")


_NOTHING: Mapping[str, str] = {}  # one for all: there may be a million devices


class Device(NamedTuple):
    """A device: its name, the SubjectPublicKeyInfo DER of its key when it keeps the key itself, what else is known."""

    name: str
    public_key: bytes | None = None
    attributes: Mapping[str, str] = _NOTHING


class Devices:
    """Devices in order, each once. They are read anew each time instead of kept: there may be a million.

    `distinct` says that `read` gives none of the `count` devices twice.
    """

    def __init__(self, read: Callable[[], Iterable[Device]], count: int, *, distinct: bool) -> None:
        self._read, self._count, self._distinct = read, count, distinct

    @classmethod
    def checked(cls, read: Callable[[], Iterable[Device]]) -> Devices:
        """Return what `read` gives; raise PkiError when one cannot be used, or they are too many."""
        seen: dict[str, int] = {}
        total = 0
        for device in read():
            total += 1
            _note(device, seen)
        return cls(read, len(seen), distinct=len(seen) == total)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Device]:
        if self._distinct:
            yield from self._read()
            return
        seen: set[str] = set()
        for device in self._read():
            if device.name not in seen:
                seen.add(device.name)
                yield device


def _note(device: Device, seen: dict[str, int]) -> None:
    said = hash((device.public_key, *device.attributes.items()))
    known = seen.setdefault(device.name, said)
    if known is said:
        require_thing_name(device.name)
    elif known != said:
        raise PkiError(f"device {device.name!r} is there twice, and not the same: leave one of them out")
    if len(seen) > MAX_DEVICES:
        raise PkiError(f"more than {MAX_DEVICES} devices: issue them in several runs")


def devices_by_name(patterns: Iterable[str]) -> Devices:
    """Return the devices that names and ranges stand for, once each, in order; raise PkiError for a bad name."""
    expanded = [expand(pattern.strip()) for pattern in patterns]
    if len(expanded) == 1 and expanded[0].are_distinct:
        (names,) = expanded
        for name in (*islice(names, 1), names.longest):  # all are of the same characters
            require_thing_name(name)
        return Devices(lambda: map(Device, names), len(names), distinct=True)
    return Devices.checked(lambda: (Device(name) for names in expanded for name in names))


def devices_in_file(path: str) -> Devices:
    """Return the devices of a CSV file, a JSON list or JSON lines; raise PkiError naming the file and what is wrong.

    Each has a ``name``; all else it has is text that goes into the manifest.
    """
    file = Path(path)
    try:
        known = _version(file)

        def read() -> Iterator[Device]:
            if _version(file) != known:
                raise PkiError(f"{path} was changed while its devices were issued: leave it as it is, and run again")
            return (_device(file, row) for row in _rows(file))

        return Devices.checked(read)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise PkiError(f"{path} cannot be read: {error}; write CSV with a header, a JSON list or JSON lines") from error


def _version(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _rows(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        if file.suffix == ".csv":
            yield from csv.DictReader(lines, strict=True)
        elif file.suffix == ".json":
            yield from json.load(lines)
        elif file.suffix in (".ndjson", ".jsonl"):
            yield from (json.loads(line) for line in lines if line.strip())
        else:
            raise PkiError(f"{file}: the name of a file of devices ends in .csv, .json, .ndjson or .jsonl")


def _device(file: Path, row: Any) -> Device:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise PkiError(f"{file}: {row!r} has no name; give each device a name")
    if None in row or None in row.values():
        raise PkiError(
            f"{file}: device {row['name']!r} has more or fewer values than there are columns; correct the line"
        )
    attributes = {key: str(value) for key, value in row.items() if key != "name"}
    return Device(row["name"].strip(), attributes=attributes)


def devices_with_requests(paths: Iterable[str]) -> Devices:
    """Return the devices that made certificate requests; raise PkiError for one that must not be signed.

    `paths` are PEM files, each of one or many requests, and folders of them. Of a request the common name and the key
    count; extensions that it asks for are ignored. The signature in it proves that the device has the key.
    """
    made = [_requesting(path, pem) for path in _files(paths) for pem in _requests(path)]
    return Devices.checked(lambda: made)


def _files(paths: Iterable[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        files = sorted(file for file in path.iterdir() if file.suffix in _REQUEST_FILES)
        if not files:
            raise PkiError(f"{path} holds no certificate request: name them *{', *'.join(_REQUEST_FILES)}")
        yield from files


def _requests(path: Path) -> list[bytes]:
    found = _REQUEST.findall(path.read_bytes())
    if not found:
        raise PkiError(f"{path} holds no certificate request in PEM")
    return found


def _requesting(path: Path, pem: bytes) -> Device:
    try:
        request = x509.load_pem_x509_csr(pem)
        proven = request.is_signature_valid
        key = request.public_key()
        names = [str(part.value) for part in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except Exception as error:  # of many types, for what a stranger may have written
        raise PkiError(f"{path} holds a damaged certificate request: have the device make another one") from error
    if len(names) != 1:
        raise PkiError(f"{path}: a certificate request with {len(names)} common names; it has to have the thing name")
    if not proven:
        raise PkiError(f"{path}: the request of {names[0]!r} is not signed with its own key; have the device sign it")
    try:
        device_key_type(key)
    except PkiError as error:
        raise PkiError(f"{path}: the request of {names[0]!r} is refused, {error}") from error
    return Device(names[0], public_bytes(key))


__all__ = ["Device", "Devices", "devices_by_name", "devices_in_file", "devices_with_requests"]
